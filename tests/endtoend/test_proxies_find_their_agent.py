"""Wherever the agent listens, its proxies reach it and carry traffic: HTTPS alone, a socket, every address."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests.agents import Agent, agent, running_agent
from tests.endtoend.test_intentions_in_force import answers, definitions, echo
from tests.ports import free_port
from tests.waiting import DEADLINE, eventually

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Files:
    """An authority, and a certificate that serves the agent and opens it."""

    authority: trustme.CA
    ca: Path
    certificate: Path
    key: Path

    def options(self) -> dict[str, Any]:
        return {"ca_file": str(self.ca), "cert_file": str(self.certificate), "key_file": str(self.key)}

    def client(self, port: int, *, certificate: bool = True) -> httpx.Client:
        tls = ssl.create_default_context(cafile=str(self.ca))
        if certificate:
            tls.load_cert_chain(self.certificate, self.key)
        return httpx.Client(base_url=f"https://localhost:{port}", verify=tls, timeout=DEADLINE)


def files(folder: Path, *names: str) -> Files:
    authority = trustme.CA()
    issued = authority.issue_cert(*names)
    found = Files(authority, folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(found.ca)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(found.certificate, append=True)
    issued.private_key_pem.write_to_path(found.key)
    return found


@contextlib.contextmanager
def traffic(
    folder: Path, options: Mapping[str, Any], reached_by: httpx.Client | None = None
) -> Iterator[Agent]:
    """An agent with two proxies that carry traffic."""
    upstream = free_port()
    with (
        echo() as application,
        running_agent(
            folder, *definitions(application, upstream), reached_by=reached_by, **options
        ) as running,
    ):
        eventually(lambda: answers(upstream), "an answer through both proxies")
        yield running


def environment(running: Agent) -> dict[str, str]:
    pid, _ = next(iter(running.running().values()))
    variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(variable.partition("=")[::2] for variable in variables)


def test_over_https_alone_with_client_certificates_and_verified(tmp_path: Path) -> None:
    """MP-ENV-002: the agent's name stands in its certificate, its address does not."""
    tls, port = files(tmp_path, "localhost", "agent.example"), free_port()
    options = {
        **tls.options(),
        "ports": {"http": -1, "https": port},
        "verify_incoming_https": True,
        "verify_outgoing": True,
        "server_name": "agent.example",
    }
    with traffic(tmp_path, options, tls.client(port)) as running:
        told = environment(running)
        assert (told["CONSUL_HTTP_ADDR"], told["CONSUL_HTTP_SSL"]) == (f"127.0.0.1:{port}", "true")
        assert told["CONSUL_HTTP_SSL_VERIFY"] == "true"
        assert told["CONSUL_TLS_SERVER_NAME"] == "agent.example"
        with tls.client(port, certificate=False) as stranger, pytest.raises(httpx.TransportError):
            stranger.get("/v1/agent/self")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/v1/agent/self", timeout=DEADLINE)
        assert running.get("/v1/agent/self")["DebugConfig"]["HTTPPort"] == -1


class SocketTransport(httpx.HTTPTransport):
    """HTTP over a unix socket. It looks first whether anybody listens: httpcore forgets to close what finds nobody."""

    def __init__(self, path: Path) -> None:
        super().__init__(uds=str(path))
        self._path = path

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with socket.socket(socket.AF_UNIX) as attempt:
            try:
                attempt.connect(str(self._path))
            except OSError as error:
                raise httpx.ConnectError(str(error)) from error
        return super().handle_request(request)


def test_over_a_socket_with_the_permissions_that_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    # A socket that an agent left when it was killed.
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    options = {"addresses": {"http": f"unix://{path}"}, "unix_sockets": {"mode": "0640"}}
    client = httpx.Client(transport=SocketTransport(path), base_url="http://agent", timeout=DEADLINE)
    with traffic(tmp_path, options, client) as running:
        assert environment(running)["CONSUL_HTTP_ADDR"] == f"unix://{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert f"Started HTTP server on {path} (unix)" in running.output()
        assert running.process is not None
        running.process.terminate()
        running.process.wait()
        assert not path.exists()


def test_on_every_address(tmp_path: Path) -> None:
    port = free_port()
    options = {"client_addr": "0.0.0.0", "ports": {"http": port}}
    client = httpx.Client(base_url=f"http://127.0.0.9:{port}", timeout=DEADLINE)
    with traffic(tmp_path, options, client) as running:
        assert environment(running)["CONSUL_HTTP_ADDR"] == f"127.0.0.1:{port}"


def test_a_certificate_is_replaced_by_a_reload(tmp_path: Path) -> None:
    old, port = files(tmp_path, "localhost"), free_port()
    options = {**old.options(), "ports": {"http": -1, "https": port}}

    def issuer() -> str:
        return ssl.get_server_certificate(("127.0.0.1", port))

    with running_agent(tmp_path, reached_by=old.client(port, certificate=False), **options) as running:
        before = issuer()
        renewed = old.authority.issue_cert("localhost")
        renewed.private_key_pem.write_to_path(old.key)
        os.truncate(old.certificate, 0)
        # A certificate that does not fit its key changes nothing.
        assert running.client.put("/v1/agent/reload").status_code == 500
        assert issuer() == before
        for blob in renewed.cert_chain_pems:
            blob.write_to_path(old.certificate, append=True)
        assert running.client.put("/v1/agent/reload").status_code == 200
        assert issuer() != before


@pytest.mark.parametrize("broken", ["cert_file", "ca_file"])
def test_files_that_cannot_be_used_end_the_start(tmp_path: Path, broken: str) -> None:
    tls = files(tmp_path, "localhost")
    options = {
        **tls.options(),
        "ports": {"http": -1, "https": free_port()},
        "verify_incoming": True,
    }
    Path(options[broken]).write_text("nothing")
    with agent(tmp_path, **options) as one:
        output = one.fails()
    assert f"{options[broken]}" in output
    assert "HTTPS cannot be served" in output
    assert "Traceback" not in output
