"""A header of the PROXY protocol, version 2: how the application learns who comes. Pure.

Format: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, section 2.2. Beside the addresses it carries two
extensions: that TLS with a verified certificate was spoken (``PP2_TYPE_SSL``, version in it), and the SPIFFE URI of the
peer, as type 0xE0 of the range that is left to applications.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
VERSION_2_PROXY = 0x21
STREAM_IPV4, STREAM_IPV6, UNSPECIFIED = 0x11, 0x21, 0x00

SSL, SSL_VERSION, SPIFFE_URI = 0x20, 0x21, 0xE0
#: PP2_CLIENT_SSL | PP2_CLIENT_CERT_CONN: TLS, with a certificate on this connection.
CLIENT = 0x03


def header(*, source: Any, destination: Any, uri: str, tls_version: str) -> bytes:
    """The header for a connection between two socket addresses; those of a unix socket are left unspecified."""
    family, addresses = _addresses(source, destination)
    verified = struct.pack("!BI", CLIENT, 0) + _extension(SSL_VERSION, tls_version.encode())
    rest = addresses + _extension(SSL, verified) + _extension(SPIFFE_URI, uri.encode())
    return SIGNATURE + struct.pack("!BBH", VERSION_2_PROXY, family, len(rest)) + rest


def _addresses(source: Any, destination: Any) -> tuple[int, bytes]:
    if not isinstance(source, tuple) or not isinstance(destination, tuple):
        return UNSPECIFIED, b""
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    packed = b"".join(socket.inet_pton(family, end[0].partition("%")[0]) for end in (source, destination))
    ports = struct.pack("!HH", source[1], destination[1])
    return (STREAM_IPV6 if family == socket.AF_INET6 else STREAM_IPV4), packed + ports


def _extension(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value
