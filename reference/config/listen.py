"""Where the agent listens and what it calls itself: addresses and ports, with the original's words.

The interfaces for clients (HTTP, HTTPS, DNS) listen on the addresses of their own in ``addresses``, else on those of
``client_addr``, which may be several, separated by spaces; HTTP and HTTPS also on sockets in the file system.
"""

from __future__ import annotations

import grp
import ipaddress
import pwd
from collections.abc import Callable, Iterable
from typing import Any

from reference.config import addresses
from reference.config.managed import MAX_PORT
from reference.config.network import Address, TcpAddress, UnixAddress, UnixSocketOptions
from reference.config.settings import Settings

_UNIX = "unix://"
#: What a sockaddr_un has room for (107 bytes), without what the name has more while the socket is made: a pid.
_LONGEST_PATH = 107 - len(".4194304.tmp")


def port(settings: Settings, name: str) -> int:
    """A port, or -1 for "none": the original takes zero and below for it."""
    number: int = settings.get(name, -1)
    if number > MAX_PORT:
        raise settings.error(name, f"{name}: invalid port: {number}", f"Give a port up to {MAX_PORT}")
    return number if number > 0 else -1


def port_range(settings: Settings, kind: str) -> tuple[int, int]:
    """The ports that ``kind`` (``proxy``, ``sidecar``) is given from; -1 twice when it is given none."""
    low, high = (port(settings, f"ports.{kind}_{end}_port") for end in ("min", "max"))
    if high < low or (low == -1) != (high == -1):
        raise settings.error(
            f"ports.{kind}_max_port",
            f"{kind}_min_port must be less than {kind}_max_port",
            "To disable, set both to zero",
        )
    return low, high


def one_address(settings: Settings, name: str) -> str:
    """The one IP address that an option names, without the brackets of IPv6."""
    found = _expanded(settings, name)
    if len(found) > 1:
        problem = f"{name} cannot contain multiple addresses"
        raise settings.error(name, problem, "Use 'addresses.{dns,http,https}' instead, or give one of them")
    if not found:
        raise settings.error(name, f"{name} cannot be empty", "Give an IP address")
    (address,) = found
    if isinstance(address, UnixAddress):
        raise settings.error(name, f"{name} cannot be a unix socket", "Give an IP address")
    return address.host


def client_addresses(settings: Settings) -> tuple[str, ...]:
    """The IP addresses of ``client_addr``."""
    found = _expanded(settings, "client_addr")
    if not found:
        raise settings.error("client_addr", "client_addr cannot be empty", "Give an IP address")
    return tuple(_host(settings, "client_addr", address) for address in found)


def listeners(settings: Settings, interface: str, clients: Iterable[str]) -> tuple[Address, ...]:
    """Where ``interface`` (``http``, ``https``) listens: nowhere when its port is off."""
    number = port(settings, f"ports.{interface}")
    if number == -1:
        return ()
    own = _expanded(settings, f"addresses.{interface}")
    found: Iterable[Address] = own or [TcpAddress(client, 0) for client in clients]
    return tuple(
        dict.fromkeys(
            TcpAddress(each.host, number) if isinstance(each, TcpAddress) else each for each in found
        )
    )


def dns_listeners(settings: Settings, clients: Iterable[str]) -> tuple[TcpAddress, ...]:
    """Where DNS listens, which has no sockets in the file system."""
    found = []
    for address in listeners(settings, "dns", clients):
        if isinstance(address, UnixAddress):
            raise settings.error("addresses.dns", "DNS address cannot be a unix socket", "Give an IP address")
        found.append(address)
    return tuple(found)


def check_unique(settings: Settings, **interfaces: tuple[Address, ...]) -> None:
    """No two interfaces on one address."""
    taken: dict[Address, str] = {}
    for interface, found in interfaces.items():
        for address in found:
            if address in taken:
                problem = f"{interface.upper()} address {address} already configured for {taken[address]}"
                raise settings.error(
                    f"ports.{interface}", problem, "Set them to different ports or addresses"
                )
            taken[address] = interface.upper()


def advertised(settings: Settings, name: str, otherwise: str) -> str:
    """The address under which others reach this node: one that is told, else ``otherwise``, else the only one."""
    told = one_address(settings, name) if settings.get(name) else ""
    address = told or otherwise
    if not ipaddress.ip_address(address).is_unspecified:
        return address
    if told:
        which = "Advertise WAN address" if name.endswith("_wan") else "Advertise address"
        raise settings.error(
            name, f"{which} cannot be 0.0.0.0, :: or [::]", "Give an address that others can reach"
        )
    found = addresses.private_ipv4()
    if len(found) == 1:
        return found[0]
    many = f"Multiple private IPv4 addresses found ({', '.join(found)})"
    remedy = "Please configure one with 'bind' and/or 'advertise' (bind_addr, -bind, advertise_addr)"
    raise settings.error("bind_addr", many if found else "No private IPv4 address found", remedy)


def unix_sockets(settings: Settings) -> UnixSocketOptions:
    """``unix_sockets``; a group by number, a user also by name, as the original has it; here a group by name, too."""
    mode: str = settings.get("unix_sockets.mode", "")
    return UnixSocketOptions(
        user=_identity(settings, "user", lambda name: pwd.getpwnam(name).pw_uid),
        group=_identity(settings, "group", lambda name: grp.getgrnam(name).gr_gid),
        mode=int(mode, 8) if mode else None,
    )


def _identity(settings: Settings, kind: str, look_up: Callable[[str], int]) -> int | None:
    name = f"unix_sockets.{kind}"
    told: str = settings.get(name, "")
    if not told:
        return None
    if told.isascii() and told.isdecimal():
        return int(told)
    try:
        return look_up(told)
    except KeyError:
        problem = f'{name}: failed to look up {kind} "{told}"'
        raise settings.error(name, problem, f"Name a {kind} of this machine, or give a number") from None


def _expanded(settings: Settings, name: str) -> list[Address]:
    raw: Any = settings.get(name, "")
    try:
        fields = addresses.expand(raw).split()
    except ValueError as error:
        raise settings.error(name, f"{name}: error parsing: {error}", "Give an IP address") from None
    return [_address(settings, name, field) for field in fields]


def _address(settings: Settings, name: str, field: str) -> Address:
    if field.startswith(_UNIX):
        path = field.removeprefix(_UNIX)
        if not path.startswith("/"):
            problem = f"{name}: {field} is not the path of a socket"
            raise settings.error(name, problem, f"Give an absolute path, as in {_UNIX}/run/agent.sock")
        if len(path.encode()) > _LONGEST_PATH:
            problem = f"{name}: {field} is too long for a socket"
            raise settings.error(name, problem, f"Give a path of up to {_LONGEST_PATH} bytes")
        return UnixAddress(path)
    try:
        return TcpAddress(str(ipaddress.ip_address(field.removeprefix("[").removesuffix("]"))), 0)
    except ValueError:
        remedy = "Give an IP address; names of hosts are not supported"
        raise settings.error(name, f"{name}: invalid ip address: {field}", remedy) from None


def _host(settings: Settings, name: str, address: Address) -> str:
    if isinstance(address, UnixAddress):
        raise settings.error(
            name, f"{name} cannot be a unix socket", "Use addresses.http or addresses.https for it"
        )
    return address.host
