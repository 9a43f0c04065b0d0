"""How a check looks: connect, ask over HTTP, run a program. Each gives a status and the original's words for it.

A look takes as long as it was given and no longer, and leaves nothing behind when it is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import signal
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from reference.catalog.model import Status
from reference.config.checks import CheckDefinition, CheckKind
from reference.config.durations import format_duration

Look = Callable[[], Awaitable[tuple[Status, str]]]

#: How much of an output is kept, its end (bytes).
LONGEST_OUTPUT = 4096
_LONGEST_LOOK = 10.0
_LONGEST_RUN = 30.0
_TOO_MANY_REQUESTS = 429
_IPV6 = 6
_UNDECIDED = (errno.EALREADY, errno.EINPROGRESS)
_HEADERS = {"User-Agent": "Consul Health Check", "Accept": "text/plain, text/*, */*"}


def look_of(definition: CheckDefinition) -> Look | None:
    """How a check of this definition looks, None for one that is told or follows another one."""
    longest = _longest(definition)
    match definition.kind:
        case CheckKind.TCP:
            host, port = _endpoint(definition.tcp)
            return lambda: look_tcp(host, port, seconds=longest)
        case CheckKind.HTTP:
            return lambda: look_http(definition, seconds=longest)
        case CheckKind.SCRIPT:
            return lambda: run_script(definition.args, seconds=definition.timeout or _LONGEST_RUN)
        case _:
            return None


async def look_tcp(address: str, port: int | str, *, seconds: float) -> tuple[Status, str]:
    """Connect and hang up."""
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        await _connect(address or "127.0.0.1", port, seconds=seconds)
    except TimeoutError:
        return Status.CRITICAL, f"dial tcp {where}: i/o timeout"
    except (OSError, ValueError) as error:
        return Status.CRITICAL, f"dial tcp {where}: connect: {_reason(error)}"
    return Status.PASSING, f"TCP connect {where}: Success"


async def _connect(address: str, port: int | str, *, seconds: float) -> None:
    """Connect and hang up. Raises :class:`OSError`, :class:`TimeoutError` and :class:`ValueError`."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == _IPV6 else socket.AF_INET
        end = (address, int(port))
    except ValueError:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address, port)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        error = connection.connect_ex(end)
        if error in _UNDECIDED:
            # On the same machine it is decided by now, and nobody needs to wait.
            error = connection.connect_ex(end)
        if error in _UNDECIDED:
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().sock_connect(connection, end)
        elif error:
            raise OSError(error, os.strerror(error))


async def look_http(definition: CheckDefinition, *, seconds: float) -> tuple[Status, str]:
    """Ask for a page: 2xx is passing, 429 a warning, everything else critical."""
    import httpx  # agents without such checks start without it

    url, method = definition.http, definition.method or "GET"
    given = [(name, value) for name, values in definition.header.items() for value in values]
    named = {name.lower() for name, _ in given}
    headers = [*given, *((name, value) for name, value in _HEADERS.items() if name.lower() not in named)]
    output = _Tail()
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(
                verify=not definition.tls_skip_verify,
                timeout=seconds,
                follow_redirects=True,
                max_redirects=10,
            ) as client,
            client.stream(method, url, headers=headers) as answer,
        ):
            async for chunk in answer.aiter_bytes():
                output.add(chunk)
    except (TimeoutError, httpx.TimeoutException):
        return Status.CRITICAL, f"Get {url}: net/http: request canceled (Client.Timeout exceeded)"
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return Status.CRITICAL, f"Get {url}: {_reason(error)}"
    line = f"HTTP {method} {url}: {answer.status_code} {answer.reason_phrase} Output: {output.text}"
    if answer.is_success:
        return Status.PASSING, line
    return (Status.WARNING if answer.status_code == _TOO_MANY_REQUESTS else Status.CRITICAL), line


async def run_script(command: Sequence[str], *, seconds: float) -> tuple[Status, str]:
    """Run a program in a session of its own: exit code 0 is passing, 1 a warning, everything else critical.

    It is over when the program has ended and nobody has its output open any more. When that takes too long, or the look
    is cancelled, the whole session is killed, also what the program left behind when it ended itself.
    """
    reader, writer = os.pipe()
    output = _Tail()
    async with _stream(reader) as stream:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writer,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return Status.CRITICAL, f"{command[0]}: {_reason(error)}"
        finally:
            os.close(writer)
        try:
            async with asyncio.timeout(seconds):
                while chunk := await stream.read(LONGEST_OUTPUT):
                    output.add(chunk)
                code = await process.wait()
        except TimeoutError:
            await _end(process)
            said = f"\n\n{output.report}" if output.text else ""
            return Status.CRITICAL, f"Timed out ({format_duration(seconds)}) running check{said}"
        except BaseException:
            await _end(process)
            raise
    statuses: Mapping[int, Status] = {0: Status.PASSING, 1: Status.WARNING}
    return statuses.get(code, Status.CRITICAL), output.report


@contextlib.asynccontextmanager
async def _stream(pipe: int) -> AsyncIterator[asyncio.StreamReader]:
    """Read from ``pipe``, and close it, whoever still holds its other end: that of a subprocess would stay open."""
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(pipe, "rb", buffering=0)
    )
    try:
        yield stream
    finally:
        transport.close()


class _Tail:
    """The end of an output."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._kept = 0
        self._total = 0

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._kept += len(chunk)
        self._total += len(chunk)
        while self._kept - len(self._chunks[0]) >= LONGEST_OUTPUT:
            self._kept -= len(self._chunks.popleft())

    @property
    def text(self) -> str:
        return b"".join(self._chunks)[-LONGEST_OUTPUT:].decode("utf-8", "replace")

    @property
    def report(self) -> str:
        """The text, and whether it is all."""
        if self._total <= LONGEST_OUTPUT:
            return self.text
        return f"Captured {LONGEST_OUTPUT} of {self._total} bytes\n...\n{self.text}"


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program with everything that it started, so that there are never two of one check."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _longest(definition: CheckDefinition) -> float:
    """How long a look may take: a check should be over before it begins again."""
    if 0 < definition.timeout < definition.interval:
        return definition.timeout
    return min(definition.interval, _LONGEST_LOOK)


def _endpoint(text: str) -> tuple[str, str]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), port


def _reason(error: BaseException) -> str:
    """What the system says: libraries word it each in their own way, but keep its number somewhere."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
