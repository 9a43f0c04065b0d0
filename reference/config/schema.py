"""Every key that a configuration may contain, with its type: tables, read by :mod:`reference.config.decode`.

:data:`AGENT` is the whole of a configuration file, :data:`SERVICE` a service definition, in a file and over HTTP.
The keys are those of Consul 1.4 (MP-CFG-003, MP-CFG-010, MP-CFG-017, MP-CFG-024). What is in the tables but not
in :data:`EFFECTIVE` is accepted, so that existing files load, and reported as having no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Scalar(Enum):
    """A single value; the values are the original's names for the types."""

    STRING = "string"
    BOOLEAN = "bool"
    INTEGER = "int"
    NUMBER = "float64"


@dataclass(frozen=True)
class ListOf:
    """A list whose items have one type; lists of several files are appended to each other."""

    item: Kind


@dataclass(frozen=True)
class MapOf:
    """An object with keys of the user's choice; later files overlay earlier ones."""

    value: Kind


@dataclass(frozen=True)
class Opaque:
    """An object whose content is nobody's business here; later files overlay its top level."""


@dataclass(frozen=True)
class Section:
    """An object with known keys, which are merged one by one. ``aliases`` are other spellings of them."""

    keys: Mapping[str, Kind]
    aliases: Mapping[str, str] = field(default_factory=dict)


Kind = Scalar | ListOf | MapOf | Opaque | Section

STRING, BOOLEAN, INTEGER, NUMBER = Scalar
STRINGS = ListOf(STRING)
STRING_MAP = MapOf(STRING)
OPAQUE = Opaque()


def _names(text: str) -> list[str]:
    return text.split()


def _keys(kind: Kind, names: str) -> dict[str, Kind]:
    return dict.fromkeys(_names(names), kind)


def _camel_case(keys: Mapping[str, Kind]) -> dict[str, str]:
    """Spellings without underscores (``LeafCertTTL``), where the original takes them in files too."""
    return {key.replace("_", ""): key for key in keys if "_" in key}


UPSTREAM = Section(
    {
        **_keys(
            STRING, "destination_name destination_type destination_namespace datacenter local_bind_address"
        ),
        "local_bind_port": INTEGER,
        "config": OPAQUE,
    }
)

#: An upstream as versions 1.2.0 to 1.3.0 had it inside ``config`` (MP-CFG-013).
LEGACY_UPSTREAM = Section(
    {
        **_keys(STRING, "destination_name destination_type destination_namespace local_bind_address"),
        "destination_datacenter": STRING,
        "local_bind_port": INTEGER,
    }
)

MANAGED_PROXY = Section(
    {"command": STRINGS, "exec_mode": STRING, "config": OPAQUE, "upstreams": ListOf(UPSTREAM)}
)

#: Health checks are recognised only to be refused by name; their content does not matter.
_CHECKS: dict[str, Kind] = {"check": OPAQUE, "checks": ListOf(OPAQUE)}

_PLAIN_SERVICE: dict[str, Kind] = {
    **_keys(STRING, "kind id name address token proxy_destination"),
    **_CHECKS,
    "tags": STRINGS,
    "meta": STRING_MAP,
    "port": INTEGER,
    "enable_tag_override": BOOLEAN,
    "weights": Section(_keys(INTEGER, "passing warning")),
    "proxy": OPAQUE,
}

_SIDECAR = Section(
    {
        **_PLAIN_SERVICE,
        "connect": Section({"native": BOOLEAN, **_keys(OPAQUE, "proxy sidecar_service")}),
    }
)

SERVICE = Section(
    {
        **_PLAIN_SERVICE,
        "connect": Section({"native": BOOLEAN, "proxy": MANAGED_PROXY, "sidecar_service": _SIDECAR}),
    }
)

_CA_CONFIG = {
    **_keys(
        STRING,
        """
        leaf_cert_ttl rotation_period private_key root_cert address token ca_file ca_path cert_file
        key_file root_pki_path intermediate_pki_path tls_server_name
        """,
    ),
    **_keys(NUMBER, "csr_max_per_second csr_max_concurrent"),
    "tls_skip_verify": BOOLEAN,
}

_CONNECT = Section(
    {
        "enabled": BOOLEAN,
        "proxy": Section(_keys(BOOLEAN, "allow_managed_root allow_managed_api_registration")),
        "proxy_defaults": Section(
            {
                "exec_mode": STRING,
                "daemon_command": STRINGS,
                "script_command": STRINGS,
                "config": OPAQUE,
            },
            # The document's spelling; the original knows `daemon_command` alone (MP-CFG-018).
            aliases={"command": "daemon_command"},
        ),
        "ca_provider": STRING,
        "ca_config": Section(_CA_CONFIG, aliases=_camel_case(_CA_CONFIG)),
    }
)

_ACL = Section(
    {
        **_keys(BOOLEAN, "enabled enable_token_replication enable_key_list_policy enable_token_persistence"),
        **_keys(STRING, "policy_ttl token_ttl down_policy default_policy disabled_ttl"),
        "tokens": Section(_keys(STRING, "master replication agent_master default agent")),
    }
)

_AUTOPILOT = Section(
    {
        **_keys(BOOLEAN, "cleanup_dead_servers disable_upgrade_migration"),
        **_keys(
            STRING, "last_contact_threshold redundancy_zone_tag server_stabilization_time upgrade_version_tag"
        ),
        "max_trailing_logs": INTEGER,
    }
)

_DNS = Section(
    {
        **_keys(BOOLEAN, "allow_stale disable_compression enable_truncate only_passing use_cache"),
        **_keys(STRING, "max_stale node_ttl recursor_timeout cache_max_age"),
        **_keys(INTEGER, "a_record_limit udp_answer_limit"),
        "enable_additional_node_meta_txt": BOOLEAN,
        "service_ttl": STRING_MAP,
        "soa": Section(_keys(INTEGER, "refresh retry expire min_ttl")),
    }
)

_GOSSIP = Section(
    {
        **_keys(INTEGER, "gossip_nodes suspicion_mult retransmit_mult"),
        **_keys(STRING, "gossip_interval probe_interval probe_timeout"),
    }
)

_TELEMETRY = Section(
    {
        **_keys(
            STRING,
            """
            circonus_api_app circonus_api_token circonus_api_url circonus_broker_id
            circonus_broker_select_tag circonus_check_display_name circonus_check_id
            circonus_check_force_metric_activation circonus_check_instance_id
            circonus_check_search_tag circonus_check_tags circonus_submission_interval
            circonus_submission_url dogstatsd_addr metrics_prefix prometheus_retention_time
            statsd_address statsite_address
            """,
        ),
        **_keys(STRINGS, "dogstatsd_tags prefix_filter"),
        **_keys(BOOLEAN, "disable_hostname filter_default"),
    }
)

_PORTS = Section(
    _keys(
        INTEGER,
        "dns http https serf_lan serf_wan server grpc proxy_min_port proxy_max_port sidecar_min_port sidecar_max_port",
    )
)

_SEGMENT = Section({**_keys(STRING, "advertise bind name"), "port": INTEGER, "rpc_listener": BOOLEAN})

AGENT = Section(
    {
        **_CHECKS,
        "service": SERVICE,
        "services": ListOf(SERVICE),
        "connect": _CONNECT,
        "acl": _ACL,
        "addresses": Section(_keys(STRING, "dns http https grpc")),
        "autopilot": _AUTOPILOT,
        "dns_config": _DNS,
        "gossip_lan": _GOSSIP,
        "gossip_wan": _GOSSIP,
        "http_config": Section(
            {**_keys(STRINGS, "block_endpoints allow_write_http_from"), "response_headers": STRING_MAP}
        ),
        "limits": Section({"rpc_max_burst": INTEGER, "rpc_rate": NUMBER}),
        "performance": Section(
            {**_keys(STRING, "leave_drain_time rpc_hold_timeout"), "raft_multiplier": INTEGER}
        ),
        "ports": _PORTS,
        "telemetry": _TELEMETRY,
        "unix_sockets": Section(_keys(STRING, "group mode user")),
        "segments": ListOf(_SEGMENT),
        "watches": ListOf(OPAQUE),
        "snapshot_agent": OPAQUE,
        **_keys(STRING_MAP, "node_meta tagged_addresses"),
        **_keys(STRINGS, "recursors retry_join retry_join_wan start_join start_join_wan"),
        **_keys(
            INTEGER,
            """
            bootstrap_expect log_rotate_bytes protocol raft_protocol raft_snapshot_threshold
            retry_max retry_max_wan
            """,
        ),
        **_keys(
            STRING,
            """
            acl_agent_master_token acl_agent_token acl_datacenter acl_default_policy acl_down_policy
            acl_master_token acl_replication_token acl_token acl_ttl advertise_addr
            advertise_addr_wan bind_addr ca_file ca_path cert_file check_update_interval client_addr
            data_dir datacenter discovery_max_stale domain encrypt key_file log_file log_level
            log_rotate_duration node_id node_name pid_file primary_datacenter raft_snapshot_interval
            reconnect_timeout reconnect_timeout_wan retry_interval retry_interval_wan segment
            serf_lan serf_wan server_name session_ttl_min syslog_facility tls_cipher_suites
            tls_min_version ui_dir
            """,
        ),
        **_keys(
            BOOLEAN,
            """
            acl_enable_key_list_policy acl_enforce_version_8 bootstrap disable_anonymous_signature
            disable_coordinates disable_host_node_id disable_http_unprintable_char_filter
            disable_keyring_file disable_remote_exec disable_update_check discard_check_output
            enable_acl_replication enable_agent_tls_for_checks enable_debug enable_script_checks
            enable_local_script_checks enable_syslog encrypt_verify_incoming encrypt_verify_outgoing
            leave_on_terminate non_voting_server rejoin_after_leave server skip_leave_on_interrupt
            tls_prefer_server_cipher_suites translate_wan_addrs ui verify_incoming
            verify_incoming_https verify_incoming_rpc verify_outgoing verify_server_hostname
            """,
        ),
    }
)

#: The options that this agent acts upon, services aside.
EFFECTIVE = frozenset(
    _names(
        """
        addresses.dns addresses.http advertise_addr bind_addr client_addr data_dir datacenter domain
        dns_config.a_record_limit dns_config.enable_truncate dns_config.node_ttl dns_config.only_passing
        dns_config.service_ttl dns_config.udp_answer_limit log_level node_name
        ports.dns ports.http ports.proxy_max_port ports.proxy_min_port
        connect.enabled connect.ca_provider connect.ca_config.leaf_cert_ttl
        connect.proxy.allow_managed_root connect.proxy.allow_managed_api_registration
        connect.proxy_defaults.exec_mode connect.proxy_defaults.daemon_command connect.proxy_defaults.config
        """
    )
)
