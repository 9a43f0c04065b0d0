"""The report of one run as data: what was judged, how, and what came of it.

:class:`Report` is what ``report.json`` holds (:func:`encode`, :func:`decode`). Results that depend on others, such as
the verdict of a requirement, are computed and never stored twice in memory; the file carries them for its readers,
and :func:`decode` refuses a file whose summary contradicts its results, or that was cut short.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from conformance.report.verdict import PROFILES, ProfileResult, Verdict, judge, merge
from conformance.requirements import Feature, Level

SCHEMA = "proxyproof/report/1"


class ReportError(Exception):
    """A report file cannot be believed; the message says why."""


@dataclass(frozen=True, kw_only=True, order=True)
class TimedWait:
    """One wait of a check, begun ``at`` so many seconds after the check; ``allowed`` is the budget, in seconds.

    ``outcome`` is ``in time``, ``late`` or ``never`` of a thing awaited, ``held`` or ``broken`` of one watched.
    """

    at: float
    budget: str
    what: str
    seconds: float
    allowed: float
    outcome: str


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check came to. ``reason`` tells why it is not a pass; ``history`` is a path inside the report."""

    requirement: str
    name: str
    verdict: Verdict = Verdict.UNKNOWN
    reason: str = ""
    seconds: float = 0.0
    history: str = ""
    version: str = ""
    waits: tuple[TimedWait, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Requirement and name: unique in a report."""
        return (self.requirement, self.name)

    def merged(self, other: CheckResult) -> CheckResult:
        """This and another result of the same check: the worse one's account, the longer time, all waits."""
        worse = max(self, other, key=lambda result: (result.verdict, result.reason, result.history))
        return replace(
            worse,
            seconds=max(self.seconds, other.seconds),
            waits=tuple(sorted({*self.waits, *other.waits})),
            version=max(self.version, other.version),
        )


@dataclass(frozen=True, kw_only=True)
class RequirementEntry:
    """The part of a requirement that a report repeats, so that it can be read by itself."""

    id: str
    level: Level
    text: str
    feature: Feature
    selected: bool = True


@dataclass(frozen=True, kw_only=True)
class TargetEntry:
    """What was judged and as whom it ran; ``unprivileged`` and ``root`` are ways, or the reason for none."""

    name: str
    command: tuple[str, ...]
    features: tuple[Feature, ...]
    unprivileged: str
    root: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """One run. ``requirements`` is the whole register; ``checks`` has every selected check, run or not."""

    suite: str
    started: str
    seconds: float
    interrupted: bool
    broken: tuple[str, ...]
    time_scale: float
    selection: tuple[str, ...]
    target: TargetEntry
    requirements: tuple[RequirementEntry, ...]
    checks: tuple[CheckResult, ...]

    @cached_property
    def verdicts(self) -> Mapping[str, Verdict]:
        """The verdict of every requirement, the worst of its checks'."""
        found: defaultdict[str, list[Verdict]] = defaultdict(list)
        for check in self.checks:
            found[check.requirement].append(check.verdict)
        return {entry.id: merge(found[entry.id]) for entry in self.requirements}

    @cached_property
    def profiles(self) -> Mapping[str, ProfileResult]:
        """The result of every profile, over the checks that were selected."""
        features = {entry.id: entry.feature for entry in self.requirements}
        return {
            name: judge(check.verdict for check in self.checks if features[check.requirement] in members)
            for name, members in PROFILES.items()
        }

    @cached_property
    def untested(self) -> tuple[RequirementEntry, ...]:
        """The selected requirements that no check proves: published, never hidden."""
        tested = {check.requirement for check in self.checks}
        return tuple(entry for entry in self.requirements if entry.selected and entry.id not in tested)

    @property
    def versions(self) -> tuple[str, ...]:
        """What agents said of their version."""
        return tuple(sorted({check.version for check in self.checks if check.version}))

    @property
    def counts(self) -> Mapping[str, int]:
        """How many checks came to each verdict."""
        return {verdict.word: sum(check.verdict is verdict for check in self.checks) for verdict in Verdict}

    @property
    def exit_code(self) -> int:
        """0 conforms, 1 does not, 3 the suite broke, 130 the run was interrupted."""
        if self.interrupted:
            return 130
        worst = merge(check.verdict for check in self.checks)
        if (
            self.broken
            or worst is Verdict.ERROR
            or any(check.verdict is Verdict.UNKNOWN for check in self.checks)
        ):
            return 3
        return 1 if worst is Verdict.FAIL else 0


def combined(results: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    """One result for each check, sorted: however often and in whatever order the parts came in."""
    merged: dict[tuple[str, str], CheckResult] = {}
    for result in results:
        merged[result.key] = merged.get(result.key, result).merged(result)
    return tuple(merged[key] for key in sorted(merged))


def encode(report: Report) -> str:
    """The text of ``report.json``. Its last key, ``complete``, is what a truncated file lacks."""
    body = asdict(report)
    for check, result in zip(body["checks"], report.checks, strict=True):
        check["verdict"] = result.verdict.word
    for requirement in body["requirements"]:
        requirement["verdict"] = report.verdicts[requirement["id"]].word
    document = {
        "schema": SCHEMA,
        "summary": _summary(report),
        **body,
        "complete": True,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def decode(text: str) -> Report:
    """A report from its file. Raises :class:`ReportError` when it is truncated, foreign or contradicts itself."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ReportError(f"the report is truncated or no JSON: {error}") from error
    if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
        raise ReportError(f"this is no report of the schema {SCHEMA}")
    if document.pop("complete", None) is not True:
        raise ReportError("the report does not say that it is complete")
    summary = document.pop("summary", None)
    try:
        report = _report(document)
        told = {entry["id"]: entry["verdict"] for entry in document["requirements"]}
        computed = {identifier: verdict.word for identifier, verdict in report.verdicts.items()}
        consistent = summary == _summary(report) and told == computed
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"the report lacks or misspells a field: {error}") from error
    if not consistent:
        raise ReportError("the summary of the report contradicts its results")
    return report


def _summary(report: Report) -> dict[str, Any]:
    return {
        "exit_code": report.exit_code,
        "profiles": {name: result.value for name, result in report.profiles.items()},
        "checks": dict(report.counts),
        "untested": [entry.id for entry in report.untested],
        "versions": list(report.versions),
    }


def _report(document: Mapping[str, Any]) -> Report:
    fields = dict(document)
    target = dict(fields.pop("target"))
    return Report(
        target=TargetEntry(
            **{
                **target,
                "command": tuple(target["command"]),
                "features": tuple(Feature(name) for name in target["features"]),
            }
        ),
        requirements=tuple(_requirement(entry) for entry in fields.pop("requirements")),
        checks=tuple(decode_check(entry) for entry in fields.pop("checks")),
        selection=tuple(fields.pop("selection")),
        broken=tuple(fields.pop("broken")),
        **fields,
    )


def _requirement(entry: Mapping[str, Any]) -> RequirementEntry:
    fields = {name: value for name, value in entry.items() if name != "verdict"}
    return RequirementEntry(
        **{**fields, "level": Level(entry["level"]), "feature": Feature(entry["feature"])}
    )


def decode_check(entry: Mapping[str, Any]) -> CheckResult:
    """A result from its JSON fields, as workers and files carry it."""
    return CheckResult(
        **{
            **entry,
            "verdict": Verdict[entry["verdict"].upper()],
            "waits": tuple(TimedWait(**wait) for wait in entry["waits"]),
        }
    )
