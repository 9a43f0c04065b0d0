"""Every key that a configuration may contain, with its type: tables, read by :mod:`reference.config.decode`.

:data:`AGENT` is the whole of a configuration file; services and checks are in :mod:`reference.config.service_tables`.
The keys are those of Consul 1.4 (MP-CFG-003, MP-CFG-010, MP-CFG-017, MP-CFG-024). What is in the tables but not
in :data:`EFFECTIVE` is accepted, so that existing files load, and reported as having no effect.
"""

from __future__ import annotations

from collections.abc import Mapping

from reference.config import forms
from reference.config.kinds import (
    BOOLEAN,
    DURATION,
    INTEGER,
    NUMBER,
    OPAQUE,
    STRING,
    STRING_MAP,
    STRINGS,
    Form,
    Kind,
    ListOf,
    MapOf,
    Section,
    keys,
    names,
)
from reference.config.service_tables import CHECK, SERVICE


def _camel_case(table: Mapping[str, Kind]) -> dict[str, str]:
    """Spellings without underscores (``LeafCertTTL``), where the original takes them in files too."""
    return {key.replace("_", ""): key for key in table if "_" in key}


_CA_CONFIG = {
    **keys(
        STRING,
        """
        leaf_cert_ttl rotation_period private_key root_cert address token ca_file ca_path cert_file
        key_file root_pki_path intermediate_pki_path tls_server_name
        """,
    ),
    **keys(NUMBER, "csr_max_per_second csr_max_concurrent"),
    "tls_skip_verify": BOOLEAN,
}

#: Not the original's: there all of this is fixed, or missing.
SUPERVISION = Section(
    {
        **keys(DURATION, "backoff backoff_limit healthy_run kill_retry restart_critical_after stop_grace"),
        "stop_signal": STRING,
        **keys(INTEGER, "log_rotate_bytes log_rotate_max_files quick_starts"),
    }
)

_CONNECT = Section(
    {
        "enabled": BOOLEAN,
        "proxy": Section(
            {
                **keys(BOOLEAN, "allow_managed_root allow_managed_api_registration"),
                "supervision": SUPERVISION,
            }
        ),
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
        **keys(BOOLEAN, "enabled enable_token_replication enable_key_list_policy enable_token_persistence"),
        **keys(DURATION, "policy_ttl token_ttl disabled_ttl"),
        **keys(STRING, "down_policy default_policy"),
        "tokens": Section(keys(STRING, "master replication agent_master default agent")),
    }
)

_AUTOPILOT = Section(
    {
        **keys(BOOLEAN, "cleanup_dead_servers disable_upgrade_migration"),
        **keys(DURATION, "last_contact_threshold server_stabilization_time"),
        **keys(STRING, "redundancy_zone_tag upgrade_version_tag"),
        "max_trailing_logs": INTEGER,
    }
)

_DNS = Section(
    {
        **keys(BOOLEAN, "allow_stale disable_compression enable_truncate only_passing use_cache"),
        **keys(DURATION, "max_stale node_ttl recursor_timeout cache_max_age"),
        **keys(INTEGER, "a_record_limit udp_answer_limit"),
        "enable_additional_node_meta_txt": BOOLEAN,
        "service_ttl": MapOf(DURATION),
        "soa": Section(keys(INTEGER, "refresh retry expire min_ttl")),
    }
)

_GOSSIP = Section(
    {
        **keys(INTEGER, "gossip_nodes suspicion_mult retransmit_mult"),
        **keys(DURATION, "gossip_interval probe_interval probe_timeout"),
    }
)

_TELEMETRY = Section(
    {
        **keys(
            STRING,
            """
            circonus_api_app circonus_api_token circonus_api_url circonus_broker_id
            circonus_broker_select_tag circonus_check_display_name circonus_check_id
            circonus_check_force_metric_activation circonus_check_instance_id
            circonus_check_search_tag circonus_check_tags circonus_submission_interval
            circonus_submission_url dogstatsd_addr metrics_prefix
            statsd_address statsite_address
            """,
        ),
        "prometheus_retention_time": DURATION,
        **keys(STRINGS, "dogstatsd_tags prefix_filter"),
        **keys(BOOLEAN, "disable_hostname filter_default"),
    }
)

_PORTS = Section(
    keys(
        INTEGER,
        "dns http https serf_lan serf_wan server grpc proxy_min_port proxy_max_port sidecar_min_port sidecar_max_port",
    )
)

_SEGMENT = Section({**keys(STRING, "advertise bind name"), "port": INTEGER, "rpc_listener": BOOLEAN})

#: What the original's own tests set; its configuration takes it all the same.
_TUNING = Section(
    {
        "coordinate": Section(
            {**keys(INTEGER, "update_batch_size update_max_batches"), "update_period": DURATION}
        ),
        "raft": Section(keys(DURATION, "election_timeout heartbeat_timeout leader_lease_timeout")),
        "server": Section({"health_interval": DURATION}),
    }
)

AGENT = Section(
    {
        "check": CHECK,
        "checks": ListOf(CHECK),
        "service": SERVICE,
        "services": ListOf(SERVICE),
        "connect": _CONNECT,
        "acl": _ACL,
        "addresses": Section(keys(STRING, "dns http https grpc")),
        "autopilot": _AUTOPILOT,
        "dns_config": _DNS,
        "gossip_lan": _GOSSIP,
        "gossip_wan": _GOSSIP,
        "http_config": Section(
            {
                "allow_write_http_from": ListOf(Form(forms.network)),
                "block_endpoints": STRINGS,
                "response_headers": STRING_MAP,
            }
        ),
        "limits": Section({"rpc_max_burst": INTEGER, "rpc_rate": NUMBER}),
        "performance": Section(
            {**keys(DURATION, "leave_drain_time rpc_hold_timeout"), "raft_multiplier": INTEGER}
        ),
        "ports": _PORTS,
        "telemetry": _TELEMETRY,
        "unix_sockets": Section({**keys(STRING, "group user"), "mode": Form(forms.file_mode)}),
        "segments": ListOf(_SEGMENT),
        "consul": _TUNING,
        "watches": ListOf(OPAQUE),
        "snapshot_agent": OPAQUE,
        **keys(STRING_MAP, "node_meta tagged_addresses"),
        **keys(STRINGS, "recursors retry_join retry_join_wan start_join start_join_wan"),
        **keys(
            INTEGER,
            """
            bootstrap_expect log_rotate_bytes protocol raft_protocol raft_snapshot_threshold
            retry_max retry_max_wan segment_limit segment_name_limit
            """,
        ),
        **keys(
            STRING,
            """
            acl_agent_master_token acl_agent_token acl_datacenter acl_default_policy acl_down_policy
            acl_master_token acl_replication_token acl_token advertise_addr
            advertise_addr_wan bind_addr ca_file ca_path cert_file client_addr
            data_dir datacenter domain key_file log_file log_level
            node_name pid_file primary_datacenter revision segment
            serf_lan serf_wan server_name syslog_facility ui_dir version version_prerelease
            """,
        ),
        **keys(
            DURATION,
            """
            acl_disabled_ttl acl_ttl ae_interval check_deregister_interval_min check_reap_interval
            check_update_interval discovery_max_stale log_rotate_duration raft_snapshot_interval
            reconnect_timeout reconnect_timeout_wan retry_interval retry_interval_wan session_ttl_min
            sync_coordinate_interval_min
            """,
        ),
        "encrypt": Form(forms.base64_key),
        "node_id": Form(forms.node_id),
        "sync_coordinate_rate_target": NUMBER,
        "tls_cipher_suites": Form(forms.cipher_suites),
        "tls_min_version": Form(forms.tls_version),
        **keys(
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
    names(
        """
        addresses.dns addresses.http addresses.https client_addr ports.dns ports.http ports.https
        advertise_addr advertise_addr_wan bind_addr data_dir datacenter domain node_id node_meta node_name
        ca_file ca_path cert_file key_file server_name tls_cipher_suites tls_min_version
        tls_prefer_server_cipher_suites verify_incoming verify_incoming_https verify_outgoing
        verify_server_hostname unix_sockets.group unix_sockets.mode unix_sockets.user
        disable_http_unprintable_char_filter http_config.allow_write_http_from http_config.block_endpoints
        http_config.response_headers
        dns_config.a_record_limit dns_config.disable_compression dns_config.enable_additional_node_meta_txt
        dns_config.enable_truncate dns_config.node_ttl dns_config.only_passing
        dns_config.service_ttl dns_config.soa.expire dns_config.soa.min_ttl dns_config.soa.refresh
        dns_config.soa.retry dns_config.udp_answer_limit
        enable_syslog log_file log_level log_rotate_bytes log_rotate_duration pid_file syslog_facility
        telemetry.disable_hostname telemetry.dogstatsd_addr telemetry.dogstatsd_tags
        telemetry.filter_default telemetry.metrics_prefix telemetry.prefix_filter
        telemetry.prometheus_retention_time telemetry.statsd_address
        ports.proxy_max_port ports.proxy_min_port ports.sidecar_max_port ports.sidecar_min_port
        check_deregister_interval_min check_reap_interval check_update_interval discard_check_output
        enable_local_script_checks enable_script_checks
        connect.enabled connect.ca_provider connect.ca_config.leaf_cert_ttl connect.ca_config.private_key
        connect.ca_config.root_cert connect.ca_config.csr_max_per_second
        connect.proxy.allow_managed_root connect.proxy.allow_managed_api_registration
        connect.proxy_defaults.exec_mode connect.proxy_defaults.daemon_command connect.proxy_defaults.config
        connect.proxy.supervision.backoff connect.proxy.supervision.backoff_limit
        connect.proxy.supervision.healthy_run connect.proxy.supervision.kill_retry
        connect.proxy.supervision.log_rotate_bytes connect.proxy.supervision.log_rotate_max_files
        connect.proxy.supervision.quick_starts connect.proxy.supervision.restart_critical_after
        connect.proxy.supervision.stop_grace connect.proxy.supervision.stop_signal
        """
    )
)

#: Of these, the ones that a reload applies. Of ``cert_file`` and ``key_file`` it reads the content again.
RELOADABLE = frozenset(names("cert_file key_file log_level"))
