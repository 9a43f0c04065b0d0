"""The world as it really is: processes held by pidfd, files replaced atomically, timers that count from boot.

Whatever touches the machine goes through a :class:`~reference.supervisor.kernel.Kernel`, call by call; so this very
code is also what the simulator runs, kills in the middle, and runs again.

Layout under the data directory (MP-SNAP-001, MP-SNAP-010, MP-LOG-001): ``proxy/snapshot.json``,
``proxy/pids/<proxy id>.pid``, ``proxy/logs/<proxy id>-stdout.log`` and ``-stderr.log``. Without a data directory
nothing is written, and proxies are tied to the agent's life by the kernel.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from reference.files import write_atomically
from reference.supervisor import events as ev
from reference.supervisor import processes, snapshot
from reference.supervisor.fingerprint import VOLATILE, fingerprint
from reference.supervisor.kernel import Alarm, Child, Kernel, Launch
from reference.supervisor.logs import file_name, log_paths
from reference.supervisor.spec import Process, ProxySpec
from reference.supervisor.world import Post

_log = logging.getLogger("agent/proxy")

#: In the environment of each proxy: the id of the agent that it belongs to, whatever becomes of the agent's files.
_AGENT_VARIABLE = "CONNECT_PROXY_AGENT_ID"
#: In the environment of each proxy that runs the agent's own program: the release that started it.
_RELEASE_VARIABLE = "CONNECT_PROXY_AGENT_VERSION"
#: After how long a file is tried again that could not be written, on a full disk for instance (s).
_REWRITE_SECONDS = 10.0

#: From where the agent's program was when a proxy was defined to where it is.
Locate = Callable[[tuple[str, ...]], tuple[str, ...]]


class _Watched(msgspec.Struct, frozen=True):
    """A live process; ``child`` is ``None`` when an earlier agent started it."""

    process: Process
    descriptor: int
    child: Child | None


class RealWorld:
    """Carries out commands through a kernel; ``data_dir`` is ``None`` where nothing may be written.

    ``variables`` are in the environment of each proxy, whatever its spec says, and are no reason to replace one.
    ``locate`` tells where a spec's launcher is by now, ``release`` which one the agent's own program is.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        data_dir: Path | None,
        agent_id: str,
        post: Post,
        variables: Mapping[str, str] | None = None,
        locate: Locate = lambda launcher: launcher,
        release: str = "",
    ) -> None:
        self._release = release
        self._kernel = kernel
        self._data_dir = data_dir
        self._root = None if data_dir is None else data_dir / "proxy"
        self._variables = dict(variables or {})
        self._locate = locate
        self._agent_id = agent_id
        self._post = post
        self._boot = kernel.boot_id()
        self._watched: dict[str, _Watched] = {}
        self._timers: dict[str, Alarm] = {}
        self._unwritten: dict[Path, str] = {}
        self._rewrite: Alarm | None = None
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
        return self._kernel.now()

    def execute(self, command: ev.Command) -> None:
        self._actions[type(command)](command)

    def detach(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._rewrite is not None:
            self._rewrite.cancel()
        for watched in self._watched.values():
            self._kernel.forget_exit(watched.descriptor)
            self._kernel.close_pidfd(watched.descriptor)
            if watched.child is not None:
                watched.child.abandon()
        self._watched.clear()

    # --- what was before ---------------------------------------------------------------------------------

    def remember(self) -> tuple[ev.Memory, ...]:
        """Read the snapshot, and look for living proxies of ours that it does not know.

        They are what was started in the moment before a crash, or while the disk was full, or whose snapshot is
        lost. Their environment names the agent that started them.
        """
        if self._root is None:
            return ()
        memories = {
            memory.proxy_id: self._believed(memory)
            for memory in self._read_snapshot(self._root / "snapshot.json")
        }
        for proxy_id, process in self._find_ours():
            memory = memories.get(proxy_id)
            if memory is None or memory.process is None or not self._lives(memory.process):
                starts = memory.starts if memory else 1
                memories[proxy_id] = ev.Memory(
                    proxy_id=proxy_id, process=process, fingerprint="", starts=starts
                )
        self._sweep_pid_files(self._root, memories)
        return tuple(memories.values())

    def _sweep_pid_files(self, root: Path, memories: Mapping[str, ev.Memory]) -> None:
        """Remove those of proxies that nobody will stop any more: of before a reboot, or of a lost snapshot.

        Whoever reads one would take some stranger for a proxy.
        """
        keep = {self._pid_path(root, proxy_id) for proxy_id in memories}
        with suppress(OSError):
            for path in self._kernel.files.entries(root / "pids"):
                if path not in keep:
                    self._kernel.files.unlink(path)

    def _read_snapshot(self, path: Path) -> tuple[ev.Memory, ...]:
        try:
            found = snapshot.decode(self._kernel.files.read(path).decode())
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError, snapshot.SnapshotError) as error:
            aside = path.with_suffix(".json.unusable")
            _log.warning("cannot use %s: %s; kept as %s", path, error, aside.name)
            with suppress(OSError):
                self._kernel.files.replace(path, aside)
            return ()
        # After a reboot none of those processes can exist, and their crashes are forgiven.
        return found.memories if found.boot_id == self._boot else ()

    def _believed(self, memory: ev.Memory) -> ev.Memory:
        """What a snapshot says of a proxy, without a process that cannot be the proxy although it is there.

        Somebody may have edited it. A proxy leads its session all its life, its environment names it unless the
        command has cleared that, and another user's process is none of ours. The agent's id does not count: it may
        be another one by now, and the snapshot is still its own.
        """
        process = memory.process
        if process is None or not self._lives(process):
            return memory
        found = self._kernel.stat(process.pid)
        environment = self._kernel.environment(process.pid) or {}
        named = environment.get("CONNECT_PROXY_ID", memory.proxy_id) == memory.proxy_id
        leads = found is not None and found.session == process.pid
        if leads and named and processes.may_signal(self._kernel, process):
            return memory
        _log.warning(
            "%s: the snapshot names process %d, which is no proxy of this agent; it is left alone",
            memory.proxy_id,
            process.pid,
        )
        return replace(memory, process=None)

    def _find_ours(self) -> Iterator[tuple[str, Process]]:
        for pid in self._kernel.pids():
            environment = self._kernel.environment(pid)
            if not environment or environment.get(_AGENT_VARIABLE) != self._agent_id:
                continue
            process, found = self._identify(pid), self._kernel.stat(pid)
            if process is None or found is None:
                continue
            # A proxy leads its session; its children carry the same environment and do not.
            if found.session == pid:
                yield environment.get("CONNECT_PROXY_ID", ""), process
            elif self._identify(found.session) is None:
                processes.kill(self._kernel, process)

    def _lives(self, process: Process) -> bool:
        return self._identify(process.pid) == process

    def _identify(self, pid: int) -> Process | None:
        return processes.identify(self._kernel, pid, self._boot)

    def _seek(self, command: ev.Command) -> None:
        assert isinstance(command, ev.Seek)
        spec, memory = command.spec, command.memory
        process = memory.process if memory else None
        if process is None or memory is None or not self._watch(command.proxy_id, process):
            if process is not None:
                # It ended while no agent was there: what it has left behind may still hold its port.
                processes.kill_remnants(self._kernel, process)
            self._post(ev.Sought(proxy_id=command.proxy_id, process=None, current=False))
            return
        if spec is None:
            current = False
        elif memory.fingerprint:
            current = fingerprint(spec) == memory.fingerprint
        else:
            current = _runs(self._kernel, process.pid, spec)
        outdated = (
            current and spec is not None and bool(spec.launcher) and self._is_outdated(spec, process.pid)
        )
        self._post(ev.Sought(proxy_id=command.proxy_id, process=process, current=current, outdated=outdated))

    def _is_outdated(self, spec: ProxySpec, pid: int) -> bool:
        """Whether a process runs another release of the agent's own program; such a one goes on until a restart."""
        found = (self._kernel.environment(pid) or {}).get(_RELEASE_VARIABLE, "")
        if found == self._release:
            return False
        _log.warning(
            "%s: process %d was started by release %s, this is %s; it runs the old program until it is restarted",
            spec.proxy_id,
            pid,
            found or "unknown",
            self._release,
        )
        return True

    # --- processes ---------------------------------------------------------------------------------------

    def _spawn(self, command: ev.Command) -> None:
        assert isinstance(command, ev.Spawn)
        spec = command.spec
        # Only now: the agent's program may have been moved since the proxy was defined.
        arguments = (*self._locate(spec.launcher), *spec.command) if spec.launcher else spec.command
        program = arguments[0]
        environment = dict(spec.environment) | self._variables
        environment |= {
            "CONNECT_PROXY_ID": spec.proxy_id,
            "CONNECT_PROXY_TOKEN": spec.token,
            _AGENT_VARIABLE: self._agent_id,
        }
        if spec.launcher:
            environment[_RELEASE_VARIABLE] = self._release
        output: tuple[int, int] | None = None
        try:
            output = self._open_logs(spec.proxy_id)
            child = self._kernel.launch(
                Launch(
                    arguments=arguments,
                    # No search of PATH: a bare name means a file in the working directory, as for execve(2).
                    executable=program if "/" in program else f"./{program}",
                    environment=environment,
                    directory=spec.directory or None,
                    output=output,
                    dies_with_parent=self._root is None,
                )
            )
        except (OSError, ValueError) as error:
            detail = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
            self._post(ev.StartFailed(proxy_id=spec.proxy_id, reason=f"cannot execute {program}: {detail}"))
            return
        finally:
            for descriptor in output or ():
                self._kernel.files.close(descriptor)
        process = self._identify(child.pid)
        if process is None or not self._watch(spec.proxy_id, process, child):
            # It is a zombie already, so its pid is still its own and the pidfd will be readable at once.
            found = self._kernel.stat(child.pid)
            start_time = found.start_time if found else 0
            process = Process(pid=child.pid, start_time=start_time, boot_id=self._boot)
            self._hold(spec.proxy_id, _Watched(process, self._kernel.open_pidfd(child.pid), child))
        self._post(ev.Started(proxy_id=spec.proxy_id, process=process))

    def _watch(self, proxy_id: str, process: Process, child: Child | None = None) -> bool:
        descriptor = processes.hold(self._kernel, process)
        if descriptor is None:
            return False
        self._hold(proxy_id, _Watched(process, descriptor, child))
        return True

    def _hold(self, proxy_id: str, watched: _Watched) -> None:
        self._watched[proxy_id] = watched
        self._kernel.on_exit(watched.descriptor, partial(self._gone, proxy_id))

    def _gone(self, proxy_id: str) -> None:
        watched = self._watched.pop(proxy_id)
        self._kernel.forget_exit(watched.descriptor)
        if watched.child is None:
            self._kernel.close_pidfd(watched.descriptor)
            processes.kill_remnants(self._kernel, watched.process)
            reason = f"process {watched.process.pid} is gone"
        else:
            # The leader is a zombie until it is waited for, so its group's number is still its own.
            with suppress(ProcessLookupError, PermissionError):
                self._kernel.kill_group(watched.process.pid, signal.SIGKILL)
            reason = _describe(watched.child.wait())
            self._kernel.close_pidfd(watched.descriptor)
        self._post(ev.Exited(proxy_id=proxy_id, process=watched.process, reason=reason))

    def _signal(self, command: ev.Command) -> None:
        assert isinstance(command, ev.Signal)
        watched = self._watched.get(command.proxy_id)
        if watched is None or watched.process != command.process:
            return
        try:
            processes.signal_group(
                self._kernel, watched.descriptor, watched.process.pid, signal.Signals[command.signal]
            )
        except PermissionError:
            _log.error(
                "may not send %s to %s (process %d)", command.signal, command.proxy_id, command.process.pid
            )

    # --- time --------------------------------------------------------------------------------------------

    def _set_timer(self, command: ev.Command) -> None:
        assert isinstance(command, ev.SetTimer)
        self._drop_timer(command.proxy_id)
        fired = ev.TimerFired(proxy_id=command.proxy_id, timer=command.timer)
        self._timers[command.proxy_id] = self._kernel.call_later(command.seconds, partial(self._fire, fired))

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

    def _open_logs(self, proxy_id: str) -> tuple[int, int] | None:
        """Both log files, open for appending; none without a data directory (document, Managed Proxy Logs)."""
        if self._data_dir is None:
            return None
        files = self._kernel.files
        stdout_path, stderr_path = log_paths(self._data_dir, proxy_id)
        files.make_directory(stdout_path.parent)
        stdout = files.append(stdout_path)
        try:
            return stdout, files.append(stderr_path)
        except OSError:
            files.close(stdout)
            raise

    def _write_pid_file(self, command: ev.Command) -> None:
        assert isinstance(command, ev.WritePidFile)
        if self._root is not None:
            self._replace(self._pid_path(self._root, command.proxy_id), str(command.pid))

    def _remove_pid_file(self, command: ev.Command) -> None:
        assert isinstance(command, ev.RemovePidFile)
        if self._root is not None:
            path = self._pid_path(self._root, command.proxy_id)
            self._unwritten.pop(path, None)
            with suppress(OSError):
                self._kernel.files.unlink(path)

    @staticmethod
    def _pid_path(root: Path, proxy_id: str) -> Path:
        return root / "pids" / f"{file_name(proxy_id)}.pid"

    def _persist(self, command: ev.Command) -> None:
        assert isinstance(command, ev.Persist)
        if self._root is not None:
            self._replace(
                self._root / "snapshot.json",
                snapshot.encode(snapshot.Snapshot(boot_id=self._boot, memories=command.memories)),
            )

    def _replace(self, path: Path, text: str) -> None:
        """Write a file so that a crash leaves the old text or the new one, never half of either.

        What cannot be written now is tried again until it can, or until something newer takes its place.
        """
        files = self._kernel.files
        self._unwritten.pop(path, None)
        try:
            files.make_directory(path.parent)
            write_atomically(files, path, text.encode())
        except OSError as error:
            _log.error("cannot write %s: %s; running proxies are not affected", path, error.strerror)
            self._unwritten[path] = text
            if self._rewrite is None:
                self._rewrite = self._kernel.call_later(_REWRITE_SECONDS, self._write_again)

    def _write_again(self) -> None:
        self._rewrite = None
        for path, text in tuple(self._unwritten.items()):
            self._replace(path, text)


def _runs(kernel: Kernel, pid: int, spec: ProxySpec) -> bool:
    """Whether a process was started from this spec, as far as the kernel remembers.

    A script's command line begins with its interpreter, so the command is looked for at the end; of the agent's own
    program only what follows the launcher counts.
    """
    actual = kernel.arguments(pid)
    program, *rest = spec.command
    tail = actual[len(actual) - len(rest) :] if rest else ()
    environment = kernel.environment(pid) or {}
    wanted = {name: value for name, value in spec.environment if name not in VOLATILE}
    wanted["CONNECT_PROXY_TOKEN"] = spec.token
    return program in actual and tail == tuple(rest) and wanted.items() <= environment.items()


def _describe(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exited with code {code}"
