"""A target behind an adapter: an executable that starts and ends agents on the suite's behalf, in whatever way it must.

Each check has an adapter process of its own. What an adapter does wrong is never blamed on the implementation:
it raises :class:`~conformance.targets.errors.AdapterError`, and the check comes to ``error``.
"""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from conformance.requirements import Feature
from conformance.targets import protocol
from conformance.targets.errors import AdapterError, TargetError
from conformance.targets.privileges import Privileges, determine
from conformance.targets.site import Order, Running, Site, ThisMachine

A = TypeVar("A", bound=protocol.Answer)

#: How long an adapter may take for one answer (s): some start containers, none waits for agents.
ANSWER_SECONDS = 60.0
_END_SECONDS = 30.0
_CANNOT_INSTALL = "the adapter does not say that it can install the program somewhere else"
_LONGEST_LINE = 1 << 20


class Adapter:
    """One adapter process. Every method raises :class:`AdapterError` when the adapter does not do its part."""

    def __init__(self, executable: str, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._executable = executable
        self._answer_seconds = answer_seconds
        self._unread = b""
        self._child: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        try:
            self._child = subprocess.Popen(
                [self._executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise AdapterError(
                f"the adapter {self._executable} cannot be executed: {error.strerror}"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it by closing its input; one that does not end is killed, and is an error."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        try:
            self._child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            raise AdapterError(f"the adapter did not end within {_END_SECONDS:g} s of its input") from None
        finally:
            self._child.stdout.close()

    def ask(self, request: protocol.Request, answer: type[A]) -> A:
        """Send a request and return its answer, which must be of this type."""
        told = self.send(msgspec.json.encode(request))
        try:
            refusal = msgspec.json.decode(told, type=protocol.Refusal)
        except msgspec.MsgspecError:
            pass
        else:
            raise AdapterError(f"the adapter refused {_name(request)}: {refusal.error}")
        try:
            return msgspec.json.decode(told, type=answer)
        except msgspec.MsgspecError as error:
            shown = told.decode(errors="replace").strip()[:200]
            raise AdapterError(
                f"the answer of the adapter to {_name(request)} is wrong: {error}: {shown}"
            ) from error

    def send(self, line: bytes) -> bytes:
        """Send one line and return the line that answers it."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(line + b"\n")
        except OSError as error:
            raise self._ended() from error
        return self._line(time.monotonic() + self._answer_seconds)

    def exit_code(self, *, seconds: float) -> int | None:
        """How the adapter ended; ``None`` when it did not within ``seconds``."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _ended(self) -> AdapterError:
        code = self.exit_code(seconds=1.0)
        return AdapterError(f"the adapter ended without an answer, exit code {code}")

    def _line(self, deadline: float) -> bytes:
        assert self._child.stdout is not None
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._child.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AdapterError(f"the adapter did not answer within {self._answer_seconds:g} s")
            piece = self._child.stdout.read(1 << 16)
            if not piece:
                raise self._ended()
            self._unread += piece
            if len(self._unread) > _LONGEST_LINE:
                raise AdapterError("the adapter writes a line that does not end")
        line, _, self._unread = self._unread.partition(b"\n")
        return line


def _name(request: protocol.Request) -> str:
    return type(request).__name__.lower()


@dataclass(frozen=True, kw_only=True)
class AdaptedTarget:
    """What an adapter said of itself."""

    adapter: str
    name: str
    version: str
    features: frozenset[Feature]
    cannot: Mapping[str, str]
    expected: Path | None = None
    simulation: tuple[str, ...] = ()

    def command(self, flags: Sequence[str]) -> list[str]:
        """The adapter; flags travel in its requests."""
        return [self.adapter, *flags]

    def privileges(self, user: str | None) -> Privileges:
        """The ways of this machine; whether they lead to the implementation is the adapter's affair."""
        return determine(user, ("true",))

    def run(self, folder: Path) -> AbstractContextManager[None]:
        """Each check has an adapter of its own: nothing is left for the end."""
        return nullcontext()

    def site(self, workspace: Path) -> AbstractContextManager[Site]:
        """An adapter of its own."""
        return _AdapterSite(self.adapter)


def adapted(executable: str) -> AdaptedTarget:
    """The target behind an adapter. Raises :class:`TargetError` when it does not introduce itself."""
    try:
        with Adapter(executable) as adapter:
            told = adapter.ask(protocol.Hello(), protocol.Adapted)
        features = frozenset(Feature(name) for name in told.features)
    except (AdapterError, ValueError) as error:
        raise TargetError(f"--adapter {executable}: {error}; proxyproof smoke judges adapters") from error
    return AdaptedTarget(
        adapter=executable,
        name=told.name,
        version=told.version,
        features=features,
        cannot=told.cannot if told.installs else {"install": _CANNOT_INSTALL, **told.cannot},
    )


class _AdapterSite(Adapter, ThisMachine):
    def start(self, order: Order) -> Running:
        started = self.ask(
            protocol.Start(
                agent=order.name,
                flags=list(order.flags),
                prefix=list(order.prefix),
                environment=dict(order.environment),
                directory=str(order.directory),
                output=str(order.output),
            ),
            protocol.Started,
        )
        return _AdaptedAgent(self, order.name, started.pid)

    def install(self, place: str) -> None:
        self.ask(protocol.Install(place=place), protocol.Answer)


class _AdaptedAgent:
    def __init__(self, adapter: Adapter, name: str, pid: int) -> None:
        self._adapter = adapter
        self._name = name
        self.pid = pid

    def exit_code(self) -> int | None:
        return self._adapter.ask(protocol.Status(agent=self._name), protocol.State).exit_code

    def signal(self, number: Signals) -> None:
        requests: Mapping[Signals, protocol.Request] = {
            SIGTERM: protocol.Stop(agent=self._name, signal="TERM"),
            SIGINT: protocol.Stop(agent=self._name, signal="INT"),
            SIGKILL: protocol.Crash(agent=self._name),
            SIGHUP: protocol.Reload(agent=self._name),
        }
        if number not in requests:
            raise AdapterError(f"the adapter protocol has no request for {number.name}")
        self._adapter.ask(requests[number], protocol.Answer)

    def end(self) -> None:
        if self.exit_code() is None:
            self.signal(SIGKILL)
