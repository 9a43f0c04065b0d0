"""The keys of service and check definitions, with their types: in files, and over HTTP.

The two differ in the name of one key, as in the original: a check inside a registration over HTTP has a ``CheckID``,
elsewhere an ``id``.
"""

from __future__ import annotations

from reference.config.kinds import (
    BOOLEAN,
    INTEGER,
    OPAQUE,
    SPAN,
    STRING,
    STRING_MAP,
    STRINGS,
    Kind,
    ListOf,
    MapOf,
    Section,
    keys,
)

UPSTREAM = Section(
    {
        **keys(
            STRING, "destination_name destination_type destination_namespace datacenter local_bind_address"
        ),
        "local_bind_port": INTEGER,
        "config": OPAQUE,
    }
)

#: An upstream as versions 1.2.0 to 1.3.0 had it inside ``config`` (MP-CFG-013).
LEGACY_UPSTREAM = Section(
    {
        **keys(STRING, "destination_name destination_type destination_namespace local_bind_address"),
        "destination_datacenter": STRING,
        "local_bind_port": INTEGER,
    }
)

MANAGED_PROXY = Section(
    {"command": STRINGS, "exec_mode": STRING, "config": OPAQUE, "upstreams": ListOf(UPSTREAM)}
)

#: What a proxy that the agent does not manage stands in front of: ``proxy`` of kind ``connect-proxy``.
PROXY = Section(
    {
        **keys(STRING, "destination_service_name destination_service_id local_service_address"),
        "local_service_port": INTEGER,
        "config": OPAQUE,
        "upstreams": ListOf(UPSTREAM),
    }
)

WEIGHTS = Section(keys(INTEGER, "passing warning"))

_CHECK: dict[str, Kind] = {
    **keys(
        STRING,
        """
        name notes status http method tcp docker_container_id shell grpc alias_node alias_service
        """,
    ),
    **keys(SPAN, "interval timeout ttl deregister_critical_service_after"),
    **keys(BOOLEAN, "grpc_use_tls tls_skip_verify"),
    "args": STRINGS,
    "header": MapOf(STRINGS),
}
#: Spellings that the original takes in files too, from the time when it did not tell files from requests.
_CHECK_ALIASES = {
    "deregistercriticalserviceafter": "deregister_critical_service_after",
    "dockercontainerid": "docker_container_id",
    "scriptargs": "args",
    "serviceid": "service_id",
    "tlsskipverify": "tls_skip_verify",
}

#: A check by itself, in a file or over HTTP.
CHECK = Section({**_CHECK, **keys(STRING, "id service_id token")}, aliases=_CHECK_ALIASES)
#: A check inside a service that is registered over HTTP.
_API_CHECK = Section({**_CHECK, "check_id": STRING}, aliases={"scriptargs": "args"})


def _plain_service(check: Section) -> dict[str, Kind]:
    return {
        **keys(STRING, "kind id name address token proxy_destination"),
        "check": check,
        "checks": ListOf(check),
        "tags": STRINGS,
        "meta": STRING_MAP,
        "port": INTEGER,
        "enable_tag_override": BOOLEAN,
        "weights": WEIGHTS,
        "proxy": PROXY,
    }


def _service(check: Section) -> Section:
    plain = _plain_service(check)
    sidecar = Section(
        {**plain, "connect": Section({"native": BOOLEAN, **keys(OPAQUE, "proxy sidecar_service")})}
    )
    connect = Section({"native": BOOLEAN, "proxy": MANAGED_PROXY, "sidecar_service": sidecar})
    return Section({**plain, "connect": connect})


#: A service in a file.
SERVICE = _service(CHECK)
#: A service that is registered over HTTP.
API_SERVICE = _service(_API_CHECK)
