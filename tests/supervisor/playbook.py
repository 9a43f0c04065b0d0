"""A script for the core: ``play >> event << commands``, so that a test reads as what came in and what went out."""

from __future__ import annotations

from collections.abc import Sequence

from reference.supervisor import events as ev
from reference.supervisor.core import Supervisor
from reference.supervisor.fingerprint import fingerprint
from reference.supervisor.spec import Process, ProxySpec, ProxyState, ProxyStatus


def spec(
    proxy_id: str = "web-proxy", *, token: str = "t0", command: Sequence[str] = ("/bin/proxy",)
) -> ProxySpec:
    return ProxySpec(proxy_id=proxy_id, token=token, command=tuple(command))


def process(pid: int = 100) -> Process:
    return Process(pid=pid, start_time=pid * 10, boot_id="boot")


def memory(of: ProxySpec, pid: int | None = 100, *, starts: int = 1) -> ev.Memory:
    return ev.Memory(
        proxy_id=of.proxy_id,
        process=None if pid is None else process(pid),
        fingerprint=fingerprint(of),
        starts=starts,
    )


class Playbook:
    """Feeds a core and compares what it orders; snapshots and reports are kept apart from the other commands.

    ``reports`` are those of the last event. Who only listens to them must know what one who asks would be told.
    """

    def __init__(self, **core: object) -> None:
        self.core = Supervisor(**core)  # type: ignore[arg-type]
        self.now = 0.0
        self.snapshot: tuple[ev.Memory, ...] = ()
        self.reports: list[ProxyStatus | None] = []
        self._told: dict[str, ProxyStatus | None] = {}
        self._pending: list[ev.Command] = []

    def wait(self, seconds: float) -> Playbook:
        self.now += seconds
        return self

    def __rshift__(self, event: ev.Event) -> Playbook:
        assert not self._pending, f"nobody expected {self._pending}"
        commands = list(self.core.handle(event, now=self.now))
        for command in commands:
            if isinstance(command, ev.Persist):
                assert commands.index(command) == 0, "the snapshot comes before what it makes safe"
                self.snapshot = command.memories
        reports = [command for command in commands if isinstance(command, ev.Report)]
        self.reports = [report.status for report in reports]
        self._told |= {report.proxy_id: report.status for report in reports}
        for proxy_id in {*self._told, *self.core.status()}:
            status = self.core.status().get(proxy_id)
            if status is None or status.state is not ProxyState.ADOPTING:
                assert self._told[proxy_id] == status
        self._pending = [c for c in commands if not isinstance(c, ev.Persist | ev.Report)]
        return self

    def __lshift__(self, expected: ev.Command) -> Playbook:
        assert self._pending, f"expected {expected}, but nothing more was ordered"
        assert self._pending.pop(0) == expected
        return self

    def end(self) -> Playbook:
        assert not self._pending, f"nobody expected {self._pending}"
        return self

    def status(self, proxy_id: str = "web-proxy") -> ProxyStatus:
        return self.core.status()[proxy_id]

    def state(self, proxy_id: str = "web-proxy") -> ProxyState | None:
        status = self.core.status().get(proxy_id)
        return None if status is None else status.state


def running(play: Playbook, wanted: ProxySpec, pid: int = 100) -> Playbook:
    """Bring a proxy up from nothing."""
    play >> ev.Defined(spec=wanted) << ev.Seek(proxy_id=wanted.proxy_id, spec=wanted, memory=None)
    play >> ev.Sought(proxy_id=wanted.proxy_id, process=None, current=False) << ev.Spawn(spec=wanted)
    play >> ev.Started(proxy_id=wanted.proxy_id, process=process(pid))
    return play << ev.WritePidFile(proxy_id=wanted.proxy_id, pid=pid)
