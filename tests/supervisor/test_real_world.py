"""The supervisor with real processes, files and signals. Every wait ends on an event."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from reference.supervisor import linux
from reference.supervisor.runner import ManagedProxies
from reference.supervisor.spec import ProxySpec, ProxyState, ProxyStatus, Timings
from tests.waiting import DEADLINE

QUICK = Timings(quick_starts=100, stop_grace=0.3, kill_retry=0.2)

TOKEN = "5eab-token"

#: Waits for a signal; `stubborn` ignores the polite one, `parent` leaves a child in its group.
SCRIPT = """
import os, signal, subprocess, sys
mode = sys.argv[1]
if mode == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
if mode == "parent":
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    open(sys.argv[2], "w").write(str(child.pid))
signal.pause()
"""


def spec(mode: str = "polite", *extra: str, token: str = TOKEN, proxy_id: str = "web-proxy") -> ProxySpec:
    command = (sys.executable, "-c", SCRIPT, mode, *extra)
    return ProxySpec(proxy_id=proxy_id, token=token, command=command, environment=(("HOME", "/"),))


class Observed:
    """A supervisor and what it reported, to be awaited."""

    def __init__(self, data_dir: Path | None, *, agent_id: str, refusal: str | None = None) -> None:
        self.reports: list[tuple[str, ProxyStatus | None]] = []
        self._news = asyncio.Event()
        self.proxies = ManagedProxies(
            data_dir=data_dir, agent_id=agent_id, refusal=refusal, timings=QUICK, on_change=self._heard
        )

    def _heard(self, proxy_id: str, status: ProxyStatus | None) -> None:
        self.reports.append((proxy_id, status))
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def running(self, proxy_id: str = "web-proxy", *, other_than: int | None = None) -> int:
        def condition() -> bool:
            status = self.proxies.status().get(proxy_id)
            return status is not None and status.state is ProxyState.RUNNING and status.pid != other_than

        await self.until(condition)
        pid = self.proxies.status()[proxy_id].pid
        assert pid is not None
        return pid

    async def gone(self, proxy_id: str = "web-proxy") -> None:
        await self.until(lambda: proxy_id not in self.proxies.status())


Start = Callable[..., Awaitable[Observed]]


def run(story: Callable[[Start], Awaitable[None]]) -> None:
    """Play a story with a way to start supervisors; end every process that they leave behind."""
    agents: list[Observed] = []

    async def start(
        data_dir: Path | None, *specs: ProxySpec, refusal: str | None = None, agent_id: str = ""
    ) -> Observed:
        agent = Observed(data_dir, agent_id=agent_id or str(data_dir), refusal=refusal)
        await agent.proxies.start()
        agents.append(agent)
        for wanted in specs:
            agent.proxies.define(wanted)
        agent.proxies.settle()
        return agent

    async def whole() -> None:
        try:
            await story(start)
        finally:
            for agent in agents:
                await agent.proxies.shut_down(stop=False)
            for pid in {
                s.pid for agent in agents for _, s in agent.reports if s is not None and s.pid is not None
            }:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    asyncio.run(whole())


@contextlib.contextmanager
def stranger(
    *, started_after: int, leads: bool = False, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else, whose start time the kernel tells from ``started_after``.

    It has this environment, and ``leads`` a session of its own or is in ours.

    A pid comes round again after minutes at the earliest; a test that hands one over must not do it in one tick.
    """
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", "import signal; signal.pause()"],
            start_new_session=leads,
            env={**os.environ, **environment},
        )
        found = linux.stat(process.pid)
        if found is not None and found.start_time > started_after:
            break
        process.kill()
        process.wait()
    try:
        yield process
        assert process.poll() is None, "a stranger was harmed"
    finally:
        process.kill()
        process.wait()


async def wait_for_exit(pid: int) -> None:
    """Until that process is gone or a zombie, without asking again and again."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, done.set)
    try:
        async with asyncio.timeout(DEADLINE):
            await done.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def ended(pid: int) -> bool:
    found = linux.stat(pid)
    return found is None or found.ended


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def snapshot_of(tmp_path: Path) -> dict[str, object]:
    document: dict[str, dict[str, object]] = json.loads((tmp_path / "proxy/snapshot.json").read_text())
    return document["Proxies"]


def test_a_proxy_leads_its_own_session_and_has_its_files(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path, spec())
        pid = await agent.running()
        found = linux.stat(pid)
        assert found is not None
        assert (found.group, found.session) == (pid, pid)
        assert (tmp_path / "proxy/pids/web-proxy.pid").read_text() == str(pid)
        assert mode_of(tmp_path / "proxy/pids/web-proxy.pid") == 0o600
        assert mode_of(tmp_path / "proxy/snapshot.json") == 0o600
        assert mode_of(tmp_path / "proxy/logs/web-proxy-stdout.log") == 0o600
        assert mode_of(tmp_path / "proxy/logs") == 0o700
        environment = linux.environment(pid)
        assert environment is not None
        assert environment["CONNECT_PROXY_ID"] == "web-proxy"
        assert environment["CONNECT_PROXY_TOKEN"] == TOKEN
        agent.proxies.remove("web-proxy")
        await agent.gone()
        assert not (tmp_path / "proxy/pids/web-proxy.pid").exists()
        assert snapshot_of(tmp_path) == {}

    run(story)


def test_output_is_appended_to_its_two_files(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        command = ("/bin/sh", "-c", "echo out $$; echo err $$ >&2")
        agent = await start(tmp_path, ProxySpec(proxy_id="web-proxy", token="t", command=command))
        await agent.until(lambda: agent.proxies.status()["web-proxy"].starts > 3)
        await agent.proxies.shut_down(stop=True)
        for stream, word in (("stdout", "out"), ("stderr", "err")):
            lines = (tmp_path / f"proxy/logs/web-proxy-{stream}.log").read_text().splitlines()
            assert len(set(lines)) == len(lines) >= 3
            assert all(line.startswith(f"{word} ") for line in lines)

    run(story)


def test_a_killed_proxy_is_started_again(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path, spec())
        first = await agent.running()
        os.kill(first, signal.SIGKILL)
        second = await agent.running(other_than=first)
        assert (tmp_path / "proxy/pids/web-proxy.pid").read_text() == str(second)

    run(story)


def test_the_next_agent_adopts_and_stops_what_it_adopted(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path, spec())
        pid = await agent.running()
        await agent.proxies.shut_down(stop=False)
        successor = await start(tmp_path, spec())
        assert await successor.running() == pid
        os.waitpid(pid, os.WNOHANG)
        successor.proxies.remove("web-proxy")
        await successor.gone()
        await wait_for_exit(pid)

    run(story)


def test_an_adopted_proxy_that_dies_is_replaced_at_once(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path, spec())
        pid = await agent.running()
        await agent.proxies.shut_down(stop=False)
        successor = await start(tmp_path, spec())
        await successor.running()
        os.kill(pid, signal.SIGKILL)
        await successor.running(other_than=pid)

    run(story)


@pytest.mark.parametrize("damage", ["", "{", '{"Version": 7, "Proxies": {}}', "missing", "a pipe"])
def test_a_damaged_snapshot_loses_no_proxy(tmp_path: Path, damage: str) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path, spec())
        pid = await agent.running()
        await agent.proxies.shut_down(stop=False)
        snapshot = tmp_path / "proxy/snapshot.json"
        if damage in ("missing", "a pipe"):
            snapshot.unlink()
        else:
            snapshot.write_text(damage)
        if damage == "a pipe":
            os.mkfifo(snapshot)  # to read it would take until somebody writes
        successor = await start(tmp_path, spec())
        assert await successor.running() == pid
        assert (tmp_path / "proxy/snapshot.json.unusable").exists() == (damage != "missing")

    run(story)


def test_a_proxy_found_without_a_snapshot_is_replaced_when_its_command_changed(
    tmp_path: Path,
) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path, spec())
        pid = await agent.running()
        await agent.proxies.shut_down(stop=False)
        (tmp_path / "proxy/snapshot.json").unlink()
        successor = await start(tmp_path, spec("stubborn"))
        await successor.running(other_than=pid)
        await wait_for_exit(pid)

    run(story)


def test_a_strangers_pid_is_neither_adopted_nor_signalled(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path, spec())
        pid = await agent.running()
        await agent.proxies.shut_down(stop=False)
        ours = linux.stat(pid)
        assert ours is not None
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        path = tmp_path / "proxy/snapshot.json"
        with stranger(started_after=ours.start_time) as other:
            path.write_text(path.read_text().replace(f'"Pid": {pid}', f'"Pid": {other.pid}'))
            successor = await start(tmp_path, spec())
            assert await successor.running() not in (pid, other.pid)
            successor.proxies.remove("web-proxy")
            await successor.gone()

    run(story)


@pytest.mark.parametrize("kind", ["in somebody's session", "another proxy"])
def test_a_stranger_is_left_alone_although_the_snapshot_knows_who_it_is(tmp_path: Path, kind: str) -> None:
    """Such a snapshot was edited, or is another agent's: the process that it names is none of ours."""
    another = {"CONNECT_PROXY_ID": "db-proxy", "CONNECT_PROXY_AGENT_ID": "another"}
    environment = another if kind == "another proxy" else {}

    async def story(start: Start) -> None:
        agent = await start(tmp_path, spec())
        pid = await agent.running()
        await agent.proxies.shut_down(stop=False)
        ours = linux.stat(pid)
        assert ours is not None
        path = tmp_path / "proxy/snapshot.json"
        with stranger(started_after=ours.start_time, leads=bool(environment), **environment) as other:
            theirs = linux.stat(other.pid)
            assert theirs is not None
            document = json.loads(path.read_text())
            document["Proxies"]["web-proxy"]["Config"] |= {"Pid": other.pid, "StartTime": theirs.start_time}
            path.write_text(json.dumps(document))
            successor = await start(tmp_path, spec())
            assert await successor.running() == pid
            successor.proxies.remove("web-proxy")
            await successor.gone()
            assert other.poll() is None

    run(story)


def test_an_agent_that_has_lost_its_id_knows_its_proxies_by_the_snapshot(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path, spec())
        pid = await agent.running()
        await agent.proxies.shut_down(stop=False)
        successor = await start(tmp_path, spec(), agent_id="another")
        assert await successor.running() == pid

    run(story)


def test_a_proxy_found_without_a_snapshot_and_wanted_by_nobody_is_stopped(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path, spec())
        pid = await agent.running()
        await agent.proxies.shut_down(stop=False)
        (tmp_path / "proxy/snapshot.json").unlink()
        successor = await start(tmp_path)
        await successor.gone()
        await wait_for_exit(pid)

    run(story)


def test_the_proxy_of_another_agent_is_left_alone(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        other = await start(theirs, spec())
        pid = await other.running()
        agent = await start(ours, spec())
        assert await agent.running() != pid
        agent.proxies.remove("web-proxy")
        await agent.gone()
        assert other.proxies.status()["web-proxy"].pid == pid

    run(story)


def test_a_snapshot_from_before_a_reboot_names_no_process(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path / "before", spec())
        pid = await agent.running()
        await agent.proxies.shut_down(stop=False)
        text = (tmp_path / "before/proxy/snapshot.json").read_text()
        (tmp_path / "after/proxy").mkdir(parents=True)
        (tmp_path / "after/proxy/snapshot.json").write_text(text.replace(linux.boot_id(), "another-boot"))
        successor = await start(tmp_path / "after", spec())
        assert await successor.running() != pid
        assert not ended(pid)

    run(story)


def test_stopping_escalates_and_takes_the_whole_group(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        note = tmp_path / "child"
        agent = await start(tmp_path, spec("parent", str(note)))
        await agent.running()
        async with asyncio.timeout(DEADLINE):
            while not note.exists() or not note.read_text():
                await asyncio.sleep(0.01)  # the file system has no event to wait for
        child = int(note.read_text())
        agent.proxies.remove("web-proxy")
        await agent.gone()
        await wait_for_exit(child)

    run(story)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        secret = tmp_path / "elsewhere"
        secret.write_text("untouched")
        for folder, name in (("pids", "web-proxy.pid"), ("logs", "web-proxy-stdout.log")):
            (tmp_path / "proxy" / folder).mkdir(parents=True)
            (tmp_path / "proxy" / folder / name).symlink_to(secret)
        agent = await start(tmp_path, spec())
        await agent.until(lambda: agent.proxies.status()["web-proxy"].starts > 1)
        assert secret.read_text() == "untouched"
        await agent.proxies.shut_down(stop=True)

    run(story)


def test_without_a_data_directory_nothing_is_written_and_the_proxy_goes_with_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(start: Start) -> None:
        monkeypatch.chdir(tmp_path)
        agent = await start(None, spec())
        pid = await agent.running()
        await agent.proxies.shut_down(stop=True)
        assert ended(pid)
        assert list(tmp_path.iterdir()) == []

    run(story)


def test_without_a_data_directory_even_a_killed_agent_takes_its_proxies_along(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from reference.supervisor.runner import ManagedProxies
from reference.supervisor.spec import ProxySpec
async def main():
    tell = lambda _, status: status and status.pid and print(status.pid, flush=True)
    proxies = ManagedProxies(data_dir=None, agent_id="a", on_change=tell)
    await proxies.start()
    command = (sys.executable, "-c", "import signal; signal.pause()")
    proxies.define(ProxySpec(proxy_id="web-proxy", token="t", command=command))
    await asyncio.Event().wait()
asyncio.run(main())
"""

    async def story() -> None:
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert agent.stdout is not None
        pid = int(await asyncio.wait_for(agent.stdout.readline(), DEADLINE))
        agent.kill()
        await agent.wait()
        await wait_for_exit(pid)

    asyncio.run(story())


def test_what_cannot_be_executed_is_reported_and_tried_again(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        wanted = ProxySpec(proxy_id="web-proxy", token="t", command=("sleep", "1000"))
        agent = await start(tmp_path, wanted)
        await agent.until(lambda: agent.proxies.status()["web-proxy"].starts > 2)
        assert "sleep: no such file or directory" in agent.proxies.status()["web-proxy"].reason
        await agent.proxies.shut_down(stop=True)

    run(story)


def test_a_refusal_starts_nothing(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path, spec(), refusal="running as root")
        assert agent.proxies.status()["web-proxy"].state is ProxyState.REFUSED
        assert not (tmp_path / "proxy/logs").exists()
        await agent.proxies.shut_down(stop=True)

    run(story)


def test_removing_an_unknown_proxy_is_an_error(tmp_path: Path) -> None:
    async def story(start: Start) -> None:
        agent = await start(tmp_path)
        with pytest.raises(KeyError):
            agent.proxies.remove("nobody")

    run(story)
