"""The world on a real machine: processes held by pidfd, files replaced atomically, the loop's clock.

Layout under the data directory (MP-SNAP-001, MP-SNAP-010, MP-LOG-001): ``proxy/snapshot.json``,
``proxy/pids/<proxy id>.pid``, ``proxy/logs/<proxy id>-stdout.log`` and ``-stderr.log``. Without a data directory
nothing is written, and proxies are tied to the agent's life by the kernel.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO
from urllib.parse import quote

from reference.supervisor import events as ev
from reference.supervisor import linux, snapshot
from reference.supervisor.fingerprint import VOLATILE, fingerprint
from reference.supervisor.spec import Process, ProxySpec
from reference.supervisor.world import Post

_log = logging.getLogger("agent/proxy")

_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700
_PR_SET_PDEATHSIG = 1
#: In the environment of each proxy: the id of the agent that it belongs to, whatever becomes of the agent's files.
_AGENT_VARIABLE = "CONNECT_PROXY_AGENT_ID"


@dataclass(frozen=True)
class _Watched:
    """A live process; ``child`` is ``None`` when an earlier agent started it."""

    process: Process
    descriptor: int
    child: subprocess.Popen[bytes] | None


class RealWorld:
    """Carries out commands on this machine. Lives in the thread of its event loop."""

    def __init__(
        self, *, data_dir: Path | None, agent_id: str, post: Post, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._root = None if data_dir is None else data_dir / "proxy"
        self._agent_id = agent_id
        self._post = post
        self._loop = loop
        self._boot = linux.boot_id()
        self._watched: dict[str, _Watched] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._actions: dict[type[ev.Command], Callable[[ev.Command], None]] = {
            ev.Seek: self._seek,
            ev.Spawn: self._spawn,
            ev.Signal: self._signal,
            ev.SetTimer: self._set_timer,
            ev.CancelTimer: self._cancel_timer,
            ev.WritePidFile: self._write_pid_file,
            ev.RemovePidFile: self._remove_pid_file,
            ev.Persist: self._persist,
        }

    def now(self) -> float:
        # The system's clock since boot, which the next agent shares; a loop's own clock may begin anywhere.
        return time.monotonic()

    def execute(self, command: ev.Command) -> None:
        self._actions[type(command)](command)

    def detach(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for watched in self._watched.values():
            self._loop.remove_reader(watched.descriptor)
            os.close(watched.descriptor)
            if watched.child is not None:
                # It goes on without us: tell Popen so, or it would complain of a running child.
                watched.child.returncode = 0
        self._watched.clear()

    # --- what was before ---------------------------------------------------------------------------------

    def remember(self) -> tuple[ev.Memory, ...]:
        """Read the snapshot, and look for living proxies of ours that it does not know.

        They are what was started in the moment before a crash, or while the disk was full, or whose snapshot is
        lost. Their environment names the agent that started them.
        """
        if self._root is None:
            return ()
        memories = {memory.proxy_id: memory for memory in self._read_snapshot(self._root / "snapshot.json")}
        for proxy_id, process in self._find_ours():
            memory = memories.get(proxy_id)
            if memory is None or memory.process is None or not self._lives(memory.process):
                starts = memory.starts if memory else 1
                memories[proxy_id] = ev.Memory(
                    proxy_id=proxy_id, process=process, fingerprint="", starts=starts
                )
        return tuple(memories.values())

    def _read_snapshot(self, path: Path) -> tuple[ev.Memory, ...]:
        try:
            found = snapshot.decode(_read_regular(path))
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError, snapshot.SnapshotError) as error:
            aside = path.with_suffix(".json.unusable")
            _log.warning("cannot use %s: %s; kept as %s", path, error, aside.name)
            with suppress(OSError):
                path.replace(aside)
            return ()
        # After a reboot none of those processes can exist, and their crashes are forgiven.
        return found.memories if found.boot_id == self._boot else ()

    def _find_ours(self) -> Iterator[tuple[str, Process]]:
        for pid in linux.pids():
            environment = linux.environment(pid)
            if not environment or environment.get(_AGENT_VARIABLE) != self._agent_id:
                continue
            process, found = linux.identify(pid, self._boot), linux.stat(pid)
            # A proxy leads its session; its children carry the same environment and do not.
            if process is not None and found is not None and found.session == pid:
                yield environment.get("CONNECT_PROXY_ID", ""), process

    def _lives(self, process: Process) -> bool:
        return linux.identify(process.pid, self._boot) == process

    def _seek(self, command: ev.Command) -> None:
        assert isinstance(command, ev.Seek)
        spec, memory = command.spec, command.memory
        process = memory.process if memory else None
        if process is None or memory is None or not self._watch(command.proxy_id, process):
            self._post(ev.Sought(proxy_id=command.proxy_id, process=None, current=False))
            return
        if spec is None:
            current = False
        elif memory.fingerprint:
            current = fingerprint(spec) == memory.fingerprint
        else:
            current = _runs(process.pid, spec)
        self._post(ev.Sought(proxy_id=command.proxy_id, process=process, current=current))

    # --- processes ---------------------------------------------------------------------------------------

    def _spawn(self, command: ev.Command) -> None:
        assert isinstance(command, ev.Spawn)
        spec = command.spec
        program = spec.command[0]
        environment = dict(spec.environment)
        environment |= {
            "CONNECT_PROXY_ID": spec.proxy_id,
            "CONNECT_PROXY_TOKEN": spec.token,
            _AGENT_VARIABLE: self._agent_id,
        }
        output: tuple[IO[bytes], ...] = ()
        try:
            output = self._open_logs(spec.proxy_id)
            stdout, stderr = output or (subprocess.DEVNULL, subprocess.DEVNULL)
            child = subprocess.Popen(
                spec.command,
                # No search of PATH: a bare name means a file in the working directory, as for execve(2).
                executable=program if "/" in program else f"./{program}",
                env=environment,
                cwd=spec.directory or None,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=partial(_die_with, os.getpid()) if self._root is None else None,
            )
        except (OSError, ValueError) as error:
            detail = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
            self._post(ev.StartFailed(proxy_id=spec.proxy_id, reason=f"cannot execute {program}: {detail}"))
            return
        finally:
            for file in output:
                file.close()
        process = linux.identify(child.pid, self._boot)
        if process is None or not self._watch(spec.proxy_id, process, child):
            # It is a zombie already, so its pid is still its own and the pidfd will be readable at once.
            found = linux.stat(child.pid)
            start_time = found.start_time if found else 0
            process = Process(pid=child.pid, start_time=start_time, boot_id=self._boot)
            self._hold(spec.proxy_id, _Watched(process, os.pidfd_open(child.pid), child))
        self._post(ev.Started(proxy_id=spec.proxy_id, process=process))

    def _watch(self, proxy_id: str, process: Process, child: subprocess.Popen[bytes] | None = None) -> bool:
        descriptor = linux.open_process(process)
        if descriptor is None:
            return False
        self._hold(proxy_id, _Watched(process, descriptor, child))
        return True

    def _hold(self, proxy_id: str, watched: _Watched) -> None:
        self._watched[proxy_id] = watched
        self._loop.add_reader(watched.descriptor, self._gone, proxy_id)

    def _gone(self, proxy_id: str) -> None:
        watched = self._watched.pop(proxy_id)
        self._loop.remove_reader(watched.descriptor)
        if watched.child is None:
            os.close(watched.descriptor)
            linux.kill_remnants(watched.process)
            reason = f"process {watched.process.pid} is gone"
        else:
            # The leader is a zombie until it is waited for, so its group's number is still its own.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(watched.process.pid, signal.SIGKILL)
            reason = _describe(watched.child.wait())
            os.close(watched.descriptor)
        self._post(ev.Exited(proxy_id=proxy_id, process=watched.process, reason=reason))

    def _signal(self, command: ev.Command) -> None:
        assert isinstance(command, ev.Signal)
        watched = self._watched.get(command.proxy_id)
        if watched is None or watched.process != command.process:
            return
        try:
            linux.signal_group(watched.descriptor, watched.process.pid, signal.Signals[command.signal])
        except PermissionError:
            _log.error(
                "may not send %s to %s (process %d)", command.signal, command.proxy_id, command.process.pid
            )

    # --- time --------------------------------------------------------------------------------------------

    def _set_timer(self, command: ev.Command) -> None:
        assert isinstance(command, ev.SetTimer)
        self._drop_timer(command.proxy_id)
        self._timers[command.proxy_id] = self._loop.call_later(
            command.seconds, self._fire, ev.TimerFired(proxy_id=command.proxy_id, timer=command.timer)
        )

    def _fire(self, event: ev.TimerFired) -> None:
        del self._timers[event.proxy_id]
        self._post(event)

    def _cancel_timer(self, command: ev.Command) -> None:
        assert isinstance(command, ev.CancelTimer)
        self._drop_timer(command.proxy_id)

    def _drop_timer(self, proxy_id: str) -> None:
        timer = self._timers.pop(proxy_id, None)
        if timer is not None:
            timer.cancel()

    # --- files -------------------------------------------------------------------------------------------

    def _open_logs(self, proxy_id: str) -> tuple[IO[bytes], ...]:
        """Both log files, open for appending; none without a data directory (document, Managed Proxy Logs)."""
        if self._root is None:
            return ()
        folder = _directory(self._root / "logs")
        paths = [folder / f"{_file_name(proxy_id)}-{stream}.log" for stream in ("stdout", "stderr")]
        return tuple(open(path, "ab", buffering=0, opener=_open_private) for path in paths)

    def _write_pid_file(self, command: ev.Command) -> None:
        assert isinstance(command, ev.WritePidFile)
        if self._root is not None:
            self._replace(self._pid_path(self._root, command.proxy_id), str(command.pid))

    def _remove_pid_file(self, command: ev.Command) -> None:
        assert isinstance(command, ev.RemovePidFile)
        if self._root is not None:
            with suppress(OSError):
                self._pid_path(self._root, command.proxy_id).unlink()

    @staticmethod
    def _pid_path(root: Path, proxy_id: str) -> Path:
        return root / "pids" / f"{_file_name(proxy_id)}.pid"

    def _persist(self, command: ev.Command) -> None:
        assert isinstance(command, ev.Persist)
        if self._root is not None:
            self._replace(
                self._root / "snapshot.json",
                snapshot.encode(snapshot.Snapshot(boot_id=self._boot, memories=command.memories)),
            )

    def _replace(self, path: Path, text: str) -> None:
        """Write a file so that a crash leaves the old text or the new one, never half of either."""
        temporary = path.with_name(f".{path.name}.new")
        try:
            _directory(path.parent)
            with open(temporary, "w", opener=_open_private_new) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            _log.error("cannot write %s: %s; running proxies are not affected", path, error.strerror)


def _runs(pid: int, spec: ProxySpec) -> bool:
    """Whether a process was started from this spec, as far as the kernel remembers.

    A script's command line begins with its interpreter, so the command is looked for at the end.
    """
    actual = linux.arguments(pid)
    program, *rest = spec.command
    tail = actual[len(actual) - len(rest) :] if rest else ()
    environment = linux.environment(pid) or {}
    wanted = {name: value for name, value in spec.environment if name not in VOLATILE}
    wanted["CONNECT_PROXY_TOKEN"] = spec.token
    return program in actual and tail == tuple(rest) and wanted.items() <= environment.items()


def _describe(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exited with code {code}"


def _die_with(agent: int) -> None:
    """In the child, before exec: have the kernel kill it when the agent dies, however the agent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != agent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def _file_name(proxy_id: str) -> str:
    """The id as a file name: itself, unless it holds a slash, a dot alone or the like."""
    return (
        quote(proxy_id, safe=" !#$&'()+,;=@[]{}~^")
        if proxy_id.strip(".")
        else quote(proxy_id).replace(".", "%2E")
    )


def _directory(path: Path) -> Path:
    path.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    return path


def _read_regular(path: Path) -> str:
    """Read a file, but not through a symbolic link: somebody else may have chosen where it points."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, _PRIVATE_FILE)


def _open_private_new(path: str, flags: int) -> int:
    with suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, flags | os.O_EXCL, _PRIVATE_FILE)
