"""The root is replaced while a connection is open and new ones are made without a pause: none of them breaks."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from conformance.instruments.echo import EchoServer
from reference.mesh.certificates import key_id, key_pem, new_key
from tests.agents import Agent, connect, running_agent
from tests.ports import free_port
from tests.waiting import DEADLINE, eventually

pytestmark = pytest.mark.timeout(300)


class Traffic:
    """One connection that stays, and new ones without a pause. ``failures`` tells what went wrong."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._stay, self._come_and_go)]
        self.failures: list[str] = []
        self.stayed = self.made = 0

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def goes_on(self) -> None:
        """Wait until both kinds have carried something more."""
        stayed, made = self.stayed, self.made
        eventually(
            lambda: self.failures or (self.stayed > stayed + 5 and self.made > made + 5), "more traffic"
        )
        assert not self.failures

    def _stay(self) -> None:
        with connect(self._port) as connection:
            while not self._ending.is_set():
                if not self._exchange(connection, "the open connection"):
                    return
                self.stayed += 1

    def _come_and_go(self) -> None:
        while not self._ending.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=DEADLINE) as connection:
                    if not self._exchange(connection, f"connection {self.made}"):
                        return
            except OSError as error:
                self.failures.append(f"connection {self.made}: {error}")
                return
            self.made += 1

    def _exchange(self, connection: socket.socket, name: str) -> bool:
        try:
            connection.sendall(b"ping")
            received = connection.recv(4, socket.MSG_WAITALL)
        except OSError as error:
            received = str(error).encode()
        if received != b"ping":
            self.failures.append(f"{name}: {received!r}")
        return received == b"ping"


def rotate(running: Agent) -> bytes:
    """Give the authority another key; returns the id of it."""
    key = new_key()
    body = {"Provider": "consul", "Config": {"PrivateKey": key_pem(key), "LeafCertTTL": "72h"}}
    running.put("/v1/connect/ca/configuration", body).raise_for_status()
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest


def signed_by(port: int, key: bytes) -> bool:
    """Whether the proxy behind ``port`` shows a leaf that this key has signed."""
    shown = x509.load_pem_x509_certificate(
        ssl.get_server_certificate(("127.0.0.1", port), timeout=DEADLINE).encode()
    )
    named = shown.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return named.key_identifier == key


def active(running: Agent) -> tuple[bytes, int]:
    """The id of the active root's key, and the number of roots."""
    answer: Any = running.get("/v1/connect/ca/roots")
    (root,) = (root for root in answer["Roots"] if root["Active"])
    return key_id(x509.load_pem_x509_certificate(root["RootCert"].encode())), len(answer["Roots"])


def test_no_connection_breaks(tmp_path: Path) -> None:
    """MP-CA-007 to MP-CA-009."""
    upstream = free_port()
    with EchoServer() as application:
        upstreams = [{"destination_name": "db", "local_bind_port": upstream}]
        db = {"name": "db", "port": application.port, "connect": {"proxy": {}}}
        web = {"name": "web", "port": free_port(), "connect": {"proxy": {"upstreams": upstreams}}}
        with running_agent(tmp_path, db, web) as running:
            running.healthy("db")
            (proxy,) = running.get("/v1/health/connect/db?passing")
            port = proxy["Service"]["Port"]
            domain = running.get("/v1/connect/ca/roots")["TrustDomain"]
            connect(upstream).close()
            with Traffic(upstream) as traffic:
                traffic.goes_on()
                for number in (2, 3):
                    key = rotate(running)
                    eventually(lambda wanted=key: signed_by(port, wanted), "a leaf of the new root")
                    traffic.goes_on()
                    assert active(running) == (key, number)
            assert not traffic.failures
            running.kill()
            running.start()
            assert active(running) == (key, 3)
            assert running.get("/v1/connect/ca/roots")["TrustDomain"] == domain
            with Traffic(upstream) as traffic:
                traffic.goes_on()
                key = rotate(running)
                eventually(lambda: signed_by(port, key), "a leaf of the last root")
                traffic.goes_on()
            assert not traffic.failures
