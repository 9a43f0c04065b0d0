"""Where an agent listens and how it speaks there: addresses, TLS, and what it answers to whom. Frozen data."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from reference.secretive import Secretive


class TcpAddress(msgspec.Struct, frozen=True):
    """An IP address, without the brackets of IPv6, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(msgspec.Struct, frozen=True):
    """A socket in the file system."""

    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


Address = TcpAddress | UnixAddress


class UnixSocketOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``unix_sockets``: whom a socket belongs to, by number, and its permissions; ``None`` leaves them alone."""

    user: int | None = None
    group: int | None = None
    mode: int | None = None


class TlsOptions(Secretive, frozen=True, kw_only=True):
    """The files and rules of HTTPS; a path that is empty was not given, the others are absolute.

    ``ciphers`` are names of OpenSSL. ``verify_incoming`` asks clients of HTTPS for a certificate of ``ca_file`` or
    ``ca_path``; ``verify_outgoing`` has the proxies verify the agent, under ``server_name`` if there is one.
    """

    UNSHOWN = frozenset({"key_file"})

    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    ca_path: str = ""
    min_version: str = "tls12"
    ciphers: tuple[str, ...] = ()
    prefer_server_ciphers: bool = False
    verify_incoming: bool = False
    verify_outgoing: bool = False
    server_name: str = ""


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``http_config``: headers of every answer, prefixes of paths that are closed, and networks that may write."""

    response_headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    block_endpoints: tuple[str, ...] = ()
    allow_write_from: tuple[str, ...] = ()
    allow_unprintable_paths: bool = False
