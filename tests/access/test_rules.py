"""Rules are read as the original reads them, and decide as it decides."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.access.authorizer import ALLOW_ALL, DENY_ALL, Level, Resource
from reference.access.rules import RuleAuthorizer, Rules, RulesError, Syntax, merge, parse, translate
from tests.config.writing import as_hcl

READ, WRITE, LIST = Level.READ, Level.WRITE, Level.LIST
NAMED = ["agent", "event", "key", "node", "query", "service", "session"]


def authorizer(*texts: str, syntax: Syntax = Syntax.CURRENT) -> RuleAuthorizer:
    return RuleAuthorizer(merge(parse(text, syntax) for text in texts), parent=DENY_ALL)


@pytest.mark.parametrize("resource", NAMED)
def test_an_exact_rule_is_about_one_name_and_a_prefix_about_all_that_begin_so(resource: str) -> None:
    exact = authorizer(f'{resource} "web" {{ policy = "read" }}')
    prefix = authorizer(f'{resource}_prefix "web" {{ policy = "write" }}')
    what = Resource(resource)
    assert exact.allows(what, "web", READ)
    assert not exact.allows(what, "web", WRITE)
    assert not exact.allows(what, "web-proxy", READ)
    assert prefix.allows(what, "web", WRITE)
    assert prefix.allows(what, "web-proxy", READ)
    assert not prefix.allows(what, "we", READ)


def test_an_exact_rule_beats_every_prefix_and_the_longest_prefix_the_others() -> None:
    rules = authorizer(
        """
        service_prefix ""       { policy = "read" }
        service_prefix "web"    { policy = "deny" }
        service_prefix "web-ad" { policy = "write" }
        service        "web-a"  { policy = "write" }
        """
    )
    allowed = {
        name: [level for level in (READ, WRITE) if rules.allows(Resource.SERVICE, name, level)]
        for name in ("db", "web", "web-b", "web-a", "web-admin")
    }
    assert allowed == {
        "db": [READ],
        "web": [],
        "web-b": [],
        "web-a": [READ, WRITE],
        "web-admin": [READ, WRITE],
    }


@pytest.mark.parametrize("resource", ["acl", "keyring", "operator"])
def test_what_there_is_one_of_has_no_name(resource: str) -> None:
    rules = authorizer(f'{resource} = "read"')
    assert rules.allows(Resource(resource), "", READ)
    assert not rules.allows(Resource(resource), "", WRITE)
    assert not authorizer(f'{resource} = ""').allows(Resource(resource), "", READ)


@pytest.mark.parametrize(
    ("rule", "reads", "writes"),
    [
        ('policy = "read"', True, False),
        ('policy = "write"', True, False),
        ('policy = "deny"', False, False),
        ('policy = "read" intentions = "write"', True, True),
        ('policy = "write" intentions = "deny"', False, False),
    ],
)
def test_intentions_follow_from_the_rule_for_the_service_unless_it_says_otherwise(
    rule: str, reads: bool, writes: bool
) -> None:
    for text in (f'service "web" {{ {rule} }}', f'service_prefix "w" {{ {rule} }}'):
        rules = authorizer(text)
        assert rules.allows(Resource.INTENTION, "web", READ) is reads
        assert rules.allows(Resource.INTENTION, "web", WRITE) is writes


def test_names_are_equal_regardless_of_case_as_in_the_catalog() -> None:
    """Else a rule about ``web`` would not hold for ``Web``, which is the same service."""
    rules = RuleAuthorizer(
        parse('service "web" { policy = "deny" } key "a" { policy = "deny" } node "N" { policy = "read" }'),
        parent=ALLOW_ALL,
    )
    assert not rules.allows(Resource.SERVICE, "Web", READ)
    assert not rules.allows(Resource.INTENTION, "WEB", READ)
    assert not rules.allows(Resource.NODE, "n", WRITE)
    assert rules.allows(Resource.KEY, "A", READ)


def test_only_keys_can_be_listed() -> None:
    rules = authorizer('key_prefix "" { policy = "list" }')
    assert rules.allows(Resource.KEY, "a", LIST)
    assert not rules.allows(Resource.KEY, "a", WRITE)
    assert not authorizer('key_prefix "" { policy = "read" }').allows(Resource.KEY, "a", LIST)
    with pytest.raises(RulesError, match="Invalid service policy"):
        parse('service "web" { policy = "list" }')


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [("deny", "write", None), ("write", "read", WRITE), ("read", "deny", None), ("read", "read", READ)],
)
def test_where_policies_disagree_deny_wins_over_write_over_read(
    one: str, other: str, level: Level | None
) -> None:
    texts = [f'node "n" {{ policy = "{level}" }}' for level in (one, other)]
    for rules in (authorizer(*texts), authorizer(*reversed(texts)), authorizer("\n".join(texts))):
        assert rules.allows(Resource.NODE, "n", READ) is (level is not None)
        assert rules.allows(Resource.NODE, "n", WRITE) is (level is WRITE)


def test_policies_are_merged_name_by_name_service_and_intentions_apart() -> None:
    rules = authorizer(
        'service "web" { policy = "read" intentions = "write" }', 'service "web" { policy = "write" }'
    )
    assert rules.allows(Resource.SERVICE, "web", WRITE)
    assert rules.allows(Resource.INTENTION, "web", WRITE)


def test_what_no_rule_is_about_is_decided_by_the_default() -> None:
    rules = RuleAuthorizer(parse('service "web" { policy = "deny" }'), parent=ALLOW_ALL)
    assert not rules.allows(Resource.SERVICE, "web", READ)
    assert rules.allows(Resource.SERVICE, "db", WRITE)
    assert not rules.allows(Resource.ACL, "", READ)
    assert rules.allows_by_default


def test_legacy_names_are_prefixes() -> None:
    text = 'service "web" { policy = "write" } operator = "read" acl = "write" service_prefix "x" { policy = "read" }'
    rules = authorizer(text, syntax=Syntax.LEGACY)
    assert rules.allows(Resource.SERVICE, "web-admin", WRITE)
    assert rules.allows(Resource.OPERATOR, "", READ)
    assert not rules.allows(Resource.ACL, "", READ), "legacy rules cannot open access control"
    assert not rules.allows(Resource.SERVICE, "x", READ), "the key means nothing in this syntax"


@pytest.mark.parametrize(
    "text",
    [
        '{"service": {"web": {"policy": "write"}}}',
        '{"service": [{"web": [{"policy": "write"}]}]}',
        'service { "web" { policy = "write" } }',
        'service = { web = { policy = "write" } }',
        '"service" "web" { "policy" = "write", "unknown" = 1 }\nunknown "x" { }',
    ],
)
def test_a_rule_can_be_written_in_many_ways(text: str) -> None:
    assert parse(text) == parse('service "web" { policy = "write" }')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('service "web" { policy = "rite" }', 'Invalid service policy: "web": "rite"'),
        ('service "web" { }', 'Invalid service policy: "web": ""'),
        ('node_prefix "" { policy = 1 }', "Invalid node_prefix policy"),
        ('service "web" { policy = "read" intentions = "x" }', "Invalid service intentions policy"),
        ('operator = "rite"', "Invalid operator policy"),
        ('service = "write"', "Failed to parse ACL rules: service"),
        ('service "web" {', "Failed to parse ACL rules: line 1"),
        ("{", "Failed to parse ACL rules"),
        ("[" * 100_000, "Failed to parse ACL rules"),
    ],
)
def test_what_are_no_rules_is_refused_by_name(text: str, expected: str) -> None:
    with pytest.raises(RulesError) as caught:
        parse(text)
    assert str(caught.value).startswith(expected)


def test_legacy_rules_are_translated_with_everything_around_them() -> None:
    legacy = (
        '# who\nservice "agent" { policy = "write" intentions = "read" } // key\nkey "" {policy="read"}\n'
    )
    current = legacy.replace("service", "service_prefix").replace("\nkey ", "\nkey_prefix ")
    assert translate(legacy) == current
    assert parse(translate(legacy)) == parse(legacy, Syntax.LEGACY)
    with pytest.raises(RulesError, match="Failed to parse rules"):
        translate("service {")


_LEVELS = st.sampled_from(["read", "write", "deny"])
_BODIES = st.fixed_dictionaries({"policy": _LEVELS})
_NAMES = st.text(st.sampled_from("ab-"), max_size=4)
_RULES = st.dictionaries(
    st.sampled_from(NAMED + [f"{name}_prefix" for name in NAMED]),
    st.dictionaries(_NAMES, _BODIES, max_size=3),
    max_size=4,
)


@given(_RULES, st.booleans())
def test_rules_mean_the_same_in_hcl_and_json(
    rules: dict[str, dict[str, dict[str, str]]], blocks: bool
) -> None:
    assert parse(json.dumps(rules)) == parse(as_hcl(rules, blocks=blocks))


@given(st.lists(_RULES, min_size=1, max_size=3), st.permutations(range(3)))
def test_the_order_of_policies_does_not_matter(
    policies: list[dict[str, dict[str, dict[str, str]]]], order: list[int]
) -> None:
    parsed = [parse(json.dumps(rules)) for rules in policies]
    shuffled = [parsed[index] for index in order if index < len(parsed)]
    assert merge(parsed) == merge(shuffled)
    assert merge([*parsed, Rules()]) == merge(parsed)


@given(_RULES, _NAMES, st.sampled_from(NAMED), st.sampled_from([READ, WRITE]))
def test_the_decision_is_that_of_the_most_specific_rule(
    rules: dict[str, dict[str, dict[str, str]]], name: str, resource: str, level: Level
) -> None:
    """Against a second, slower way to say it."""
    exact = rules.get(resource, {}).get(name)
    prefixes = rules.get(f"{resource}_prefix", {})
    longest = max((prefix for prefix in prefixes if name.startswith(prefix)), key=len, default=None)
    rule = exact or (None if longest is None else prefixes[longest]) or {"policy": "deny"}
    decided = RuleAuthorizer(parse(json.dumps(rules)), parent=DENY_ALL).allows(
        Resource(resource), name, level
    )
    assert decided is (rule["policy"] in ("write", str(level)))
