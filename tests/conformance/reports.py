"""Strategies for results and reports: everything that merging and judging depend on varies, the rest does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from conformance.report.model import (
    CheckResult,
    Claim,
    FeatureEntry,
    Measurement,
    Presence,
    Proof,
    ProofResult,
    Report,
    RequirementEntry,
    TargetEntry,
    TimedWait,
    combined,
)
from conformance.report.verdict import Verdict
from conformance.requirements import Feature, Level

#: Other tests load the machine: how long an example takes says nothing here.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

FEATURES = {
    "area/one/01": Feature.CORE,
    "area/one/02": Feature.HARDENING,
    "area/two/01": Feature.CORE,
    "other/one/01": Feature.DISCOVERY,
}

waits = st.builds(
    TimedWait,
    at=st.sampled_from([0.5, 1.0, 1.5]),
    budget=st.sampled_from(["agent_ready", "proxy_stop"]),
    what=st.just("it happens"),
    seconds=st.sampled_from([0.1, 0.2]),
    allowed=st.just(10.0),
    outcome=st.sampled_from(["in time", "late", "never"]),
)
measurements = st.builds(
    Measurement,
    name=st.sampled_from(["rate", "part | <of> it"]),
    value=st.sampled_from([0.25, 3.0]),
    unit=st.sampled_from(["", "Gbit/s"]),
    bound=st.sampled_from(["", "at least 0.2"]),
)
results = st.builds(
    CheckResult,
    requirement=st.sampled_from(sorted(FEATURES)),
    name=st.sampled_from(["check_a", "check_b"]),
    verdict=st.sampled_from(Verdict),
    reason=st.text(max_size=5),
    seconds=st.floats(0, 100),
    cpu=st.floats(0, 100),
    history=st.sampled_from(["", "history/a.jsonl"]),
    version=st.sampled_from(["", "1.4.3", "1.5.0"]),
    expected=st.sampled_from(["", "it is old"]),
    repetition=st.sampled_from([1, 2]),
    text=st.sampled_from(["", "Do <this> & that | see."]),
    waits=st.lists(waits, max_size=2).map(tuple),
    measurements=st.lists(measurements, max_size=2).map(tuple),
)
FEATURE_ENTRIES = (
    FeatureEntry(feature=Feature.CORE, claim=Claim.DECLARED, presence=Presence.UNKNOWN),
    FeatureEntry(
        feature=Feature.SIDECAR, claim=Claim.DECLARED, presence=Presence.ABSENT, seen="there is <none>"
    ),
    FeatureEntry(
        feature=Feature.DISCOVERY, claim=Claim.EXEMPT, presence=Presence.PRESENT, seen="there | it is"
    ),
    FeatureEntry(feature=Feature.HARDENING, claim=Claim.UNDECLARED, presence=Presence.UNKNOWN),
)
_TARGET = TargetEntry(
    name="process",
    command=("/usr/bin/agent", "agent"),
    features=FEATURE_ENTRIES,
    unprivileged="the user who runs the suite",
    root="none: this machine permits neither",
)


WORKING = tuple(
    Proof(name=name, result=ProofResult.WORKS, detail="so it is")
    for name in ("canary", "honesty probe", "double run")
)
instruments = st.one_of(
    st.just(WORKING),
    st.lists(
        st.builds(
            Proof,
            name=st.sampled_from([proof.name for proof in WORKING]),
            result=st.sampled_from(ProofResult),
            detail=st.sampled_from(["", "a | b <c>"]),
        ),
        max_size=3,
        unique_by=lambda proof: proof.name,
    ).map(tuple),
)


def reports_of(results: st.SearchStrategy[CheckResult]) -> st.SearchStrategy[Report]:
    """Reports with at least one of these results."""
    return st.builds(
        Report,
        suite=st.just("0.1.0"),
        started=st.just("2026-01-01T00:00:00+00:00"),
        seconds=st.floats(0, 1000),
        interrupted=st.booleans(),
        broken=st.lists(st.text(max_size=5), max_size=1).map(tuple),
        time_scale=st.just(1.0),
        selection=st.sampled_from([(), ("area",)]),
        target=st.just(_TARGET),
        requirements=st.frozensets(st.sampled_from(sorted(FEATURES))).map(_requirements),
        checks=st.lists(results, min_size=1, max_size=5).map(combined),
        instrument=instruments,
    )


def _requirements(selected: frozenset[str]) -> tuple[RequirementEntry, ...]:
    return tuple(
        RequirementEntry(
            id=identifier,
            level=Level.MUST,
            text="It does.",
            source="hardening",
            feature=feature,
            selected=identifier in selected,
        )
        for identifier, feature in FEATURES.items()
    )


reports = reports_of(results)


def report_of(*checks: CheckResult, **changes: Any) -> Report:
    """The report of a run that came to its end in ten seconds, and is good but for these results and changes."""
    good = Report(
        suite="0.1.0",
        started="2026-01-01T00:00:00+00:00",
        seconds=10.0,
        interrupted=False,
        broken=(),
        time_scale=1.0,
        selection=(),
        target=_TARGET,
        requirements=_requirements(frozenset(FEATURES)),
        checks=checks,
        instrument=WORKING,
    )
    return replace(good, **changes)
