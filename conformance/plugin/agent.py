"""One agent of the implementation under test: its process, its files, its API, its proxies."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM, Signals
from ssl import SSLContext
from typing import Any

from conformance.instruments.api import ApiClient, Unreachable
from conformance.instruments.history import History
from conformance.instruments.processes import Process
from conformance.plugin.household import Household
from conformance.plugin.waits import StartFailed, Waits
from conformance.targets.privileges import Access
from conformance.targets.site import Order, Running, Site

#: How much of an agent's output a failure quotes, in characters.
_QUOTED = 2000


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """Everything that starts one agent, and starts it again: a restart uses the same plan."""

    name: str
    flags: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    access: Access
    data_dir: Path | None
    http_port: int
    dns_port: int
    proxy_ports: range
    #: With which the suite asks where it does not say otherwise; empty for none.
    token: str = field(default="", repr=False)
    #: How its API is reached where that is not plain HTTP on ``http_port``.
    socket: str = ""
    tls: SSLContext | None = None

    @property
    def output(self) -> Path:
        """Where stdout and stderr of all incarnations are appended."""
        return self.folder / "output.log"

    @property
    def definitions(self) -> Path:
        """The folder of the service definitions."""
        return self.folder / "definitions"

    def define(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        """Make the folder hold exactly these definitions, one JSON file each, in order."""
        for old in self.definitions.glob("*.json"):
            old.unlink()
        for number, definition in enumerate(definitions):
            path = self.definitions / f"{number:02}.json"
            path.write_text(json.dumps(definition, indent=1), encoding="utf-8")
            os.chown(path, self.access.uid, self.access.gid)

    def order(self) -> Order:
        """What the site is asked to start."""
        return Order(
            name=self.name,
            flags=self.flags,
            prefix=self.access.prefix,
            uid=self.access.uid,
            gid=self.access.gid,
            environment=self.environment,
            directory=self.folder,
            output=self.output,
        )


class AgentUnderTest:
    """A handle that outlives the process: after ``restart()`` it is the same agent with another pid.

    Made by :meth:`conformance.plugin.lab.Lab.agent`. Waits use the budgets named in each method and fail as
    late or never.
    """

    def __init__(
        self, plan: LaunchPlan, *, site: Site, waits: Waits, household: Household, history: History
    ) -> None:
        self._plan = plan
        self._site = site
        self._waits = waits
        self._household = household
        self._history = history
        self._running: Running | None = None
        self._process: Process | None = None
        self.api = ApiClient(
            port=plan.http_port,
            history=history,
            timeout=waits.budget("http"),
            own_token=plan.token,
            socket=plan.socket,
            tls=plan.tls,
        )
        self.data_dir = plan.data_dir
        self.http_port = plan.http_port
        self.dns_port = plan.dns_port
        self.proxy_ports = plan.proxy_ports
        #: What the agent says of its version, once it was ready.
        self.version = ""

    @property
    def pid(self) -> int:
        """The pid of the present incarnation, or of the last one."""
        return self.process.pid

    @property
    def process(self) -> Process:
        """The present incarnation, or the last one."""
        assert self._process is not None, "the agent was never started"
        return self._process

    @property
    def log_dir(self) -> Path:
        """Where the document puts the logs of managed proxies. Raises :class:`LookupError` without a data_dir."""
        if self.data_dir is None:
            raise LookupError("this agent has no data directory, hence no logs")
        return self.data_dir / "proxy" / "logs"

    def output(self) -> str:
        """What all incarnations have printed so far, stdout and stderr mixed."""
        return self._plan.output.read_text(encoding="utf-8", errors="replace")

    def launch(self) -> None:
        """Start the process without waiting for anything; :meth:`start` is what checks want."""
        self._running = self._site.start(self._plan.order())
        self._process = Process.of(self._running.pid)
        self._household.take_in(self._process)
        self._record("started", prefix=self._plan.access.prefix, flags=self._plan.flags)

    def start(self) -> None:
        """Start and wait (budget ``agent_ready``) until the API answers and a leader is known.

        Raises :class:`~conformance.plugin.waits.StartFailed` when the process ends instead.
        """
        self.launch()
        self._waits.until("agent_ready", self._ready, what=f"the {self._plan.name} answers /v1/agent/self")

    def start_after(self, script: str) -> None:
        """As :meth:`start`, from a shell that runs ``script`` first; ``$$`` in it is the agent's pid to be."""
        honest = self._plan
        shell = ("/bin/sh", "-c", f'{script}\nexec "$@"', "sh")
        access = replace(honest.access, prefix=(*shell, *honest.access.prefix))
        self._plan = replace(honest, access=access)
        try:
            self.start()
        finally:
            self._plan = honest

    def launch_twin(self) -> AgentUnderTest:
        """Start the same agent a second time, by mistake: its configuration, ports and data directory."""
        twin = AgentUnderTest(
            replace(self._plan, name=f"{self._plan.name}-twin"),
            site=self._site,
            waits=self._waits,
            household=self._household,
            history=self._history,
        )
        twin.launch()
        return twin

    def exit_code(self) -> int | None:
        """The exit code (negative: signal) of the last incarnation, ``None`` while it runs."""
        assert self._running is not None, "the agent was never started"
        return self._running.exit_code()

    def answers(self) -> bool:
        """Whether the API answers ``/v1/agent/self`` now."""
        try:
            return self.api.get("/v1/agent/self").status == 200
        except Unreachable:
            return False

    def signal(self, number: Signals | int) -> None:
        """Send a signal to the agent's process, and to nothing else."""
        self._household.live()  # whoever is orphaned by this signal must be known, to be reaped
        self._record("signal", signal=Signals(number).name)
        assert self._running is not None, "the agent was never started"
        self._running.signal(Signals(number))

    def stop(self, sig: Signals = SIGTERM) -> int:
        """Send ``sig``, wait for the end (budget ``agent_exit``) and return the exit code (negative: signal)."""
        self.signal(sig)
        self._waits.until(
            "agent_exit",
            lambda: self.exit_code() is not None,
            what=f"the {self._plan.name} ends on {sig.name}",
        )
        code = self.exit_code()
        assert code is not None
        self._record("ended", exit_code=code)
        return code

    def crash(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self.stop(SIGKILL)

    def restart(self, sig: Signals = SIGTERM) -> None:
        """Stop the agent with ``sig`` if it runs, and start it with the same configuration."""
        if self.exit_code() is None:
            self.stop(sig)
        self.start()

    def configure(self, *, definitions: Sequence[Mapping[str, Any]]) -> None:
        """Replace the service definitions on disk, without telling the agent."""
        self._plan.define(definitions)

    def reload(self, *, definitions: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Replace the service definitions (``None``: leave them) and send SIGHUP. Does not wait for an effect."""
        if definitions is not None:
            self.configure(definitions=definitions)
        self.signal(SIGHUP)

    def proxy(self, proxy_id: str, *, other_than: Process | None = None) -> Process:
        """Wait (budget ``proxy_start``) for the live process of a managed proxy.

        ``other_than`` is a predecessor that does not count, for waits on a restart.
        """

        def found() -> Process | None:
            return next((process for process in self.proxies(proxy_id) if process != other_than), None)

        process = self._waits.until("proxy_start", found, what=f"a process of {proxy_id} runs")
        assert process is not None
        return process

    def proxies(self, proxy_id: str | None = None) -> list[Process]:
        """The live managed proxies of this lab now, oldest first; of one proxy when ``proxy_id`` is given.

        A proxy is a process with CONNECT_PROXY_ID in its environment. Its own children inherit that variable;
        they count only once their parent has gone.
        """
        carriers: list[tuple[Process, str, int]] = []
        for process in self._household.live():
            try:
                environment, parent = process.environment(), process.stat().ppid
            except ProcessLookupError:
                continue
            self._history.hide(environment.get("CONNECT_PROXY_TOKEN", ""))
            if "CONNECT_PROXY_ID" in environment:
                carriers.append((process, environment["CONNECT_PROXY_ID"], parent))
        pids = {process.pid for process, _, _ in carriers}
        return [
            process
            for process, identifier, parent in carriers
            if proxy_id in (None, identifier) and parent not in pids
        ]

    def services(self) -> dict[str, Any]:
        """``GET /v1/agent/services``, by service id."""
        return self._table("/v1/agent/services")

    def checks(self) -> dict[str, Any]:
        """``GET /v1/agent/checks``, by check id."""
        return self._table("/v1/agent/checks")

    def end(self) -> None:
        """SIGKILL without ceremony and collect the exit code: the end of a check."""
        if self._running is not None:
            self._running.end()

    def _table(self, path: str) -> dict[str, Any]:
        answer = self.api.get(path)
        assert answer.status == 200, f"GET {path} answered {answer.status}: {answer.text[:200]}"
        body = answer.json
        assert isinstance(body, dict), f"GET {path} answered no object: {answer.text[:200]}"
        return body

    def _ready(self) -> bool:
        code = self.exit_code()
        if code is not None:
            said = self.output()[-_QUOTED:].strip() or "nothing"
            raise StartFailed(
                f"the {self._plan.name} ended with exit code {code} instead of coming up; it said: {said}"
            )
        answer = self.api.get("/v1/agent/self")
        assert answer.status == 200, f"/v1/agent/self answered {answer.status}"
        self.version = str(answer.json.get("Config", {}).get("Version", ""))
        # Without a leader there is no catalog and no authority yet. The endpoint itself is nobody's duty.
        leader = self.api.get("/v1/status/leader")
        return leader.status != 200 or leader.json != ""

    def _record(self, what: str, **fields: Any) -> None:
        self._history.record("agent", name=self._plan.name, event=what, pid=self.pid, **fields)
