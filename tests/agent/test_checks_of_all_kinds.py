"""Checks: what each kind says and when, what survives, and who goes when a check stays critical."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reference.agent.check_runs import CheckMemory, CheckSettings, worst_of
from reference.agent.checks import HealthChecks
from reference.agent.local_checks import maintenance
from reference.agent.looking import look_http, run_script
from reference.agent.services import LocalState, NotAllowed
from reference.catalog.index import IndexClock
from reference.catalog.model import Check, Node, Status, agent_node
from reference.catalog.store import Catalog
from reference.catalog.watch import Watch
from reference.config.checks import CheckDefinition
from tests.agent.defining import proxied, service, state
from tests.waiting import DEADLINE

HERE = agent_node(id="h", name="here", address="127.0.0.1", datacenter="dc1")


class Memory:
    """Remembers what TTL checks were told."""

    def __init__(self) -> None:
        self.results: dict[str, tuple[Status, str]] = {}

    def remember_result(self, check_id: str, status: Status, output: str, *, expires: float) -> None:
        self.results[check_id] = (status, output)

    def recall_result(self, check_id: str) -> tuple[Status, str] | None:
        return self.results.get(check_id)


class World:
    """A state with its checks and a catalog that shows them."""

    def __init__(self, local: LocalState, memory: CheckMemory | None, **settings: Any) -> None:
        self.state = local
        self.watch = Watch()
        self.catalog = Catalog(HERE, clock=IndexClock(), watch=self.watch)
        self.now = 0.0
        self.checks = HealthChecks(
            local,
            board=self.catalog,
            settings=CheckSettings(node="here", **settings),
            memory=memory,
            elsewhere=self.catalog.checks_on,
            changed=lambda seconds: self.watch.wait("checks", seconds=seconds),
            clock=lambda: self.now,
        )
        local.attach(self.checks)
        local.checks.attach(self.checks)

    def __getitem__(self, check_id: str) -> Check:
        return self.checks.records()[check_id]

    def shown(self, check_id: str) -> Check:
        (found,) = [
            each.check.value for each in self.catalog.checks_on("here") if each.check.value.id == check_id
        ]
        return found

    async def until(self, check_id: str, status: Status) -> Check:
        async with asyncio.timeout(DEADLINE):
            while self[check_id].status is not status:
                await self.watch.wait("checks", seconds=DEADLINE)
        return self[check_id]


@contextlib.asynccontextmanager
async def world(
    *, memory: CheckMemory | None = None, local: LocalState | None = None, **settings: Any
) -> AsyncIterator[World]:
    made = World(state() if local is None else local, memory, **settings)
    try:
        yield made
    finally:
        await made.checks.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario()

    asyncio.run(whole())


def register(made: World, *checks: CheckDefinition, name: str = "web") -> None:
    made.state.register(service(name, checks=checks), from_file=False)


def test_ids_names_and_first_states_are_the_originals() -> None:
    async def scenario() -> None:
        async with world() as made:
            register(made, CheckDefinition(ttl=60))
            register(
                made,
                CheckDefinition(ttl=60, status="passing"),
                CheckDefinition(id="mine", name="n", ttl=60, notes="x"),
            )
            made.state.register_check(CheckDefinition(name="node", ttl=60), token="", from_file=False)
            assert {check.id: (check.name, check.status) for check in made.checks.records().values()} == {
                # That of the first registration stays: nobody said that it should go.
                "service:web": ("Service 'web' check", Status.CRITICAL),
                "service:web:1": ("Service 'web' check", Status.PASSING),
                "mine": ("n", Status.CRITICAL),
                "node": ("node", Status.CRITICAL),
            }
            assert made["mine"].service_name == "web"
            assert (made["node"].service_id, made["mine"].notes) == ("", "x")
            with pytest.raises(NotAllowed, match='ServiceID "nope" does not exist'):
                made.state.register_check(
                    CheckDefinition(name="c", ttl=1, service_id="nope"), token="", from_file=False
                )

    run(scenario)


def test_a_ttl_check_is_what_it_was_told_until_its_time_is_over() -> None:
    async def scenario() -> None:
        memory = Memory()
        async with world(memory=memory) as made:
            register(made, CheckDefinition(id="c", ttl=0.2))
            made.checks.set_result("c", Status.WARNING, "so so")
            assert (made["c"].status, made["c"].output) == (Status.WARNING, "so so")
            assert memory.results == {"c": (Status.WARNING, "so so")}
            expired = await made.until("c", Status.CRITICAL)
            assert expired.output == "TTL expired (last output before timeout follows): so so"
            made.checks.set_result("c", Status.PASSING, "")
            assert made["c"].status is Status.PASSING
            assert (await made.until("c", Status.CRITICAL)).output == "TTL expired"

    run(scenario)


def test_only_ttl_checks_can_be_told() -> None:
    async def scenario() -> None:
        async with world() as made:
            register(made, CheckDefinition(id="a", alias_service="x"))
            for check_id in ("a", "never there"):
                with pytest.raises(ValueError, match=f'"{check_id}" does not have associated TTL'):
                    made.checks.set_result(check_id, Status.PASSING, "")

    run(scenario)


def test_a_ttl_check_is_after_a_restart_what_it_was_told_before() -> None:
    async def scenario() -> None:
        memory = Memory()
        memory.results["c"] = Status.PASSING, "from before"
        async with world(memory=memory) as made:
            register(made, CheckDefinition(id="c", ttl=60))
            assert (made["c"].status, made["c"].output) == (Status.PASSING, "from before")

    run(scenario)


def test_a_result_stays_over_a_new_registration() -> None:
    async def scenario() -> None:
        async with world() as made:
            register(made, CheckDefinition(id="c", ttl=60))
            made.checks.set_result("c", Status.PASSING, "fine")
            for again in (CheckDefinition(id="c", ttl=60), CheckDefinition(id="c", ttl=90, notes="new")):
                register(made, again)
                assert (made["c"].status, made["c"].output, made["c"].notes) == (
                    Status.PASSING,
                    "fine",
                    again.notes,
                )
            made.state.register(service("web", tags=("t",)), from_file=False)
            assert made.shown("c").service_tags == ("t",), "a check says what its service is"

    run(scenario)


def test_an_alias_follows_its_service_and_the_node() -> None:
    async def scenario() -> None:
        async with world() as made:
            register(made, CheckDefinition(id="a", alias_service="db"))
            assert (made["a"].status, made["a"].output) == (Status.PASSING, "No checks found.")
            register(made, CheckDefinition(id="c", name="the check", ttl=60), name="db")
            assert (made["a"].status, made["a"].output) == (
                Status.CRITICAL,
                'Aliased check "the check" failing: ',
            )
            made.checks.set_result("c", Status.WARNING, "slow")
            assert (made["a"].status, made["a"].output) == (
                Status.WARNING,
                'Aliased check "the check" failing: slow',
            )
            made.checks.set_result("c", Status.PASSING, "")
            assert (made["a"].status, made["a"].output) == (Status.PASSING, "All checks passing.")
            made.state.checks.put(maintenance(None, reason="", token=""))
            assert made["a"].status is Status.CRITICAL
            made.state.checks.drop("_node_maintenance")
            assert made["a"].status is Status.PASSING
            made.state.deregister("db")
            assert made["a"].output == "No checks found."

    run(scenario)


def test_two_aliases_that_follow_each_other_come_to_an_end() -> None:
    async def scenario() -> None:
        async with world() as made:
            register(made, CheckDefinition(id="a", alias_service="db"))
            register(made, CheckDefinition(id="b", alias_service="web"), name="db")
            made.state.register_check(
                CheckDefinition(id="c", name="c", ttl=60, service_id="db"), token="", from_file=False
            )
            assert {made["a"].status, made["b"].status} == {Status.CRITICAL}

    run(scenario)


def test_an_alias_follows_a_node_that_another_agent_looks_after() -> None:
    async def scenario() -> None:
        async with world() as made:
            made.catalog.put_node(Node(id="", name="far", address="10.0.0.1", datacenter="dc1"))
            register(made, CheckDefinition(id="a", alias_node="far", alias_service="db"))
            await made.until("a", Status.PASSING)
            made.catalog.put_check(Check(id="x", name="x", status=Status.CRITICAL), node="far")
            assert (await made.until("a", Status.CRITICAL)).output == 'Aliased check "x" failing: '
            made.catalog.remove_check("x", node="far")
            await made.until("a", Status.PASSING)

    run(scenario)


def test_the_worst_decides_and_says_why() -> None:
    checks = [
        Check(id=name, name=name, status=status, output=name)
        for name, status in (("p", Status.PASSING), ("w", Status.WARNING), ("c", Status.CRITICAL))
    ]
    assert worst_of(checks) == (Status.CRITICAL, 'Aliased check "c" failing: c')
    assert worst_of(checks[:2]) == (Status.WARNING, 'Aliased check "w" failing: w')
    assert worst_of(checks[:1]) == (Status.PASSING, "All checks passing.")


def test_a_tcp_check_connects() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            async with world() as made:
                register(made, CheckDefinition(id="c", tcp=f"127.0.0.1:{port}", interval=1))
                good = await made.until("c", Status.PASSING)
                assert good.output == f"TCP connect 127.0.0.1:{port}: Success"
                listener.close()
                bad = await made.until("c", Status.CRITICAL)
                assert bad.output == f"dial tcp 127.0.0.1:{port}: connect: connection refused"

    run(scenario)


async def asked(answer: bytes, **definition: Any) -> tuple[tuple[Status, str], bytes, str]:
    """What a check says to an answer, what it asked, and the URL."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        found = await look_http(CheckDefinition(http=url, interval=5, **definition), seconds=DEADLINE)
    return found, b"".join(requests), url


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("200 OK", Status.PASSING),
        ("204 No Content", Status.PASSING),
        ("429 Too Many Requests", Status.WARNING),
        ("404 Not Found", Status.CRITICAL),
        ("500 Internal Server Error", Status.CRITICAL),
    ],
)
def test_an_http_check_reads_the_status_code(line: str, status: Status) -> None:
    body = b"" if line.startswith("204") else b"hello"
    answer = f"HTTP/1.1 {line}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
    found, request, url = asyncio.run(asked(answer))
    assert found == (status, f"HTTP GET {url}: {line} Output: {body.decode()}")
    assert b"user-agent: consul health check" in request.lower()
    assert b"accept: text/plain, text/*, */*" in request.lower()


def test_an_http_check_takes_method_and_headers() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    header = {"X-A": ["1", "2"], "Host": ["example.org"], "User-Agent": ["me"]}
    _, request, _ = asyncio.run(asked(answer, method="PUT", header=header))
    lines = request.decode().split("\r\n")
    assert lines[0] == "PUT /x HTTP/1.1"
    lower = [line.lower() for line in lines]
    assert {"x-a: 1", "x-a: 2", "host: example.org", "user-agent: me"} <= set(lower)
    assert sum(line.startswith(("host:", "user-agent:")) for line in lower) == 2


def test_an_http_check_keeps_the_end_of_a_long_answer() -> None:
    body = b"a" * 10_000 + b"end"
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
    (status, output), _, _ = asyncio.run(asked(answer))
    assert status is Status.PASSING
    assert output.endswith("aend")
    assert len(output.partition("Output: ")[2]) == 4096


def test_an_http_check_that_gets_no_answer_says_why() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            silent = CheckDefinition(http=url, interval=5)
            status, output = await look_http(silent, seconds=0.1)
            assert (status, output) == (
                Status.CRITICAL,
                f"Get {url}: net/http: request canceled (Client.Timeout exceeded)",
            )
        status, output = await look_http(silent, seconds=DEADLINE)
        assert (status, output) == (Status.CRITICAL, f"Get {url}: connection refused")

    run(scenario)


@pytest.mark.parametrize(
    ("code", "status"),
    [(0, Status.PASSING), (1, Status.WARNING), (2, Status.CRITICAL), (99, Status.CRITICAL)],
)
def test_a_script_speaks_by_its_exit_code(code: int, status: Status) -> None:
    program = f"import sys; print('out'); print('err', file=sys.stderr, flush=True); sys.exit({code})"
    found = asyncio.run(run_script([sys.executable, "-c", program], seconds=DEADLINE))
    assert found[0] is status
    assert sorted(found[1].split()) == ["err", "out"]


def test_a_script_that_cannot_be_started_is_critical() -> None:
    status, output = asyncio.run(run_script(["/nowhere/program"], seconds=DEADLINE))
    assert (status, output) == (Status.CRITICAL, "/nowhere/program: no such file or directory")


def test_a_long_output_is_cut_and_says_so() -> None:
    program = "print('a' * 10000 + 'end', end='')"
    _, output = asyncio.run(run_script([sys.executable, "-c", program], seconds=DEADLINE))
    assert output.startswith("Captured 4096 of 10003 bytes\n...\naaa")
    assert output.endswith("aend")


class Held:
    """A pipe that a script opens for writing, and whatever it starts inherits: it ends with the last of them."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def close(self) -> None:
        os.close(self._end)

    def read(self) -> bytes:
        """What was written, nothing once nobody holds the pipe any more."""
        ready, _, _ = select.select([self._end], [], [], DEADLINE)
        assert ready, "somebody still holds the pipe, and says nothing"
        return os.read(self._end, 4096)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    pipe = Held(tmp_path / "held")
    yield pipe
    pipe.close()


@pytest.mark.parametrize("end", ["wait", "exit 0"])
def test_a_script_that_takes_too_long_is_ended_with_everything_that_it_started(held: Held, end: str) -> None:
    """Also when it has ended itself: what it left still holds its output, and so the check."""
    script = f"exec 3>{held.path}; sleep 600 & echo begun; {end}"
    for seconds in (1, 5, 25):  # a busy machine may need one of them to come to the first word
        found = asyncio.run(run_script(["/bin/sh", "-c", script], seconds=seconds))
        if "begun" in found[1]:
            break
    assert found == (Status.CRITICAL, f"Timed out ({seconds}s) running check\n\nbegun\n")
    assert held.read() == b""


def test_a_script_ends_with_its_check(held: Held) -> None:
    async def scenario() -> None:
        async with world(local=state(enable_script_checks=True)) as made:
            command = ("/bin/sh", "-c", f"exec 3>{held.path}; echo begun >&3; exec sleep 600")
            register(made, CheckDefinition(id="c", args=command, interval=1))
            assert await asyncio.to_thread(held.read) == b"begun\n"
            made.state.deregister("web")
            await made.checks.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing is left for later"
            assert await asyncio.to_thread(held.read) == b""

    run(scenario)


def test_scripts_of_requests_are_refused_unless_somebody_allowed_them() -> None:
    async def scenario() -> None:
        script = CheckDefinition(id="c", name="c", args=("true",), interval=1)
        async with world() as made:
            with pytest.raises(NotAllowed, match="Scripts are disabled on this agent from remote calls"):
                register(made, script)
            with pytest.raises(NotAllowed, match="Scripts are disabled"):
                made.state.register_check(script, token="", from_file=False)
            assert made.state.services() == ()
            made.state.register_check(script, token="", from_file=True)
            await made.until("c", Status.PASSING)

    run(scenario)


def test_new_words_alone_wait_and_a_new_status_does_not() -> None:
    """Each change of the catalog wakes whoever waits for the service."""

    async def scenario() -> None:
        async with world(output_delay=600.0) as made:
            register(made, CheckDefinition(id="c", ttl=60))
            made.checks.set_result("c", Status.PASSING, "1")
            assert made.shown("c").output == "1"
            made.checks.set_result("c", Status.PASSING, "2")
            assert (made["c"].output, made.shown("c").output) == ("2", "1")
            made.checks.set_result("c", Status.WARNING, "3")
            assert made.shown("c").output == "3"
        async with world(output_delay=0.01) as made:
            register(made, CheckDefinition(id="c", ttl=60))
            made.checks.set_result("c", Status.PASSING, "1")
            made.checks.set_result("c", Status.PASSING, "2")
            async with asyncio.timeout(DEADLINE):
                while made.shown("c").output != "2":
                    await made.watch.wait("checks", seconds=DEADLINE)

    run(scenario)


def test_outputs_can_be_discarded() -> None:
    async def scenario() -> None:
        async with world(discard_output=True) as made:
            register(made, CheckDefinition(id="c", ttl=60))
            made.checks.set_result("c", Status.PASSING, "secret")
            assert (made["c"].status, made["c"].output) == (Status.PASSING, "")

    run(scenario)


def test_a_service_is_reaped_when_a_check_stayed_critical_for_too_long() -> None:
    async def scenario() -> None:
        async with world(reap_after_min=60.0) as made:
            made.state.register(
                proxied("web"), from_file=True
            )  # its proxy goes with it, see the tests of whole agents
            made.state.register_check(
                CheckDefinition(id="c", name="c", ttl=600, deregister_after=90, service_id="web"),
                token="",
                from_file=True,
            )
            register(made, CheckDefinition(id="hasty", ttl=600, deregister_after=1), name="other")
            register(made, CheckDefinition(id="fine", ttl=600), name="fine")
            made.now = 59.0
            made.checks.reap()
            assert {each.id for each in made.state.services()} == {"web", "web-proxy", "other", "fine"}
            made.now = 61.0
            made.checks.reap()
            assert {each.id for each in made.state.services()} == {"web", "web-proxy", "fine"}
            made.checks.set_result("c", Status.WARNING, "")
            made.checks.set_result("c", Status.CRITICAL, "")
            made.now = 100.0
            made.checks.reap()
            assert "web" in {each.id for each in made.state.services()}, "it was better in between"
            made.now = 152.0
            made.checks.reap()
            assert {each.id for each in made.state.services()} == {"fine"}
            assert set(made.checks.records()) == {"fine"}
            assert [each.check.value.id for each in made.catalog.checks_on("here")] == ["fine", "serfHealth"]

    run(scenario)


def test_the_reaper_comes_by_itself() -> None:
    async def scenario() -> None:
        async with world(reap_interval=0.01, reap_after_min=0.0) as made:
            register(made, CheckDefinition(id="c", ttl=600, deregister_after=1))
            made.now = 2.0
            async with asyncio.timeout(DEADLINE):
                while made.state.services():
                    await made.watch.wait("checks", seconds=DEADLINE)

    run(scenario)


def test_a_check_cannot_take_the_place_of_that_of_a_managed_proxy() -> None:
    async def scenario() -> None:
        async with world() as made:
            made.state.register(proxied("web"), from_file=True)
            with pytest.raises(NotAllowed, match="belongs to a managed proxy"):
                made.state.register_check(
                    CheckDefinition(id="service:web-proxy", name="c", ttl=1), token="", from_file=False
                )

    run(scenario)
