"""The machine's own IPv4 addresses: needed when the agent is told to bind to all of them, but must name one."""

from __future__ import annotations

import array
import fcntl
import ipaddress
import socket
import struct

_SIOCGIFCONF = 0x8912
#: struct ifreq: the interface's name (16 bytes), then a union whose size is that of struct ifmap; here it holds a
#: sockaddr_in, where family and port come before the address.
_ENTRY_SIZE, _ADDRESS_AT = 16 + (24 if struct.calcsize("P") == 8 else 16), 20
_ROOM = 512

#: What the original counts as private: the special blocks of RFC 6890.
_PRIVATE = [
    ipaddress.IPv4Network(block)
    for block in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.168.0.0/16",
    )
]


def private_ipv4() -> tuple[str, ...]:
    """The private IPv4 addresses of the interfaces that are up; of the loopback only when there is no other."""
    addresses = [ipaddress.IPv4Address(raw) for raw in _interface_addresses()]
    beyond_loopback = [address for address in addresses if not address.is_loopback]
    return tuple(
        str(address) for address in beyond_loopback or addresses if any(address in net for net in _PRIVATE)
    )


def _interface_addresses() -> list[bytes]:
    buffer = array.array("B", bytes(_ENTRY_SIZE * _ROOM))
    request = struct.pack("iP", len(buffer), buffer.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        length, _ = struct.unpack("iP", fcntl.ioctl(probe, _SIOCGIFCONF, request))
    entries = buffer.tobytes()[:length]
    return [entries[at + _ADDRESS_AT : at + _ADDRESS_AT + 4] for at in range(0, length, _ENTRY_SIZE)]
