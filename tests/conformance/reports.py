"""Strategies for results and reports: everything that merging and judging depend on varies, the rest does not."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from conformance.report.model import CheckResult, Report, RequirementEntry, TargetEntry, TimedWait, combined
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
results = st.builds(
    CheckResult,
    requirement=st.sampled_from(sorted(FEATURES)),
    name=st.sampled_from(["check_a", "check_b"]),
    verdict=st.sampled_from(Verdict),
    reason=st.text(max_size=5),
    seconds=st.floats(0, 100),
    history=st.sampled_from(["", "history/a.jsonl"]),
    version=st.sampled_from(["", "1.4.3", "1.5.0"]),
    waits=st.lists(waits, max_size=2).map(tuple),
)
_TARGET = TargetEntry(
    name="process",
    command=("/usr/bin/agent", "agent"),
    features=tuple(sorted(Feature)),
    unprivileged="the user who runs the suite",
    root="none: this machine permits neither",
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
    )


def _requirements(selected: frozenset[str]) -> tuple[RequirementEntry, ...]:
    return tuple(
        RequirementEntry(
            id=identifier, level=Level.MUST, text="It does.", feature=feature, selected=identifier in selected
        )
        for identifier, feature in FEATURES.items()
    )


reports = reports_of(results)
