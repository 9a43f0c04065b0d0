"""The processes of one lab: how they are told from all others, and how they are ended.

The agent is started with ``PROXYPROOF_LAB=<id>`` in its environment and its proxies inherit that. An implementation
may break this chain, so every descendant of the suite's own process counts too: the suite is the reaper of
orphans (:func:`conformance.instruments.processes.adopt_orphans`), hence nothing that a check starts gets away.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from signal import SIGKILL, Signals

from conformance.instruments import processes
from conformance.instruments.history import History
from conformance.instruments.processes import Process
from conformance.instruments.reaper import Reaper

VARIABLE = "PROXYPROOF_LAB"
_POLL_SECONDS = 0.02


class LeftBehind(Exception):
    """Something of a check could not be removed; the suite is at fault, or the machine."""


class Household:
    """The processes of the lab ``identifier``. What was there before the lab began is not touched."""

    def __init__(self, identifier: str, history: History) -> None:
        self._identifier = identifier
        self._history = history
        self._strangers = frozenset(processes.descendants(os.getpid()))
        self._seen: set[Process] = set()
        self._reaper = Reaper()

    def take_in(self, process: Process) -> None:
        """Know an agent that the suite has started itself, and whose exit code it wants."""
        self._seen.add(process)

    def live(self) -> list[Process]:
        """The processes of the lab that run now, oldest first. Changes since the last look go to the history."""
        now = processes.carrying(VARIABLE, self._identifier)
        for process in now:
            if process not in self._seen:
                self._seen.add(process)
                if processes.own_orphans():
                    self._reaper.watch(process)
                self._note("process appeared", process)
        return now

    def signal(self, number: Signals) -> None:
        """Send a signal to every process of the lab, agents first: they are the oldest."""
        for process in self.live():
            with suppress(ProcessLookupError):
                process.signal(number)

    def end_all(self, *, within: float) -> None:
        """SIGKILL every process of the lab until none is left, and reap them; agents were collected before.

        Raises :class:`LeftBehind` after ``within`` seconds.
        """
        self._reaper.close()
        deadline = time.monotonic() + within
        while remaining := self._remaining():
            for process in remaining:
                with suppress(ProcessLookupError):
                    process.signal(SIGKILL)
            if time.monotonic() > deadline:
                pids = ", ".join(str(process.pid) for process in remaining)
                raise LeftBehind(f"processes {pids} outlived SIGKILL for {within:g} s")
            time.sleep(_POLL_SECONDS)
        if processes.own_orphans():
            for orphan in processes.descendants(os.getpid()):
                if orphan not in self._strangers:
                    processes.reap(orphan)

    def _remaining(self) -> list[Process]:
        """What is alive of the lab, by environment, and by descent where nobody else is there for orphans."""
        by_environment = processes.carrying(VARIABLE, self._identifier)
        if not processes.own_orphans():
            return by_environment
        by_descent = (
            process
            for process in processes.descendants(os.getpid())
            if process not in self._strangers and process.alive()
        )
        return list({*by_environment, *by_descent})

    def _note(self, kind: str, process: Process) -> None:
        with suppress(ProcessLookupError):
            self._history.record(
                kind,
                pid=process.pid,
                started=process.started,
                argv=process.argv(),
                proxy=process.environment().get("CONNECT_PROXY_ID"),
            )


def end_run(prefix: str) -> list[Process]:
    """SIGKILL every process of every lab whose id begins with ``prefix``; for a run that was cut short."""
    wanted = os.fsencode(f"{VARIABLE}={prefix}")
    found = [process for process in processes.table() if _carries(process, wanted) and process.alive()]
    for process in found:
        with suppress(ProcessLookupError):
            process.signal(SIGKILL)
    return found


def _carries(process: Process, wanted: bytes) -> bool:
    return any(item.startswith(wanted) for item in processes.raw_environment(process.pid).split(b"\0"))
