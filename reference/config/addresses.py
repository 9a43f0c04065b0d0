"""The machine's own IPv4 addresses, and the templates that stand for them.

They are needed when the agent is told to bind to all of them, but must name one, and where a configuration names
an interface rather than its address: ``{{ GetInterfaceIP "eth0" }}``.
"""

from __future__ import annotations

import array
import fcntl
import ipaddress
import re
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

_SIOCGIFCONF = 0x8912
#: struct ifreq: the interface's name (16 bytes), then a union whose size is that of struct ifmap; here it holds a
#: sockaddr_in, where family and port come before the address.
_NAME_SIZE = 16
_ENTRY_SIZE, _ADDRESS_AT = _NAME_SIZE + (24 if struct.calcsize("P") == 8 else 16), _NAME_SIZE + 4
_ROOM = 512
_ROUTES = Path("/proc/net/route")

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
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_CALL = re.compile(r'\s*(\w+)\s*(?:"([^"]*)")?\s*')


def private_ipv4() -> tuple[str, ...]:
    """The private IPv4 addresses of the interfaces that are up; of the loopback only when there is no other."""
    addresses = [ipaddress.IPv4Address(each) for each in _all()]
    beyond_loopback = [address for address in addresses if not address.is_loopback]
    return tuple(str(address) for address in beyond_loopback or addresses if _is_private(str(address)))


def expand(text: str) -> str:
    """``text`` with the addresses that its templates stand for, separated by spaces.

    Of the original's functions those are known that need no pipe. Raises :class:`ValueError` for others.
    """
    return _TEMPLATE.sub(lambda match: " ".join(_addresses(match[1])), text)


def _addresses(expression: str) -> list[str]:
    call = _CALL.fullmatch(expression)
    found = None if call is None else _FUNCTIONS.get(call[1])
    if call is None or found is None:
        known = ", ".join(sorted(_FUNCTIONS))
        raise ValueError(f"the template {{{{{expression}}}}} is not supported; those that are: {known}")
    addresses = list(found(call[2] or ""))
    return addresses if call[1].endswith("s") else addresses[:1]


def _all() -> Iterable[str]:
    return (address for addresses in by_interface().values() for address in addresses)


def _of_interface(name: str) -> Iterable[str]:
    return by_interface().get(name, [])


def _private(_: str) -> Iterable[str]:
    return filter(_is_private, _of_default_route())


def _public(_: str) -> Iterable[str]:
    return (address for address in _of_default_route() if not _is_private(address))


_FUNCTIONS: Mapping[str, Callable[[str], Iterable[str]]] = {
    "GetInterfaceIP": _of_interface,
    "GetInterfaceIPs": _of_interface,
    "GetPrivateIP": _private,
    "GetPrivateIPs": _private,
    "GetPublicIP": _public,
    "GetPublicIPs": _public,
}


def _is_private(address: str) -> bool:
    return any(ipaddress.IPv4Address(address) in net for net in _PRIVATE)


def _of_default_route() -> list[str]:
    """The addresses of the interface behind which everybody else is."""
    try:
        lines = _ROUTES.read_text().splitlines()[1:]
    except OSError:
        return []
    defaults = [line.split()[0] for line in lines if line.split()[1:2] == ["00000000"]]
    return by_interface().get(defaults[0], []) if defaults else []


def by_interface() -> dict[str, list[str]]:
    """The IPv4 addresses of each interface that is up."""
    buffer = array.array("B", bytes(_ENTRY_SIZE * _ROOM))
    request = struct.pack("iP", len(buffer), buffer.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        length, _ = struct.unpack("iP", fcntl.ioctl(probe, _SIOCGIFCONF, request))
    entries = buffer.tobytes()[:length]
    found: dict[str, list[str]] = {}
    for at in range(0, length, _ENTRY_SIZE):
        label = entries[at : at + _NAME_SIZE].rstrip(b"\0").decode(errors="replace").partition(":")[0]
        raw = entries[at + _ADDRESS_AT : at + _ADDRESS_AT + 4]
        found.setdefault(label, []).append(str(ipaddress.IPv4Address(raw)))
    return found
