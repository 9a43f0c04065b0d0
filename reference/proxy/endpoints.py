"""Where a proxy listens and connects: TCP addresses of either family, and unix sockets. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: How a unix socket is written where an address may stand.
UNIX = "unix://"


class ConfigError(ValueError):
    """A value that a proxy cannot use; the message names the key, the value and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where to listen or to connect: an IP address or host name, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class SocketPath:
    """A unix socket. ``mode`` are its permissions when it is listened on, None: what the umask leaves."""

    path: str
    mode: int | None = None

    def __str__(self) -> str:
        return f"{UNIX}{self.path}"


Endpoint = Address | SocketPath


def parse_address(text: str, key: str) -> Address:
    """Read ``host:port`` or ``[v6]:port``; ``key`` is where the text stood, for the message."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ConfigError(f"{key}: {text!r} is not an address: write host:port, or [host]:port for IPv6")
    return Address(host=host or "127.0.0.1", port=int(port))


def parse_endpoint(text: str, key: str) -> Endpoint:
    """Read an address, or ``unix://`` and an absolute path."""
    return socket_path(text.removeprefix(UNIX), key) if text.startswith(UNIX) else parse_address(text, key)


def socket_path(path: str, key: str, mode: str = "") -> SocketPath:
    """Read the path of a unix socket, and its permissions in octal (empty: what the umask leaves)."""
    if not path.startswith("/") or len(path.encode()) > 107:  # what the kernel has room for
        raise ConfigError(f"{key}: {path!r} must be an absolute path of at most 107 bytes")
    try:
        permissions = int(mode, 8) if mode else None
    except ValueError:
        permissions = -1
    if permissions is not None and not 0 <= permissions <= 0o777:
        raise ConfigError(f"{key}: the mode {mode!r} must be octal permissions such as 0660")
    return SocketPath(path=path, mode=permissions)
