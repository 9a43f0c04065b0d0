"""The sockets that an agent listens on, claimed before anything else is touched."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from pathlib import Path

from reference.config.network import TcpAddress, UnixAddress, UnixSocketOptions
from reference.files import TEMPORARY

_log = logging.getLogger("agent")

_BACKLOG = 1024
_REMEDIES = {
    errno.EADDRINUSE: "stop the program that uses it, or choose another port with {option}",
    errno.EADDRNOTAVAIL: "name an address of this machine with -client",
    errno.EACCES: "choose a port above 1023 with {option}",
}


class StartError(Exception):
    """The agent cannot start; the text says what, where, and what to do."""


def claim(
    address: TcpAddress, kind: socket.SocketKind = socket.SOCK_STREAM, *, what: str, option: str
) -> socket.socket:
    """A socket of ``kind`` bound to host and port, and listening when it is one for connections.

    ``what`` wants it, and ``option`` would give it another port. ``::`` means every address, IPv4 as well, as it does
    in the original. Raises :class:`StartError`.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    place = address.host, address.port
    try:
        if kind == socket.SOCK_STREAM:
            both_families = address.host == "::" and socket.has_dualstack_ipv6()
            return socket.create_server(place, family=family, backlog=_BACKLOG, dualstack_ipv6=both_families)
        return _bound(socket.socket(family, kind), place)
    except OSError as error:
        number = error.errno or 0
        remedy = _REMEDIES.get(number, "choose another address with -client and {option}")
        raise StartError(
            f"{what} cannot listen on {address}: {os.strerror(number).lower()}; {remedy.format(option=option)}"
        ) from error


def claim_unix(address: UnixAddress, options: UnixSocketOptions, *, what: str) -> socket.socket:
    """A listening socket in the file system, in the place of one that is left over. Raises :class:`StartError`.

    It is made where nobody finds it, and put in its place when owner and permissions are right.
    """
    path = Path(address.path)
    temporary = path.with_name(path.name + _suffix())
    _check_left_over(path, what=what)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bound(listener, str(temporary))
        if options.user is not None or options.group is not None:
            os.chown(
                temporary,
                -1 if options.user is None else options.user,
                -1 if options.group is None else options.group,
            )
        if options.mode is not None:
            temporary.chmod(options.mode)
        listener.listen(_BACKLOG)
        temporary.rename(path)
    except OSError as error:
        listener.close()
        temporary.unlink(missing_ok=True)
        problem = (error.strerror or str(error)).lower()
        raise StartError(
            f"{what} cannot listen on {address}: {problem}; see that its directory exists and may be written, "
            "and that unix_sockets names an owner that this user may give away to"
        ) from error
    return listener


def shown(listener: socket.socket) -> str:
    """Where it listens, as the log says it: host and port, or path."""
    if listener.family == socket.AF_UNIX:
        # The socket itself only knows where it was made.
        return f"{str(listener.getsockname()).removesuffix(_suffix())} (unix)"
    kind = "tcp" if listener.type == socket.SOCK_STREAM else "udp"
    return f"{TcpAddress(*listener.getsockname()[:2])} ({kind})"


def _suffix() -> str:
    return f".{os.getpid()}{TEMPORARY}"


def _check_left_over(path: Path, *, what: str) -> None:
    """What stands in the place of a socket must be the socket of an agent that is gone."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise StartError(
                f"{what} cannot listen on unix://{path}: there is a file that is no socket; remove it"
            )
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartError(
            f"{what} cannot listen on unix://{path}: {error.strerror}; correct its path"
        ) from error
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            _log.warning("Replacing socket %s", path)
            return
    raise StartError(
        f"{what} cannot listen on unix://{path}: another program does; stop it or choose another path"
    )


def _bound(sock: socket.socket, place: tuple[str, int] | str) -> socket.socket:
    try:
        sock.bind(place)
    except OSError:
        sock.close()
        raise
    return sock
