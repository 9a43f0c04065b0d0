"""The ``lab`` fixture: a check's own corner of the machine, and its way back to emptiness.

A lab owns a folder, ports, processes and a history, and shares none of them. Whatever a check did, and however it
ended, :meth:`Lab.close` ends every process, waits for the ports and removes the folder.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any, Literal, NoReturn, TypeVar

import pytest

from conformance.budgets import Budgets
from conformance.instruments import ports
from conformance.instruments.history import History
from conformance.instruments.probe_proxy import ProbeProxy
from conformance.instruments.processes import Process
from conformance.plugin.agent import AgentUnderTest, LaunchPlan
from conformance.plugin.household import VARIABLE, Household, LeftBehind
from conformance.plugin.settings import DEFAULTS, Tuning
from conformance.plugin.waits import CheckFailure, StartFailed, Waits
from conformance.report.model import Measurement
from conformance.targets import Target
from conformance.targets.privileges import Access, Privileges
from conformance.targets.site import Machine

__all__ = ["AgentUnderTest", "CheckFailure", "Finished", "Lab", "StartFailed", "User"]

Found = TypeVar("Found")
Instrument = TypeVar("Instrument")
User = Literal["unprivileged", "root"]

#: How many ports the configuration of an agent gives to its managed proxies.
_PROXY_PORTS = 16
_POLL_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class Finished:
    """An agent that ended by itself: its exit code (negative: signal) and everything it printed."""

    exit_code: int
    output: str


class Lab:
    """What a check may do. All of it is undone afterwards."""

    def __init__(
        self,
        *,
        run: Path,
        target: Target,
        privileges: Privileges,
        budgets: Budgets,
        history: History,
        tuning: Tuning = DEFAULTS,
        waits: Waits | None = None,
    ) -> None:
        # The folder's name begins with that of the run, and so does what the processes carry: the run can
        # clear away after a worker that was killed.
        self.identifier = f"{run.name}.{secrets.token_hex(8)}"
        self.workspace = run / self.identifier
        self.workspace.mkdir(mode=0o755)
        self.history = history
        self.tuning = tuning
        self.agents: list[AgentUnderTest] = []
        self.measurements: list[Measurement] = []
        self._target = target
        self._privileges = privileges
        self._budgets = budgets
        self._waits = waits or Waits(budgets, history)
        self._version = ""
        self._household = Household(self.identifier, history)
        self._ports = ports.PortAllocator()
        self._instruments = ExitStack()
        self._give(self.workspace)
        self._outside = ExitStack()
        self._site = self._outside.enter_context(target.site(self.workspace))

    @contextmanager
    def afresh(self) -> Iterator[Lab]:
        """Another lab, for one example of many: all in it ends with it; what it did and saw belongs to this check."""
        inner = Lab(
            run=self.workspace.parent,
            target=self._target,
            privileges=self._privileges,
            budgets=self._budgets,
            history=self.history,
            tuning=self.tuning,
            waits=self._waits,
        )
        try:
            yield inner
        finally:
            self._version = self._version or inner.version
            inner.clear()

    # Waiting and measuring

    @property
    def version(self) -> str:
        """What the first agent that came up said of its version."""
        return next((agent.version for agent in self.agents if agent.version), self._version)

    @property
    def waits(self) -> Waits:
        """The waits so far, with their timings."""
        return self._waits

    def budget(self, name: str) -> float:
        """The seconds of a named budget of ``budgets.toml``, scaled for this machine."""
        return self._waits.budget(name)

    def patience(self, name: str) -> float:
        """The seconds for which the suite has patience; see :meth:`conformance.plugin.waits.Waits.patience`."""
        return self._waits.patience(name)

    def until(self, budget_name: str, predicate: Callable[[], Found], *, what: str) -> Found:
        """Wait until ``predicate`` returns something true; see :meth:`conformance.plugin.waits.Waits.until`."""
        return self._waits.until(budget_name, predicate, what=what)

    def holds(self, budget_name: str, predicate: Callable[[], object], *, what: str) -> None:
        """Watch that ``predicate`` stays true; see :meth:`conformance.plugin.waits.Waits.holds`."""
        self._waits.holds(budget_name, predicate, what=what)

    def measured(self, name: str, value: float, unit: str, *, bound: str = "") -> None:
        """Report a figure, and what it is judged by where it is."""
        measurement = Measurement(name=name, value=float(f"{value:.4g}"), unit=unit, bound=bound)
        self.measurements.append(measurement)
        self.history.record("measurement", **asdict(measurement))

    def skip(self, reason: str) -> NoReturn:
        """End the check without a verdict on the implementation: this machine or target cannot show it."""
        pytest.skip(reason)

    # Files, ports, instruments

    def write(self, name: str, content: Mapping[str, Any] | str) -> Path:
        """Write a file of the workspace, readable by the agent; a mapping is written as JSON."""
        path = self.workspace / name
        self._folder(path.parent)
        text = content if isinstance(content, str) else json.dumps(content, indent=1)
        path.write_text(text, encoding="utf-8")
        self._give(path)
        return path

    def port(self) -> int:
        """A TCP (and UDP) port that is free and that no other check gets."""
        return self._ports.port()

    def ports(self, count: int) -> range:
        """``count`` consecutive ports of that kind."""
        return self._ports.ports(count)

    def use(self, instrument: AbstractContextManager[Instrument]) -> Instrument:
        """Enter an instrument, such as an echo server, and leave it when the check is over."""
        return self._instruments.enter_context(instrument)

    def exclusive(self, name: str) -> None:
        """Hold a lock of this machine until the check is over: for checks that need, say, the default ports."""
        self._instruments.enter_context(ports.exclusive(name, timeout=self.budget("check")))

    def setuid_program(self, name: str) -> Path:
        """A copy of a program of this machine that runs as root, whoever starts it. Skips the check elsewhere."""
        if os.geteuid() != 0:
            self.skip("a process that the agent's user cannot end takes a suite that runs as root")
        if self._access("unprivileged").uid == 0:
            self.skip("agents run in a user namespace here, where no program gains the machine's root")
        found = shutil.which(name)
        if found is None:
            self.skip(f"this machine has no {name}")
        path = self.workspace / name
        shutil.copyfile(found, path)
        path.chmod(0o4755)
        if os.statvfs(path).f_flag & os.ST_NOSUID:
            self.skip(f"{path.parent} is on a file system whose programs gain nothing")
        return path

    def probe_proxy(self, name: str = "probe", **options: Any) -> ProbeProxy:
        """A custom proxy that tells what it was given; options as for :class:`ProbeProxy`."""
        folder = self._folder(self.workspace / name)
        probe = ProbeProxy(folder, python=self._site.python, **options)
        for path in folder.iterdir():
            self._give(path)
        return probe

    def stranger(self, uid: int, *command: str) -> AbstractContextManager[Process]:
        """A process of that user that is no agent's; it sleeps where no command is given."""
        return self._site.stranger(command or ("/bin/sleep", "600"), uid)

    # Agents

    def service(
        self, name: str, *, port: int | None = None, proxy: Mapping[str, Any] | None = None, **keys: Any
    ) -> dict[str, Any]:
        """A service definition as files have it; ``proxy`` becomes ``connect.proxy``, ``port`` a free one."""
        definition: dict[str, Any] = {"name": name, "port": self.port() if port is None else port, **keys}
        if proxy is not None:
            definition["connect"] = {**definition.get("connect", {}), "proxy": dict(proxy)}
        return {"service": definition}

    def agent(self, **configuration: Any) -> AgentUnderTest:
        """Start an agent and wait until it is ready; keywords as for :meth:`prepare`."""
        agent = self.prepare(**configuration)
        agent.start()
        return agent

    def prepare(
        self,
        *,
        definitions: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
        flags: Sequence[str] = (),
        dev: bool = True,
        data_dir: bool = True,
        as_user: User = "unprivileged",
        hcl: str | None = None,
        name: str = "agent",
        environment: Mapping[str, str] | None = None,
        token: str = "",
    ) -> AgentUnderTest:
        """Write the configuration of an agent without starting it.

        ``definitions`` go to a configuration directory, one file each. ``options`` are merged deeply over the
        lab's own (ports, and a single-server cluster when not ``dev``); ``None`` leaves a key out.
        The API is reached as the options say: over HTTPS where there is no plain HTTP, or on a unix socket.
        ``flags`` and ``hcl`` end the command line. ``data_dir=False`` gives no ``-data-dir``. ``environment`` is
        added to a small, clean one. The suite asks with ``token`` where a check does not say otherwise. Skips the
        check when this machine or target cannot run an agent as ``as_user``.
        """
        access = self._access(as_user)
        folder = self._folder(self.workspace / name)
        single, proxies = self.ports(5), self.ports(_PROXY_PORTS)
        http, dns, server, serf_lan, serf_wan = single
        base: dict[str, Any] = {
            "ports": {
                "http": http,
                "dns": dns,
                "server": server,
                "serf_lan": serf_lan,
                "serf_wan": serf_wan,
                "grpc": -1,
                "proxy_min_port": proxies[0],
                "proxy_max_port": proxies[-1],
            }
        }
        if not dev:
            base |= {
                "server": True,
                "bootstrap_expect": 1,
                "connect": {"enabled": True},
                "performance": {"raft_multiplier": 1},
            }
        effective = _merged(base, options or {})
        configuration = self.write(f"{name}/agent.json", effective)
        home = self._folder(folder / "home")
        plan = LaunchPlan(
            name=name,
            flags=(
                *(["-dev"] if dev else []),
                *(["-data-dir", str(folder / "data")] if data_dir else []),
                *("-node", f"{name}-under-test", "-bind", "127.0.0.1", "-client", "127.0.0.1"),
                *("-config-file", str(configuration), "-config-dir", str(folder / "definitions")),
                *(["-hcl", hcl] if hcl is not None else []),
                *flags,
            ),
            environment={
                **self._site.inherited(),
                "HOME": str(home),
                "TMPDIR": str(home),
                # A real Consul server asks its maker for news of versions; a check is not the occasion.
                "CHECKPOINT_DISABLE": "1",
                **(environment or {}),
                VARIABLE: self.identifier,
            },
            folder=folder,
            access=access,
            data_dir=folder / "data" if data_dir else None,
            **_reached(effective),
            dns_port=effective["ports"]["dns"],
            proxy_ports=_proxy_ports(effective["ports"]),
            token=token,
        )
        self._folder(plan.definitions)
        plan.define(definitions)
        agent = AgentUnderTest(
            plan, site=self._site, waits=self._waits, household=self._household, history=self.history
        )
        self.agents.append(agent)
        return agent

    def install(self, place: str) -> None:
        """Have the implementation's program at a place of this name, from where agents start from now on.

        It is then gone from the place before; the same name again is a new file where the old one was. Skips the
        check when the target cannot do that.
        """
        self._demand("install")
        self.history.record("program", event="installed", place=place)
        self._site.install(place)

    def start_twin_expecting_failure(self, agent: AgentUnderTest) -> None:
        """Start a running agent a second time, by mistake, and wait (budget ``agent_refusal``) until that has ended.

        Skips the check where agents have machines of their own, on which they do not meet.
        """
        if self._site.machine is not None:
            self.skip(
                "agents have machines of their own here: the second one does not meet the first one's ports"
            )
        twin = agent.launch_twin()
        self.agents.append(twin)
        self.until("agent_refusal", lambda: twin.exit_code() is not None, what="the second agent ends")
        self.history.record("agent", event="refused", exit_code=twin.exit_code())

    def start_expecting_failure(self, **configuration: Any) -> Finished:
        """Start an agent that must refuse to run; keywords as for :meth:`prepare`.

        Returns its exit code and output (budget ``agent_refusal``). Fails when it comes up instead.
        """
        agent = self.prepare(**configuration)
        agent.launch()

        def ended() -> bool:
            if agent.exit_code() is not None:
                return True
            if agent.answers():
                raise CheckFailure("the agent accepted a configuration that it must refuse: its API answers")
            return False

        self.until("agent_refusal", ended, what="the agent refuses its configuration and ends")
        code = agent.exit_code()
        assert code is not None
        output = agent.output()
        self.history.record("agent", event="refused", exit_code=code, output=output)
        return Finished(exit_code=code, output=output)

    # The machine that agents run on

    @property
    def machine(self) -> Machine:
        """What agents run in, where it can have neighbours; asked only by checks of containers."""
        assert self._site.machine is not None, "a target without machines claims to have them"
        return self._site.machine

    def lose_power(self) -> None:
        """End agents and proxies at the same moment; what they have written is left. The machine is up again then."""
        self._household.live()
        self.history.record("machine", event="power lost")
        if self._site.machine is not None:
            self._site.machine.crash()
        else:
            self._household.signal(SIGKILL)
        self.until("agent_exit", lambda: not self._household.live(), what="nothing runs any more")

    @contextmanager
    def standstill(self) -> Iterator[None]:
        """Agents and proxies stand still for the length of a block."""
        self.history.record("machine", event="stands still")
        if self._site.machine is not None:
            with self._site.machine.paused():
                yield
        else:
            self._household.signal(SIGSTOP)
            try:
                yield
            finally:
                self._household.signal(SIGCONT)
        self.history.record("machine", event="goes on")

    def upgrade_machine(self) -> None:
        """Have the next release of what agents run in, once they have ended; the lab's files are left."""
        self.history.record("machine", event="upgraded")
        self._site.upgrade()

    def processes(self) -> list[Process]:
        """Every live process of this lab, agents included."""
        return self._household.live()

    # The end

    def close(self) -> None:
        """:meth:`clear`, and the history ends."""
        try:
            self.clear()
        finally:
            self.history.close()

    def clear(self) -> None:
        """End every process, close every instrument, wait until the ports are free, remove the folder.

        Raises :class:`~conformance.plugin.household.LeftBehind` when something stays.
        """
        within = self.budget("teardown")
        try:
            for agent in self.agents:
                agent.end()
            self._household.end_all(within=within)
            self._instruments.close()
            self._await_ports(within)
        finally:
            self._outside.close()
            self._ports.close()
            shutil.rmtree(self.workspace)

    def _await_ports(self, within: float) -> None:
        deadline = time.monotonic() + within
        while taken := [port for port in self._ports.given if not ports.is_free(port)]:
            if time.monotonic() > deadline:
                raise LeftBehind(f"ports {taken} are still taken {within:g} s after every process was ended")
            time.sleep(_POLL_SECONDS)

    def _demand(self, ability: str) -> None:
        if ability in self._target.cannot:
            self.skip(self._target.cannot[ability])

    def _access(self, user: User) -> Access:
        self._demand(user)
        chosen = self._privileges.root if user == "root" else self._privileges.unprivileged
        if chosen is None:
            self.skip(self._privileges.no_root if user == "root" else self._privileges.no_unprivileged)
        return chosen

    def _folder(self, path: Path) -> Path:
        """Make a folder of the workspace, with its parents, that the agent may write to."""
        if not path.exists():
            self._folder(path.parent)
            path.mkdir(mode=0o755)
            self._give(path)
        return path

    def _give(self, path: Path) -> None:
        """Make ``path`` belong to the unprivileged user; root can use it anyway."""
        if self._privileges.unprivileged is not None:
            os.chown(path, self._privileges.unprivileged.uid, self._privileges.unprivileged.gid)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top, mapping by mapping; ``None`` removes a key."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = (
            _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
        )
    return {key: value for key, value in result.items() if value is not None}


def _reached(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a :class:`LaunchPlan` says of the way to an agent with these options."""
    ports_given = options["ports"]
    if ports_given["http"] > 0 or "https" not in ports_given:  # the latter: not at all
        address = options.get("addresses", {}).get("http", "")
        path = address.removeprefix("unix://") if address.startswith("unix://") else ""
        return {"http_port": ports_given["http"], "socket": path}
    return {
        "http_port": ports_given["https"],
        "tls": ssl.create_default_context(cafile=options["ca_file"]),
    }


def _proxy_ports(options: Mapping[str, int]) -> range:
    """The range for managed proxies; the original's default where the options name none."""
    return range(options.get("proxy_min_port", 20000), options.get("proxy_max_port", 20255) + 1)
