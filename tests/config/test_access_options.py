"""Access control is switched on and told what to do by options of two families, which mean the same."""

from __future__ import annotations

from typing import Any

import pytest

from reference.config.model import AccessOptions, AgentTokens
from tests.config.writing import load_fragment

TOKENS = AgentTokens(default="d", agent="a", agent_master="am", replication="r")
OF_1_4 = {
    "acl": {
        "enabled": True,
        "default_policy": "deny",
        "down_policy": "extend-cache",
        "token_ttl": "30s",
        "policy_ttl": "30s",
        "tokens": {"master": "m", "default": "d", "agent": "a", "agent_master": "am", "replication": "r"},
    }
}
OF_1_3 = {
    "acl_datacenter": "dc1",
    "acl_default_policy": "deny",
    "acl_down_policy": "extend-cache",
    "acl_ttl": "30s",
    "acl_master_token": "m",
    "acl_token": "d",
    "acl_agent_token": "a",
    "acl_agent_master_token": "am",
    "acl_replication_token": "r",
}


def access(fragment: dict[str, Any]) -> AccessOptions:
    return load_fragment(fragment).config.access


@pytest.mark.parametrize("fragment", [OF_1_4, OF_1_3], ids=["1.4", "1.3"])
def test_both_families_of_options_mean_the_same(fragment: dict[str, Any]) -> None:
    assert access(fragment) == AccessOptions(
        enabled=True, allows_by_default=False, master="m", tokens=TOKENS, keeps_tokens=False
    )


def test_without_options_it_is_off() -> None:
    assert access({}) == AccessOptions()


def test_the_newer_option_counts_where_both_are_given() -> None:
    both = access({**OF_1_3, "acl": {"default_policy": "allow", "tokens": {"agent": "newer", "default": ""}}})
    assert both.allows_by_default
    assert both.tokens.agent == "newer"
    assert both.tokens.default == ""
    assert both.tokens.agent_master == "am"


def test_a_datacenter_of_rules_switches_it_on_unless_another_option_says_no() -> None:
    assert access({"acl_datacenter": "DC1"}).enabled
    assert not access({"acl_datacenter": "dc9", "acl": {"enabled": False}}).enabled


def test_options_of_access_control_that_is_off_are_named_as_without_effect() -> None:
    """Above all a default policy of deny: whoever sets it believes that the doors are closed."""
    off = load_fragment({"acl": {"default_policy": "deny", "tokens": {"agent": "a"}}, "acl_token": "x"})
    assert off.ignored == ("acl.default_policy", "acl.tokens.agent", "acl_token")
    on = load_fragment({"acl": {"enabled": True, "default_policy": "deny", "down_policy": "deny"}})
    assert on.ignored == ("acl.down_policy",)


def test_tokens_are_not_shown() -> None:
    shown = repr(load_fragment(OF_1_4).config)
    assert "'am'" not in shown
    assert "'m'" not in shown
