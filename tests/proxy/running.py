"""What the end-to-end tests run: applications, proxies as processes, and the two together."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from tests.ports import free_ports
from tests.proxy.worlds import Definition, World, ask
from tests.waiting import DEADLINE, eventually


class Application:
    """A threaded server, by TCP or at ``path``; ``serve`` gets each connection. ``connections`` counts them."""

    def __init__(
        self, serve: Callable[[socket.socket], None], *, host: str = "127.0.0.1", path: str = ""
    ) -> None:
        self._serve = serve
        if path:
            self._server = socket.socket(socket.AF_UNIX)
            self._server.bind(path)
            self._server.listen(64)
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._server = socket.create_server((host, 0), family=family, backlog=64)
        self.port: int = 0 if path else self._server.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more; may be called twice."""
        if self._server.fileno() >= 0:
            self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._serve(connection)
            except OSError:
                return  # the client has had enough


def echo(connection: socket.socket) -> None:
    """Send back what comes; after the EOF, say so."""
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    connection.sendall(b"that was all")


class Proxy:
    """One ``proxyproof connect proxy`` process; its log is followed line by line."""

    def __init__(
        self,
        world: World,
        proxy_id: str = "",
        environment: Mapping[str, str] | None = None,
        *,
        prefix: Sequence[str] = (),
        flags: Sequence[str] = (),
    ) -> None:
        command = [*prefix, sys.executable, "-m", "proxyproof", "connect", "proxy", "-log-level", "DEBUG"]
        command += flags
        variables = {
            **os.environ,
            "CONNECT_PROXY_ID": proxy_id,
            "CONSUL_HTTP_ADDR": world.address,
            **(environment or {}),
        }
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str, *, count: int = 1) -> str:
        """The line that matches, the ``count``-th of them; fails with the whole log after the deadline."""

        def found() -> str | None:
            matching = [line for line in self.lines if re.search(pattern, line)]
            return matching[count - 1] if len(matching) >= count else None

        with self._news:
            self._news.wait_for(found, DEADLINE)
            line = found()
        assert line is not None, f"{pattern!r} is not in the log:\n" + "".join(self.lines)
        return line

    def has(self, pattern: str) -> bool:
        return any(re.search(pattern, line) for line in self.lines)

    def stop(self) -> int:
        """SIGINT, which ends it at once; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.finish()

    def finish(self) -> int:
        """Wait for the end; the exit code."""
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()


class Household:
    """A world with the services ``web`` and ``echo``, their proxies and the application of ``echo``."""

    def __init__(
        self,
        world: World,
        *,
        serve: Callable[[socket.socket], None] = echo,
        config: Mapping[str, Any] | None = None,
        upstream: Mapping[str, Any] | None = None,
    ) -> None:
        self.world = world
        self.application = Application(serve)
        self.web_port, self.echo_port, self.upstream_port = free_ports(3)
        self.web = Definition(
            name="web",
            port=1,
            config={"bind_port": self.web_port},
            upstreams=[
                {"destination_name": "echo", "local_bind_port": self.upstream_port, **(upstream or {})}
            ],
        )
        self.echo = Definition(
            name="echo", port=self.application.port, config={"bind_port": self.echo_port, **(config or {})}
        )
        world.define(self.web, self.echo)
        eventually(lambda: ask(world, "GET", "/v1/health/connect/echo?passing"), "echo in the catalog")
        self.web_proxy = Proxy(world, "web-proxy")
        self.echo_proxy = Proxy(world, "echo-proxy")

    def __enter__(self) -> Household:
        try:
            for proxy in (self.web_proxy, self.echo_proxy):
                proxy.wait_for("public listener starting")
        except BaseException as problem:
            self.__exit__(type(problem), problem, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        for proxy in (self.web_proxy, self.echo_proxy):
            proxy.stop()
            if problem is not None:
                print("".join(proxy.lines))
        self.application.close()

    def redefined_web(self, upstreams: Sequence[Mapping[str, Any]]) -> Definition:
        """``web`` with other upstreams."""
        return replace(self.web, upstreams=upstreams)

    def client(self, port: int | None = None) -> socket.socket:
        """A connection to the upstream ``echo`` of ``web`` (or to another port)."""
        sock = socket.create_connection(("127.0.0.1", port or self.upstream_port), timeout=DEADLINE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def peer(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """A TLS connection to the public listener of ``echo``."""
        plain = socket.create_connection(("127.0.0.1", self.echo_port), timeout=DEADLINE)
        try:
            return context.wrap_socket(plain)
        except BaseException:
            plain.close()
            raise

    def context_of(self, service: str) -> ssl.SSLContext:
        """A client context with a leaf of ``service``, as a proxy of that service would have it."""
        leaf = ask(self.world, "GET", f"/v1/agent/connect/ca/leaf/{service}")
        return client_context(leaf["CertPEM"], leaf["PrivateKeyPEM"])


def client_context(certificate: str = "", key: str = "") -> ssl.SSLContext:
    """A client context that trusts anybody, with a leaf if there is one; built without the code under test."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        fd = os.memfd_create("leaf")
        with open(fd, "wb", buffering=0) as memory:
            memory.write((certificate + key).encode())
            context.load_cert_chain(f"/proc/self/fd/{fd}")
    return context


def exactly(sock: socket.socket, length: int) -> bytes:
    """As many bytes; fewer when the stream ends before."""
    received = bytearray()
    while len(received) < length and (part := sock.recv(length - len(received))):
        received += part
    return bytes(received)


def is_idle(pid: int, share: float, *, during: float) -> bool:
    """Whether a process uses no more than this share of a core, and a tick of the clock, for so many seconds."""
    before = _processor_seconds(pid)
    time.sleep(during)  # what is measured is what happens in this time
    return _processor_seconds(pid) - before <= share * during + 1 / os.sysconf("SC_CLK_TCK")


def _processor_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def listens(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
