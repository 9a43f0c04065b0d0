"""The flags of ``proxyproof agent``: all of the original's, each with the option that it sets.

A flag whose option is a list or a map may be given several times, and adds to it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from reference.cli.flags import Flag, Parsed, boolean, integer, text


def pair(raw: str) -> dict[str, str]:
    """``key:value``. Raises :class:`ValueError`."""
    key, colon, value = raw.partition(":")
    if not colon:
        raise ValueError(raw)
    return {key: value}


def item(raw: str) -> list[str]:
    """One value of a list."""
    return [raw]


def file_format(raw: str) -> str:
    """``hcl`` or ``json``. Raises :class:`ValueError`."""
    if raw not in ("hcl", "json"):
        raise ValueError(raw)
    return raw


SOURCES = (
    Flag(
        name="config-dir",
        help="A directory whose .json and .hcl files are read, by name.",
        repeatable=True,
    ),
    Flag(name="config-file", help="A .json or .hcl file to read.", repeatable=True),
    Flag(
        name="config-format",
        help="Files are in this format, hcl or json, whatever their names end in.",
        read=file_format,
    ),
    Flag(
        name="hcl",
        help="A fragment of configuration, in HCL or JSON; wins over files and flags.",
        repeatable=True,
    ),
)
DEV = Flag(
    name="dev", help="Development mode: Connect is on, nothing is stored without -data-dir.", read=boolean
)
_WITHOUT_EFFECT = "Accepted, and without effect on this agent."


class Option(msgspec.Struct, frozen=True):
    """A flag, and the dotted name of the option that it sets."""

    flag: Flag
    option: str


def _option(name: str, option: str, help_: str = _WITHOUT_EFFECT, read: Any = text) -> Option:
    return Option(Flag(name=name, help=help_, read=read, repeatable=read in (item, pair)), option)


OPTIONS = (
    _option("advertise", "advertise_addr", "The address under which others reach this node."),
    _option("advertise-wan", "advertise_addr_wan", "The same, for other datacenters."),
    _option(
        "allow-write-http-from",
        "http_config.allow_write_http_from",
        "A network (CIDR) whose clients may change something; everybody may if not given.",
        item,
    ),
    _option("bind", "bind_addr", "The address that proxies and this node use."),
    _option("bootstrap", "bootstrap", read=boolean),
    _option("bootstrap-expect", "bootstrap_expect", read=integer),
    _option("client", "client_addr", "The addresses of the HTTP API and the DNS interface."),
    _option("data-dir", "data_dir", "Where state, and the logs of proxies, are kept."),
    _option("datacenter", "datacenter", "The name of the datacenter; dc1 if not given."),
    _option("disable-host-node-id", "disable_host_node_id", read=boolean),
    _option("disable-keyring-file", "disable_keyring_file", read=boolean),
    _option("dns-port", "ports.dns", "The port of the DNS interface, -1 for none.", integer),
    _option("domain", "domain", "The domain that the DNS interface answers for."),
    _option(
        "enable-local-script-checks", "enable_local_script_checks", "Scripts in files may be run.", boolean
    ),
    _option(
        "enable-script-checks",
        "enable_script_checks",
        "Scripts may be run, also those that come over the API.",
        boolean,
    ),
    _option("encrypt", "encrypt"),
    _option("grpc-port", "ports.grpc", read=integer),
    _option("http-port", "ports.http", "The port of the HTTP API, -1 for none.", integer),
    _option("join", "start_join", read=item),
    _option("join-wan", "start_join_wan", read=item),
    _option("log-file", "log_file", "The log is written to this file, too; its name gets a time."),
    _option("log-level", "log_level", "TRACE, DEBUG, INFO, WARN or ERR."),
    _option("log-rotate-bytes", "log_rotate_bytes", "A new log file begins after so many bytes.", integer),
    _option("log-rotate-duration", "log_rotate_duration", "A new log file begins after this time."),
    _option("node", "node_name", "The name of this node; the host's name if not given."),
    _option("node-id", "node_id", "The id of this node, a UUID; made up at the first start if not given."),
    _option("node-meta", "node_meta", "A pair of metadata of this node, key:value.", pair),
    _option("non-voting-server", "non_voting_server", read=boolean),
    _option("pid-file", "pid_file", "The pid of the agent is written to this file."),
    _option("protocol", "protocol", read=integer),
    _option("raft-protocol", "raft_protocol", read=integer),
    _option("recursor", "recursors", read=item),
    _option("rejoin", "rejoin_after_leave", read=boolean),
    _option("retry-interval", "retry_interval"),
    _option("retry-interval-wan", "retry_interval_wan"),
    _option("retry-join", "retry_join", read=item),
    _option("retry-join-wan", "retry_join_wan", read=item),
    _option("retry-max", "retry_max", read=integer),
    _option("retry-max-wan", "retry_max_wan", read=integer),
    _option("segment", "segment"),
    _option("serf-lan-bind", "serf_lan"),
    _option("serf-lan-port", "ports.serf_lan", read=integer),
    _option("serf-wan-bind", "serf_wan"),
    _option("serf-wan-port", "ports.serf_wan", read=integer),
    _option("server", "server", read=boolean),
    _option("server-port", "ports.server", read=integer),
    _option("syslog", "enable_syslog", "The log goes to the system's log, too.", boolean),
    _option("ui", "ui", read=boolean),
    _option("ui-dir", "ui_dir"),
)
TABLE = (*SOURCES, DEV, *(each.flag for each in OPTIONS))


def configuration(parsed: Parsed) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Each flag that sets an option, by its name on the command line, as the configuration that it stands for."""
    names = {each.flag.name: each.option for each in OPTIONS}
    return tuple((f"-{name}", _nested(names[name], value)) for name, value in parsed.given if name in names)


def _nested(option: str, value: Any) -> dict[str, Any]:
    """``ports.http`` and 8500 as the configuration ``{"ports": {"http": 8500}}``."""
    for key in reversed(option.split(".")):
        value = {key: value}
    return dict(value)
