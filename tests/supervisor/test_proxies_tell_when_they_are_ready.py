"""Notices of readiness: heard from proxies, from nobody else, and missed by nobody."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from reference.proxy.notice import announce_ready
from reference.supervisor.notices import address
from reference.supervisor.spec import ProxySpec
from tests.supervisor.test_real_world import Start, run

#: Announces itself like any sd_notify client, from itself or from a child of its session.
ANNOUNCER = """
import os, signal, socket
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(
    b"STATUS=up\\nREADY=1\\n", "\\0" + os.environ["NOTIFY_SOCKET"][1:])
signal.pause()
"""
FORKING = f"import os, signal\nif os.fork(): signal.pause()\n{ANNOUNCER}"


def announcer(script: str = ANNOUNCER) -> ProxySpec:
    command = (sys.executable, "-c", script)
    # What the agent itself was given by its service manager is not the proxy's.
    return ProxySpec(proxy_id="web-proxy", token="t", command=command, environment=(("NOTIFY_SOCKET", "/x"),))


@pytest.mark.parametrize("script", [ANNOUNCER, FORKING])
def test_a_proxy_announces_itself_and_is_known_for_it_after_a_restart_of_the_agent(
    tmp_path: Path, script: str
) -> None:
    async def story(start: Start) -> None:
        first = await start(tmp_path, announcer(script))
        await first.until(lambda: first.proxies.status()["web-proxy"].ready)
        await first.proxies.shut_down(stop=False)
        second = await start(tmp_path, announcer(script))
        status = second.proxies.status()["web-proxy"]
        assert (status.reason, status.ready) == ("adopted", True)

    run(story)


def test_a_stranger_cannot_speak_for_a_proxy(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        agent = await start(
            tmp_path, ProxySpec(proxy_id="web-proxy", token="t", command=("/bin/sleep", "99"))
        )
        await agent.running()
        environment = {**os.environ, "NOTIFY_SOCKET": address(str(tmp_path))}
        subprocess.run(
            [sys.executable, "-c", ANNOUNCER.replace("signal.pause()", "")], env=environment, check=True
        )
        # Datagrams are taken in order: when the next one is heard, this one has been.
        agent.proxies.define(replace(announcer(), proxy_id="api-proxy"))
        await agent.until(lambda: agent.proxies.status()["api-proxy"].ready)
        assert not agent.proxies.status()["web-proxy"].ready

    run(story)


def test_announcing_to_nobody_or_to_one_who_does_not_listen_takes_no_time() -> None:
    announce_ready({})
    announce_ready({"NOTIFY_SOCKET": "/nowhere"})
    announce_ready({"NOTIFY_SOCKET": "@proxyproof/nobody"})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind("\0proxyproof/deaf")
        for _ in range(2000):  # far more than its queue holds
            announce_ready({"NOTIFY_SOCKET": "@proxyproof/deaf"})
