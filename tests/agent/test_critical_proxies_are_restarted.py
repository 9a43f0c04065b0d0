"""A proxy whose check stays critical is restarted, where that is asked for, and each process has its time."""

from __future__ import annotations

from dataclasses import dataclass, field

from reference.agent.operations import CriticalRestarts
from reference.catalog.model import Check, Status
from reference.supervisor.spec import Process, ProxyState, ProxyStatus, Tally


@dataclass
class Machine:
    """A supervisor and the checks of its one proxy."""

    status_: Status = Status.CRITICAL
    state: ProxyState = ProxyState.RUNNING
    since: float = 0.0
    restarted: list[str] = field(default_factory=list)

    def status(self) -> dict[str, ProxyStatus]:
        process = Process(pid=1 + len(self.restarted), start_time=1, boot_id="boot")
        return {
            "web-proxy": ProxyStatus(
                proxy_id="web-proxy", state=self.state, process=process, since=self.since
            )
        }

    def tally(self) -> Tally:
        return Tally()

    def restart(self, proxy_id: str, *, reason: str) -> bool:
        self.restarted.append(reason)
        return True

    def hold(self, proxy_id: str, *, reason: str) -> bool:
        raise AssertionError

    def of_proxy(self, proxy_id: str) -> Check:
        return Check(id="c", name="c", status=self.status_, service_id=proxy_id)


def impatience(machine: Machine) -> CriticalRestarts:
    return CriticalRestarts(machine, machine, after=30.0)  # type: ignore[arg-type]


def test_it_is_restarted_once_its_time_is_over() -> None:
    machine = Machine()
    watching = impatience(machine)
    for now in (100.0, 115.0, 129.9):
        watching.look(now)
    assert machine.restarted == []
    watching.look(130.0)
    assert machine.restarted == ["its check has been critical for 30s"]


def test_a_passing_check_in_between_starts_the_time_anew() -> None:
    machine = Machine()
    watching = impatience(machine)
    watching.look(100.0)
    machine.status_ = Status.PASSING
    watching.look(120.0)
    machine.status_ = Status.CRITICAL
    watching.look(121.0)
    watching.look(150.0)
    assert machine.restarted == []
    watching.look(151.0)
    assert len(machine.restarted) == 1


def test_a_new_process_has_the_whole_time() -> None:
    machine = Machine()
    watching = impatience(machine)
    watching.look(100.0)
    machine.since = 120.0
    watching.look(149.0)
    assert machine.restarted == []
    watching.look(150.0)
    assert len(machine.restarted) == 1


def test_one_that_waits_for_its_next_start_is_left_to_its_back_off() -> None:
    machine = Machine(state=ProxyState.BACKOFF)
    watching = impatience(machine)
    watching.look(100.0)
    watching.look(1000.0)
    assert machine.restarted == []
