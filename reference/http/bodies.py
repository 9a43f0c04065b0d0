"""What requests carry: the tables of their keys, from which the published description makes its schemas."""

from __future__ import annotations

from collections.abc import Mapping

from reference.config.kinds import (
    BOOLEAN,
    INTEGER,
    OPAQUE,
    STRING,
    STRING_MAP,
    STRINGS,
    Kind,
    ListOf,
    Section,
)
from reference.config.service_tables import CHECK, SERVICE

_LINKS = ListOf(Section({"id": STRING, "name": STRING}))

_CATALOG_SERVICE = Section(
    {
        **dict.fromkeys(("kind", "id", "service", "address"), STRING),
        "tags": STRINGS,
        "meta": STRING_MAP,
        "port": INTEGER,
        "enable_tag_override": BOOLEAN,
        "weights": Section({"passing": INTEGER, "warning": INTEGER}),
    }
)
_CATALOG_CHECK = Section(
    dict.fromkeys(("node", "check_id", "name", "status", "notes", "output", "service_id"), STRING)
)

BODIES: Mapping[str, Kind] = {
    "Service": SERVICE,
    "Check": CHECK,
    "CheckUpdate": Section({"status": STRING, "output": STRING}),
    "AgentToken": Section({"token": STRING}),
    "Authorize": Section({"target": STRING, "client_cert_uri": STRING, "client_cert_serial": STRING}),
    "Intention": Section(
        {
            **dict.fromkeys(
                ("source_name", "destination_name", "source_type", "action", "description"), STRING
            ),
            "meta": STRING_MAP,
        }
    ),
    "IntentionAction": Section({**dict.fromkeys(("action", "description"), STRING), "meta": STRING_MAP}),
    "CatalogRegistration": Section(
        {
            **dict.fromkeys(("datacenter", "id", "node", "address"), STRING),
            **dict.fromkeys(("tagged_addresses", "node_meta"), STRING_MAP),
            "service": _CATALOG_SERVICE,
            "check": _CATALOG_CHECK,
            "checks": ListOf(_CATALOG_CHECK),
            "skip_node_update": BOOLEAN,
        }
    ),
    "CatalogDeregistration": Section(dict.fromkeys(("datacenter", "node", "service_id", "check_id"), STRING)),
    "Query": Section(
        {
            **dict.fromkeys(("name", "session", "token"), STRING),
            "template": Section({"type": STRING, "regexp": STRING, "remove_empty_tags": BOOLEAN}),
            "service": Section(
                {
                    **dict.fromkeys(("service", "near"), STRING),
                    "failover": Section({"nearest_n": INTEGER, "datacenters": STRINGS}),
                    **dict.fromkeys(("only_passing", "connect"), BOOLEAN),
                    **dict.fromkeys(("tags", "ignore_check_ids"), STRINGS),
                    **dict.fromkeys(("node_meta", "service_meta"), STRING_MAP),
                }
            ),
            "dns": Section({"ttl": STRING}),
        }
    ),
    "AuthorityConfiguration": Section({"provider": STRING, "config": OPAQUE}),
    "Token": Section(
        {
            **dict.fromkeys(("accessor_id", "secret_id", "description"), STRING),
            "policies": _LINKS,
            "local": BOOLEAN,
        }
    ),
    "Policy": Section(
        {
            **dict.fromkeys(("id", "name", "description", "rules"), STRING),
            "datacenters": STRINGS,
        }
    ),
    "LegacyToken": Section(dict.fromkeys(("id", "name", "type", "rules"), STRING)),
}
#: What a body cannot do without.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "Service": ("Name",),
    "Authorize": ("Target", "ClientCertURI"),
    "Intention": ("SourceName", "DestinationName", "Action"),
    "IntentionAction": ("Action",),
    "CatalogRegistration": ("Node", "Address"),
    "CatalogDeregistration": ("Node",),
    "AuthorityConfiguration": ("Provider", "Config"),
    "AgentToken": ("Token",),
    "Policy": ("Name",),
}
#: One of each that is right, where one can be given.
EXAMPLES: Mapping[str, object] = {
    "Service": {"Name": "web", "Port": 8080, "Tags": ["v1"], "Meta": {"team": "a"}},
    "Check": {"Name": "alive", "TTL": "30s"},
    "CheckUpdate": {"Status": "passing", "Output": "fine"},
    "AgentToken": {"Token": "8f246b77-f3e1-ff88-5b48-8ec93abf3e05"},
    "Authorize": {"Target": "web", "ClientCertURI": "spiffe://t.consul/ns/default/dc/dc1/svc/db"},
    "Intention": {"SourceName": "web", "DestinationName": "db", "Action": "allow"},
    "IntentionAction": {"Action": "deny"},
    "CatalogRegistration": {
        "Node": "outside",
        "Address": "192.0.2.7",
        "Service": {"Service": "db", "Port": 5432},
    },
    "CatalogDeregistration": {"Node": "outside"},
    "Query": {"Name": "db", "Service": {"Service": "db", "OnlyPassing": True}},
    "AuthorityConfiguration": {"Provider": "consul", "Config": {"LeafCertTTL": "72h"}},
    "Token": {"Description": "for reading", "Policies": [{"Name": "global-management"}]},
    "Policy": {"Name": "reader", "Rules": 'service_prefix "" { policy = "read" }'},
    "LegacyToken": {"Name": "reader", "Type": "client", "Rules": 'service "" { policy = "read" }'},
}
