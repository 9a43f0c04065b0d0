"""What the options of access control mean: those of version 1.4 (``acl``), and those before it (``acl_…``)."""

from __future__ import annotations

from collections.abc import Iterable

from reference.config.model import AccessOptions, AgentTokens
from reference.config.settings import Settings

#: How the options of 1.4 were called before; where both are given the newer one counts.
BEFORE = {
    "acl.default_policy": "acl_default_policy",
    "acl.down_policy": "acl_down_policy",
    "acl.token_ttl": "acl_ttl",
    "acl.tokens.master": "acl_master_token",
    "acl.tokens.default": "acl_token",
    "acl.tokens.agent": "acl_agent_token",
    "acl.tokens.agent_master": "acl_agent_master_token",
    "acl.tokens.replication": "acl_replication_token",
}
#: What this agent acts upon.
EFFECTIVE = frozenset(
    {
        "acl.enabled",
        "acl.enable_token_persistence",
        "acl_datacenter",
        *(
            name
            for new, old in BEFORE.items()
            for name in (new, old)
            if new not in ("acl.down_policy", "acl.token_ttl", "acl.tokens.replication")
        ),
    }
)

_DEFAULT_POLICIES = ("allow", "deny")
_DOWN_POLICIES = (*_DEFAULT_POLICIES, "extend-cache", "async-cache")


def access_options(settings: Settings, *, datacenter: str) -> AccessOptions:
    """Access control as configured. Raises :class:`ConfigError`.

    To name the datacenter of the rules switches access control on, as it did before version 1.4.
    """
    enabled = bool(settings.get("acl.enabled", settings.get("acl_datacenter") is not None))
    for name in ("acl_datacenter", "primary_datacenter"):
        elsewhere = str(settings.get(name) or datacenter).lower()
        if enabled and elsewhere != datacenter:
            problem = f"{name}: the rules are kept in datacenter {elsewhere}, which this agent cannot reach"
            raise settings.error(name, problem, f'Name its own datacenter, "{datacenter}", or none')
    default = _one_of(settings, "acl.default_policy", _DEFAULT_POLICIES, "Unsupported default ACL policy")
    _one_of(settings, "acl.down_policy", _DOWN_POLICIES, "Unsupported down ACL policy")
    return AccessOptions(
        enabled=enabled,
        allows_by_default=default != "deny",
        master=_chosen(settings, "acl.tokens.master"),
        tokens=AgentTokens(
            default=_chosen(settings, "acl.tokens.default"),
            agent=_chosen(settings, "acl.tokens.agent"),
            agent_master=_chosen(settings, "acl.tokens.agent_master"),
            replication=_chosen(settings, "acl.tokens.replication"),
        ),
        keeps_tokens=bool(settings.get("acl.enable_token_persistence", False)),
    )


def without_effect(options: Iterable[str]) -> set[str]:
    """Those of ``options`` that mean nothing as long as access control is switched off."""
    return {name for name in options if name.startswith(("acl.", "acl_"))} - {"acl.enabled", "acl_datacenter"}


def _name(settings: Settings, name: str) -> str:
    return name if settings.get(name) is not None else BEFORE[name]


def _chosen(settings: Settings, name: str) -> str:
    return str(settings.get(_name(settings, name)) or "")


def _one_of(settings: Settings, name: str, values: tuple[str, ...], problem: str) -> str:
    chosen = _chosen(settings, name)
    if chosen and chosen not in values:
        raise settings.error(_name(settings, name), f"{problem}: {chosen}", f"Use one of {', '.join(values)}")
    return chosen
