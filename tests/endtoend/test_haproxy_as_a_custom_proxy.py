"""A proxy that somebody else wrote, from ``fixtures/proxies``: haproxy, as a managed proxy with a command."""

from __future__ import annotations

import shutil
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from proxyproof import data
from tests.agents import running_agent
from tests.endtoend.test_intentions_in_force import answers, deny, echo
from tests.endtoend.test_roots_rotate_under_traffic import rotate
from tests.ports import free_port
from tests.waiting import DEADLINE, eventually

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None,
        reason="NOT TESTED: haproxy is not installed, so the sample of a custom proxy is not tried",
    ),
]

COMMAND = [sys.executable, str(data.path("fixtures", "proxies", "haproxy", "connect_haproxy.py"))]


def definitions(application: int, *upstreams: int, public: int) -> list[dict[str, Any]]:
    """Service ``db`` behind haproxy, and ``web`` whose upstreams go through haproxy, too."""
    offered = [{"destination_name": "db", "local_bind_port": port} for port in upstreams]
    db = {"command": COMMAND, "config": {"bind_port": public}}
    web = {"command": COMMAND, "upstreams": offered}
    return [
        {"name": "db", "port": application, "connect": {"proxy": db}},
        {"name": "web", "port": free_port(), "connect": {"proxy": web}},
    ]


def refuses_strangers(port: int) -> bool:
    """Whether a TLS client without a certificate gets nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as plain,
            context.wrap_socket(plain) as stranger,
        ):
            stranger.sendall(b"hello")
            return stranger.recv(64) == b""
    except ssl.SSLError as refusal:
        return "ALERT" in str(refusal.reason)


def test_it_carries_authorizes_and_follows(tmp_path: Path) -> None:
    first, public = free_port(), free_port()
    with (
        echo() as application,
        running_agent(tmp_path, *definitions(application, first, public=public)) as running,
    ):
        running.healthy("db")
        eventually(lambda: answers(first), "an answer through two haproxies")
        assert refuses_strangers(public)
        rotate(running)
        assert all(answers(first) for _ in range(20)), "a rotation of the root costs no connection"
        deny(running)
        eventually(lambda: not answers(first), "a refusal by the agent's word")


@pytest.mark.parametrize("custom", ["db", "web"])
def test_it_gets_along_with_the_built_in_proxy(tmp_path: Path, custom: str) -> None:
    upstream, public = free_port(), free_port()
    with echo() as application:
        described = definitions(application, upstream, public=public)
        for service in described:
            if service["name"] != custom:
                del service["connect"]["proxy"]["command"]
        with running_agent(tmp_path, *described) as running:
            running.healthy("db")
            eventually(lambda: answers(upstream), "an answer through haproxy and the built-in proxy")
