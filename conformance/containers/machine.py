"""One check's machine: a container with a sleeping init, on a network that it shares with the services behind it.

It outlives its agents, as a machine does; they are executed in it. Whoever kills it kills all that runs in it, and
only the files of the workspace, which it has at the same path as the suite, are there afterwards.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from types import TracebackType
from typing import Any, Self

import docker
from docker.errors import APIError
from docker.models.containers import Container
from docker.models.networks import Network

from conformance.containers import engine
from conformance.containers.engine import EngineError
from conformance.containers.namespaces import Inside
from conformance.instruments.processes import Process

#: Asked for it, tells the pid of what it becomes, waits until somebody has looked, and becomes it. It must not speak
#: first: what comes together with the head of the engine's answer is lost in a buffer of the library.
_GATE = 'read -r _; echo $$; read -r _; out=$1; shift; exec "$@" >>"$out" 2>&1 </dev/null'
#: Before each piece of an execution's output: where it was written to, and its length.
_HEADER = struct.Struct(">xxxxL")
_START_SECONDS = 60.0
#: Where the engine has programs looked for when an image does not say.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LONGEST_LINE = 4096


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Something that is executed in the machine."""

    process: Process
    _client: docker.DockerClient
    _id: str
    _stream: socket.socket

    def exit_code(self) -> int | None:
        """The exit code (negative: signal), ``None`` while it runs."""
        try:
            told = self._client.api.exec_inspect(self._id)
        except APIError:  # it ended with its container, of which the engine forgets what it executed
            return -SIGKILL
        if told["Running"]:
            return None
        self._stream.close()
        code: int = told["ExitCode"]
        # The engine tells of a signal as shells do.
        return 128 - code if code > 128 else code


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A service in a container of its own, on the network of the machine."""

    address: str
    _container: Container

    def run(self, *command: str) -> str:
        """What a command says that is executed beside the service."""
        return _executed(self._container, command)[1]

    def kill(self) -> None:
        """End the service, and its container with it."""
        self._container.kill(SIGKILL)


class Machine:
    """Entered, it runs, and the suite looks at the world from within it."""

    def __init__(self, client: docker.DockerClient, image: str, *, workspace: Path) -> None:
        self._client = client
        self._image = image
        self._workspace = workspace
        self._labels = {engine.RUN: str(workspace.parent)}
        self._network: Network
        # The last one runs; an upgrade puts another in its place.
        self._containers: list[Container] = []
        self._held = ExitStack()
        self._inside: Inside

    def __enter__(self) -> Self:
        with ExitStack() as held:
            self._network = self._client.networks.create(
                self._workspace.name, labels=self._labels, internal=True, check_duplicate=True
            )
            held.callback(engine.remove, self._network)
            self._inside = held.enter_context(Inside())
            held.callback(self._remove)
            self._boot()
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the containers and the network."""
        self._held.close()

    def _remove(self) -> None:
        for container in self._containers:
            engine.remove(container)

    @property
    def _container(self) -> Container:
        return self._containers[-1]

    @property
    def address(self) -> str:
        """Under which the services behind it reach the machine."""
        return _address(self._container, self._network)

    def which(self, name: str) -> str | None:
        """Where the machine has a program of this name."""
        given = dict(item.partition("=")[::2] for item in self._container.attrs["Config"]["Env"] or ())
        candidates = (Path(folder, name) for folder in given.get("PATH", _PATH).split(":"))
        root = Path(f"/proc/{self._pid}/root")
        # A link means a file of the machine, so what it leads to is not for the suite to see.
        return next((str(path) for path in candidates if os.path.lexists(root / path.relative_to("/"))), None)

    def execute(
        self,
        command: Sequence[str],
        *,
        uid: int,
        gid: int,
        output: Path,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Execution:
        """Execute something as somebody; the process is known before it does anything.

        ``environment`` is added to that of the image, ``output`` is a file of the workspace that takes standard output
        and error. Raises :class:`EngineError` when nothing can be executed in this container.
        """
        api = self._client.api
        made: str = api.exec_create(
            self._container.id,
            ["/bin/sh", "-c", _GATE, "sh", str(output), *command],
            stdin=True,
            user=f"{uid}:{gid}",
            workdir=str(directory or self._workspace),
            environment=dict(environment or {}),
        )["Id"]
        stream = _raw(api.exec_start(made, socket=True))
        stream.sendall(b"\n")
        pid = first_line(stream)
        if not pid.isdigit():
            raise EngineError(f"a container of {self._image} executes nothing: {pid or 'it said nothing'}")
        process = Process.of(int(pid))
        stream.sendall(b"\n")
        return Execution(process=process, _client=self._client, _id=made, _stream=stream)

    def run(self, *command: str) -> None:
        """Execute something as root, to its end. Raises :class:`EngineError` when it fails."""
        code, said = _executed(self._container, command)
        if code != 0:
            raise EngineError(f"{command[0]} ended with exit code {code}: {said.strip()}")

    def crash(self) -> None:
        """Kill it, as a power cut does, and have it run again. Whatever ran in it has gone, files are left."""
        self._container.kill(SIGKILL)
        self._container.wait()
        self._container.start()
        self._enter()

    def replace(self, image: str) -> None:
        """Have a container of another image in its place. Only the workspace is left."""
        engine.remove(self._container)
        self._image = image
        self._boot()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze everything that runs in it for the length of the block."""
        self._container.pause()
        try:
            yield
        finally:
            self._container.unpause()

    def neighbour(self, service: str) -> Neighbour:
        """A container of one of the suite's images, which shares with the machine nothing but the network.

        Raises :class:`EngineError` when it was not built.
        """
        image = f"proxyproof/{service}"
        if not self._client.images.list(name=image):
            raise EngineError(f"the image {image} is not on this machine; proxyproof images build makes it")
        container = self._client.containers.run(
            image, detach=True, network=self._network.name, labels=self._labels, init=True
        )
        self._held.callback(engine.remove, container)
        return Neighbour(address=_address(container, self._network), _container=container)

    def _boot(self) -> None:
        container = self._client.containers.create(
            self._image,
            entrypoint=["sleep", "infinity"],
            init=True,
            user="0:0",
            network=self._network.name,
            volumes={str(self._workspace): {"bind": str(self._workspace), "mode": "rw"}},
            labels=self._labels,
        )
        self._containers.append(container)
        self._container.start()
        self._enter()

    def _enter(self) -> None:
        self._container.reload()
        self._inside.enter(self._pid)

    @property
    def _pid(self) -> int:
        pid: int = self._container.attrs["State"]["Pid"]
        return pid


def _executed(container: Container, command: Sequence[str]) -> tuple[int, str]:
    code, output = container.exec_run(list(command))
    assert isinstance(output, bytes)  # nobody asked for a stream
    return code or 0, output.decode(errors="replace")


def _address(container: Container, network: Network) -> str:
    container.reload()
    address: str = container.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
    return address


def _raw(stream: Any) -> socket.socket:
    """The library hands out its socket in a wrapper."""
    connection: socket.socket = stream._sock
    connection.settimeout(_START_SECONDS)
    return connection


def first_line(stream: socket.socket) -> str:
    """The first line of an execution, or what the engine says in its place."""
    told = b""
    while b"\n" not in told and len(told) < _LONGEST_LINE:
        if not (header := _exactly(stream, _HEADER.size)):
            break
        (size,) = _HEADER.unpack(header)
        told += _exactly(stream, size)
    return told.decode(errors="replace").partition("\n")[0].strip()


def _exactly(stream: socket.socket, size: int) -> bytes:
    """So many bytes; fewer when the stream ends."""
    data = b""
    while len(data) < size and (piece := stream.recv(size - len(data))):
        data += piece
    return data
