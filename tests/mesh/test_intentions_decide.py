"""Which intention decides about a connection, and which texts are no intention."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.access.control import AccessControl
from reference.mesh.authorize import authorize
from reference.mesh.intentions import (
    WILDCARD,
    Intention,
    IntentionError,
    Intentions,
    Party,
    Rule,
    Side,
    check_id,
    describe_problems,
)

NOW = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)

#: Few names, so that rules meet; ``Web`` is ``web`` in another case.
SERVICES = ("web", "Web", "db", "redis")
parties = st.one_of(
    st.builds(Party, st.sampled_from(SERVICES), st.sampled_from(("default", "other"))),
    st.builds(Party, st.just(WILDCARD), st.sampled_from(("default", "other"))),
    st.just(Party(WILDCARD, WILDCARD)),
)
exact_parties = st.builds(Party, st.sampled_from(SERVICES), st.sampled_from(("default", "other")))
rules = st.builds(Rule, source=parties, destination=parties, action=st.sampled_from(("allow", "deny")))
rule_lists = st.lists(rules, max_size=12, unique_by=lambda rule: rule.pair)


def intention(rule: Rule, number: int = 0) -> Intention:
    return Intention(
        id=f"{number:08}-0000-4000-8000-000000000000",
        rule=rule,
        created=1,
        modified=1,
        created_at=NOW,
        updated_at=NOW,
    )


def collected(made: Sequence[Intention]) -> Intentions:
    intentions = Intentions()
    for each in made:
        intentions.put(each)
    return intentions


def rule(source: str, destination: str, action: str = "deny") -> Rule:
    """``ns/name`` or ``name`` for both."""
    ends = [Party(*reversed(end.split("/"))) for end in (source, destination)]
    return Rule(source=ends[0], destination=ends[1], action=action)


@pytest.mark.parametrize(
    ("source", "destination", "precedence"),
    [
        ("a", "b", 9),
        ("*", "b", 8),
        ("*/*", "b", 7),
        ("a", "*", 6),
        ("*", "*", 5),
        ("*/*", "*", 4),
        ("a", "*/*", 3),
        ("*", "*/*", 2),
        ("*/*", "*/*", 1),
    ],
)
def test_precedence_is_the_originals(source: str, destination: str, precedence: int) -> None:
    """MP-IXN-004."""
    assert rule(source, destination).precedence == precedence


@settings(deadline=None)
@given(made=rule_lists, source=exact_parties, destination=exact_parties, data=st.data())
def test_the_order_in_which_rules_are_made_does_not_matter(
    made: list[Rule], source: Party, destination: Party, data: st.DataObject
) -> None:
    first = [intention(each, number) for number, each in enumerate(made)]
    other = data.draw(st.permutations(first))

    assert list(collected(first)) == list(collected(other))
    for side in Side:
        assert collected(first).matching(side, source) == collected(other).matching(side, source)
    decided = [collected(each).deciding(source=source, destination=destination) for each in (first, other)]
    assert decided[0] == decided[1]


@settings(deadline=None)
@given(made=rule_lists, source=exact_parties, destination=exact_parties)
def test_the_first_match_of_the_destination_that_covers_the_source_decides(
    made: list[Rule], source: Party, destination: Party
) -> None:
    """MP-INT-020, said the slow way."""
    intentions = collected([intention(each, number) for number, each in enumerate(made)])
    matches = intentions.matching(Side.DESTINATION, destination)
    covering = [each for each in matches if each.rule.source.folded in source.covered_by()]
    assert intentions.deciding(source=source, destination=destination) == next(iter(covering), None)


@settings(deadline=None)
@given(made=rule_lists, source=exact_parties, destination=exact_parties, allowed=st.booleans())
def test_an_exact_rule_beats_every_other(
    made: list[Rule], source: Party, destination: Party, allowed: bool
) -> None:
    exact = Rule(source=source, destination=destination, action="allow" if allowed else "deny")
    others = [each for each in made if each.pair != exact.pair]
    intentions = collected([intention(each, number) for number, each in enumerate([*others, exact])])
    decisive = intentions.deciding(source=source, destination=destination)
    assert decisive is not None
    assert decisive.allows == allowed


@settings(deadline=None)
@given(made=rule_lists, data=st.data())
def test_a_removed_rule_leaves_no_trace(made: list[Rule], data: st.DataObject) -> None:
    gone = data.draw(st.lists(st.booleans(), min_size=len(made), max_size=len(made)))
    every = [intention(each, number) for number, each in enumerate(made)]
    intentions = collected(every)
    for each, goes in zip(every, gone, strict=True):
        if goes:
            intentions.remove(each.id)
    assert list(intentions) == list(
        collected([each for each, goes in zip(every, gone, strict=True) if not goes])
    )
    for each, goes in zip(every, gone, strict=True):
        if goes:
            intentions.check_free(each.rule)


def test_lists_are_ordered_by_precedence_and_then_by_name() -> None:
    """MP-IXN-005."""
    ordered = [rule("a", "x"), rule("a", "y"), rule("b", "x"), rule("*", "x"), rule("a", "*"), rule("*", "*")]
    intentions = collected([intention(each, number) for number, each in enumerate(reversed(ordered))])
    assert [each.rule for each in intentions] == ordered


def test_names_differ_in_more_than_case() -> None:
    """A rule that nobody can add a second time must not be passed by in another spelling."""
    intentions = collected([intention(rule("Web", "Redis"))])
    assert intentions.deciding(source=Party("web"), destination=Party("REDIS")) is not None
    with pytest.raises(
        IntentionError, match=r"^duplicate intention found: DENY default/Web => default/Redis"
    ):
        intentions.put(intention(rule("web", "redis", "allow"), 1))


def test_a_changed_rule_frees_its_former_pair() -> None:
    intentions = collected([intention(rule("a", "b"))])
    intentions.put(intention(rule("a", "c")))
    intentions.put(intention(rule("a", "b"), 1))
    assert [each.rule.destination.name for each in intentions] == ["b", "c"]


@pytest.mark.parametrize(
    ("wrong", "problems"),
    [
        (rule("fo*", "web", ""), ["SourceName: wildcard character '*' cannot be used with partial values"]),
        (rule("", "", "deny"), ["SourceName must be set", "DestinationName must be set"]),
        (rule("*/a", "*/b", "deny"), ["SourceName: exact value cannot follow wildcard namespace"]),
        (rule("d*/a", "b", "deny"), ["SourceNS: wildcard character '*' cannot be used with partial values"]),
        (rule("a", "b", "Deny"), ["Action must be set to 'allow' or 'deny'"]),
    ],
)
def test_problems_are_said_in_the_originals_words(wrong: Rule, problems: list[str]) -> None:
    """MP-IXN-002."""
    assert set(problems) <= set(wrong.problems())


def test_limits_of_what_is_kept_count_bytes() -> None:
    party = Party("a")
    fits = Rule(
        source=party,
        destination=party,
        action="deny",
        description="ä" * 256,
        meta={"k" * 128: "v" * 512, **{str(number): "" for number in range(63)}},
    )
    assert fits.problems() == []
    too_much = Rule(
        source=party,
        destination=party,
        action="deny",
        source_type="vault",
        description="ä" * 257,
        meta={"k" * 129: "v" * 513, **{str(number): "" for number in range(64)}},
    )
    assert describe_problems(too_much.problems()) == (
        "5 error(s) occurred:\n\n"
        "* Description exceeds maximum length 512\n"
        "* Meta exceeds maximum element count 64\n"
        f'* Meta key "{"k" * 129}" exceeds maximum length 128\n'
        f'* Meta value for key "{"k" * 129}" exceeds maximum length 512\n'
        "* SourceType must be set to 'consul'"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("abc", "UUID must be 36 characters"),
        ("1" * 37, "UUID must be 36 characters"),
        ("11111111-1111-1111-1111-1111-111111-", 'UUID should have maximum of 4 "-"; got 6'),
        ("1111111-11111-1111-1111-11111111111z", "Invalid UUID: encoding/hex: invalid byte: U\\+007A 'z'"),
    ],
)
def test_what_is_no_id(text: str, problem: str) -> None:
    """MP-IXN-006."""
    with pytest.raises(IntentionError, match=problem):
        check_id(text)


@pytest.mark.parametrize(("action", "shown"), [("deny", "DENY"), ("allow", "ALLOW")])
def test_the_reason_names_the_intention(action: str, shown: str) -> None:
    """MP-INT-020."""
    intentions = collected([intention(rule("foo", "web", action))])
    decision = authorize(
        target="web",
        client_uri="spiffe://x.consul/ns/default/dc/dc1/svc/foo",
        intentions=intentions,
        access=AccessControl(),
    )
    assert decision.authorized == (action == "allow")
    assert decision.reason == (
        f"Matched intention: {shown} default/foo => default/web "
        "(ID: 00000000-0000-4000-8000-000000000000, Precedence: 9)"
    )


@settings(deadline=None)
@given(made=rule_lists, name=st.text(min_size=1))
def test_a_peer_cannot_be_a_wildcard(made: list[Rule], name: str) -> None:
    """Whatever a certificate says, it is never taken for more than one service."""
    intentions = collected([intention(each, number) for number, each in enumerate(made)])
    decisive = intentions.deciding(source=Party(name), destination=Party("web"))
    if decisive is not None:
        who = decisive.rule.source
        assert WILDCARD in (who.name, who.namespace) or who.name.lower() == name.lower()
