"""``/v1/agent/connect/proxies``: what operators see, and what they have done."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from reference.supervisor.spec import Process, ProxyState, ProxyStatus
from tests.agent.defining import proxied
from tests.http.serving import Processes, api

PROXIES = "/v1/agent/connect/proxies"


def running(pid: int, *, ready: bool = True) -> ProxyStatus:
    process = Process(pid=pid, start_time=pid, boot_id="boot")
    return ProxyStatus(
        proxy_id="web-proxy", state=ProxyState.RUNNING, process=process, starts=1, ready=ready, reason="ready"
    )


def on_a_loop(scenario: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that is a coroutine."""

    @functools.wraps(scenario)
    def test(**given: Any) -> None:
        asyncio.run(scenario(**given))

    return test


class Obedient(Processes):
    """Does at once what it is asked for."""

    def restart(self, proxy_id: str, *, reason: str) -> bool:
        self.now[proxy_id] = running(200)
        return True

    def hold(self, proxy_id: str, *, reason: str) -> bool:
        self.now[proxy_id] = ProxyStatus(proxy_id=proxy_id, state=ProxyState.STOPPED, reason=reason)
        return True


class Deaf(Processes):
    """Accepts everything and does nothing."""

    def restart(self, proxy_id: str, *, reason: str) -> bool:
        return True

    def hold(self, proxy_id: str, *, reason: str) -> bool:
        return True


@on_a_loop
async def test_the_list_shows_state_process_and_logs(tmp_path: Path) -> None:
    async with api(
        proxied(), supervised=Processes({"web-proxy": running(100)}), data_dir=tmp_path, dev_mode=False
    ) as served:
        (view,) = await served.get(PROXIES)
    assert view | {"Since": "", "StartedAt": ""} == {
        "ProxyID": "web-proxy",
        "TargetServiceID": "web",
        "Port": view["Port"],
        "State": "running",
        "Reason": "ready",
        "Ready": True,
        "CrashLoop": False,
        "Outdated": False,
        "Starts": 1,
        "Restarts": 0,
        "Since": "",
        "StartedAt": "",
        "PID": 100,
        "Logs": {
            "Stdout": str(tmp_path / "proxy/logs/web-proxy-stdout.log"),
            "Stderr": str(tmp_path / "proxy/logs/web-proxy-stderr.log"),
        },
    }
    assert 20000 <= view["Port"] <= 20255


@on_a_loop
async def test_without_a_data_directory_there_are_no_logs() -> None:
    async with api(proxied(), supervised=Processes({"web-proxy": running(100)})) as served:
        (view,) = await served.get(PROXIES)
    assert "Logs" not in view


@on_a_loop
async def test_a_crash_loop_is_named_with_the_next_start() -> None:
    waiting = ProxyStatus(
        proxy_id="web-proxy", state=ProxyState.BACKOFF, starts=7, reason="exited with code 1", retry_at=1e9
    )
    async with api(proxied(), supervised=Processes({"web-proxy": waiting})) as served:
        (view,) = await served.get(PROXIES)
    assert (view["State"], view["CrashLoop"], view["Ready"], view["Starts"]) == ("backoff", True, False, 7)
    assert "NextStart" in view
    assert "PID" not in view


@on_a_loop
async def test_a_restart_answers_with_both_pids_once_the_new_process_is_ready() -> None:
    async with api(proxied(), supervised=Obedient({"web-proxy": running(100)})) as served:
        answer = await served.client.put(f"{PROXIES}/restart/web-proxy")
    assert answer.json() == {"ProxyID": "web-proxy", "OldPID": 100, "NewPID": 200, "ReadyBy": "notice"}


@on_a_loop
async def test_where_nothing_tells_readiness_a_running_process_counts() -> None:
    class Silent(Processes):
        def restart(self, proxy_id: str, *, reason: str) -> bool:
            self.now[proxy_id] = running(200, ready=False)
            return True

    unchecked = proxied(config={"disable_tcp_check": True})
    async with api(unchecked, supervised=Silent({"web-proxy": running(100)})) as served:
        answer = await served.client.put(f"{PROXIES}/restart/web-proxy")
    assert answer.json()["ReadyBy"] == "running"


@on_a_loop
async def test_a_stop_answers_when_the_process_is_gone() -> None:
    async with api(proxied(), supervised=Obedient({"web-proxy": running(100)})) as served:
        answer = await served.client.put(f"{PROXIES}/stop/web-proxy")
    assert answer.json() == {"ProxyID": "web-proxy", "OldPID": 100}


@pytest.mark.parametrize("what", ["restart", "stop"])
@on_a_loop
async def test_what_takes_too_long_is_a_conflict_that_says_where_it_stands(what: str) -> None:
    async with api(proxied(), supervised=Deaf({"web-proxy": running(100)})) as served:
        answer = await served.client.put(f"{PROXIES}/{what}/web-proxy?wait=10ms")
    assert answer.status_code == 409
    assert "running, ready" in answer.text


@on_a_loop
async def test_what_the_state_does_not_allow_is_a_conflict() -> None:
    refused = ProxyStatus(proxy_id="web-proxy", state=ProxyState.REFUSED, reason="running as root")
    async with api(proxied(), supervised=Processes({"web-proxy": refused})) as served:
        answer = await served.client.put(f"{PROXIES}/restart/web-proxy")
    assert (answer.status_code, "running as root" in answer.text) == (409, True)


@pytest.mark.parametrize("what", ["restart", "stop"])
@on_a_loop
async def test_an_unknown_id_is_not_found(what: str) -> None:
    async with api(proxied()) as served:
        answer = await served.client.put(f"{PROXIES}/{what}/nobody-proxy")
    assert (answer.status_code, answer.text) == (404, "no managed proxy with the ID nobody-proxy")


@on_a_loop
async def test_a_wait_that_is_no_duration_is_refused() -> None:
    async with api(proxied(), supervised=Obedient({"web-proxy": running(100)})) as served:
        answer = await served.client.put(f"{PROXIES}/stop/web-proxy?wait=long")
    assert answer.status_code == 400
