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
from enum import StrEnum
from functools import cached_property
from typing import Any

from conformance.report.verdict import PROFILES, ProfileResult, Verdict, judge, merge
from conformance.requirements import Feature, Level
from conformance.schemas import components

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

    @property
    def share(self) -> float:
        """The part of its budget that it took."""
        return self.seconds / self.allowed if self.allowed else 0.0


@dataclass(frozen=True, kw_only=True, order=True)
class Measurement:
    """A figure that a check took; ``bound`` is what it was judged by, in words, and empty where it only informs."""

    name: str
    value: float
    unit: str
    bound: str = ""

    @property
    def words(self) -> str:
        """The figure with its unit and bound, for people."""
        return (
            f"{self.value:.3g}"
            + (f" {self.unit}" if self.unit else "")
            + (f" ({self.bound})" if self.bound else "")
        )


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check came to. ``reason`` tells why it is not a pass; ``history`` is a path inside the report.

    ``seconds`` is what it took by the clock, ``cpu`` what it took of processors: its own work, and that of every
    process that it started.

    ``text`` is what is published of the check: stimulus, expectation, source. ``expected`` says why a failure is a
    known one: then it does not count against the implementation. A check that is run several times has a result for
    each ``repetition``, from 1.
    """

    requirement: str
    name: str
    verdict: Verdict = Verdict.UNKNOWN
    reason: str = ""
    seconds: float = 0.0
    cpu: float = 0.0
    history: str = ""
    version: str = ""
    waits: tuple[TimedWait, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    expected: str = ""
    text: str = ""
    repetition: int = 1

    @property
    def key(self) -> tuple[str, str, int]:
        """Requirement, name and repetition: unique in a report."""
        return (self.requirement, self.name, self.repetition)

    @property
    def waited(self) -> float:
        """How many of its seconds it waited for things to happen, or watched that they do not."""
        return sum(wait.seconds for wait in self.waits)

    @property
    def title(self) -> str:
        """The name, with the number of a repetition that is not the first."""
        return titled(self.name, self.repetition)

    @property
    def counted(self) -> Verdict:
        """The verdict as exit code and profiles count it: what is known to fail was not shown to work."""
        return Verdict.SKIP if self.expected and self.verdict is Verdict.FAIL else self.verdict

    def merged(self, other: CheckResult) -> CheckResult:
        """This and another result of the same check: the worse one's account, the longer time, all that was timed."""
        worse = max(
            self, other, key=lambda result: (result.verdict, result.reason, result.history, result.expected)
        )
        return replace(
            worse,
            seconds=max(self.seconds, other.seconds),
            cpu=max(self.cpu, other.cpu),
            waits=tuple(sorted({*self.waits, *other.waits})),
            measurements=tuple(sorted({*self.measurements, *other.measurements})),
            version=max(self.version, other.version),
            text=max(self.text, other.text),
        )


class ProofResult(StrEnum):
    """What came of proving that a part of the instrument works."""

    WORKS = "works"
    BROKEN = "broken"
    UNAVAILABLE = "not available"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One proof that the instrument works; see :mod:`conformance.instrument`."""

    name: str
    result: ProofResult
    detail: str


#: The proofs without which no run is a success.
INDISPENSABLE = frozenset({"canary", "honesty probe"})


@dataclass(frozen=True, kw_only=True)
class RequirementEntry:
    """The part of a requirement that a report repeats, so that it can be read by itself."""

    id: str
    level: Level
    text: str
    source: str
    feature: Feature
    selected: bool = True

    @property
    def area(self) -> str:
        """The first part of the id."""
        return self.id.partition("/")[0]


class Claim(StrEnum):
    """Whether the implementation is asked for a feature: only where it is ``declared``.

    The operator made it ``exempt``, the target has it ``not declared``, or a probe that was to decide has ``not
    detected`` it.
    """

    DECLARED = "declared"
    EXEMPT = "exempt"
    UNDECLARED = "not declared"
    UNDETECTED = "not detected"


class Presence(StrEnum):
    """What a probe finds; ``not probed`` where there is none for the feature, or nothing to learn from it."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "not probed"


@dataclass(frozen=True, kw_only=True)
class FeatureEntry:
    """What became of one feature; ``seen`` is what the probe saw."""

    feature: Feature
    claim: Claim
    presence: Presence
    seen: str = ""

    @property
    def unclaimed(self) -> str:
        """Why the implementation is not asked for it; empty when it is."""
        return {
            Claim.DECLARED: "",
            Claim.EXEMPT: f"{self.feature} is exempt: the operator does not claim it",
            Claim.UNDECLARED: f"the target does not claim {self.feature}",
            Claim.UNDETECTED: f"{self.feature} is not claimed, for it was not detected: {self.seen}",
        }[self.claim]

    @property
    def contradiction(self) -> str:
        """Where claim and probe differ, the remedy for it; else nothing."""
        if self.claim is Claim.DECLARED and self.presence is Presence.ABSENT:
            return f"its checks fail, unless --exempt-features {self.feature} says that it is not meant to be there"
        if self.claim in (Claim.EXEMPT, Claim.UNDECLARED) and self.presence is Presence.PRESENT:
            return "it could be judged"
        return ""


@dataclass(frozen=True, kw_only=True)
class TargetEntry:
    """What was judged and as whom it ran; ``unprivileged`` and ``root`` are ways, or the reason for none."""

    name: str
    command: tuple[str, ...]
    features: tuple[FeatureEntry, ...]
    unprivileged: str
    root: str

    @property
    def claimed(self) -> tuple[Feature, ...]:
        """The features that it is asked for."""
        return tuple(entry.feature for entry in self.features if entry.claim is Claim.DECLARED)


@dataclass(frozen=True, kw_only=True)
class Report:
    """One run. ``requirements`` is the whole register; ``checks`` has every selected check, run or not.

    ``random_order`` is the seed of the order in which the checks began, None for that in which they are written,
    with those that take long at the head.
    ``instrument`` proves that the suite itself worked; without that nothing in the report is a success.
    """

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
    random_order: int | None = None
    instrument: tuple[Proof, ...] = ()

    @property
    def is_proven(self) -> bool:
        """Whether the instrument was seen to work."""
        works = {proof.name for proof in self.instrument if proof.result is ProofResult.WORKS}
        return works >= INDISPENSABLE and all(
            proof.result is not ProofResult.BROKEN for proof in self.instrument
        )

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
        judged = {
            name: judge(check.counted for check in self.checks if features[check.requirement] in members)
            for name, members in PROFILES.items()
        }
        if self.is_proven:
            return judged
        unproven = {ProfileResult.SUCCESS: ProfileResult.PARTIAL}
        return {name: unproven.get(result, result) for name, result in judged.items()}

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
    def expected_failures(self) -> int:
        """How many failures are known ones."""
        return sum(bool(check.expected) for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0 conforms, 1 does not, 3 the suite broke, 130 the run was interrupted."""
        if self.interrupted:
            return 130
        worst = merge(check.counted for check in self.checks)
        if (
            self.broken
            or not self.is_proven
            or worst is Verdict.ERROR
            or any(check.verdict is Verdict.UNKNOWN for check in self.checks)
        ):
            return 3
        return 1 if worst is Verdict.FAIL else 0


def titled(name: str, repetition: int) -> str:
    """What people call a repetition of a check."""
    return name if repetition == 1 else f"{name} #{repetition}"


def combined(results: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    """One result for each check, sorted: however often and in whatever order the parts came in."""
    merged: dict[tuple[str, str, int], CheckResult] = {}
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


def schema() -> str:
    """The JSON Schema of ``report.json``, drawn from the types of this module."""
    (reference,), definitions = components([Report])
    assert reference == {"$ref": "#/$defs/Report"}
    words = {"enum": [verdict.word for verdict in Verdict]}
    report, check, requirement = (definitions[name] for name in ("Report", "CheckResult", "RequirementEntry"))
    # In the file a verdict is a word, and what follows from the results stands beside them.
    check["properties"]["verdict"] = words
    requirement["properties"]["verdict"] = words
    del definitions["Verdict"]
    for name in (
        "Report",
        "CheckResult",
        "RequirementEntry",
        "TargetEntry",
        "FeatureEntry",
        "TimedWait",
        "Measurement",
        "Proof",
    ):
        definitions[name]["required"] = list(definitions[name]["properties"])
    summary = {
        "exit_code": {"enum": [0, 1, 3, 130]},
        "profiles": {"type": "object", "additionalProperties": {"enum": [*ProfileResult]}},
        "checks": {"type": "object", "additionalProperties": {"type": "integer"}},
        "expected_failures": {"type": "integer"},
        "untested": {"type": "array", "items": {"type": "string"}},
        "versions": {"type": "array", "items": {"type": "string"}},
    }
    envelope = {
        "schema": {"const": SCHEMA},
        "summary": {"type": "object", "properties": summary, "required": list(summary)},
        "complete": {"const": True},
    }
    report["properties"] = {**envelope, **report["properties"]}
    report["required"] = list(report["properties"])
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{SCHEMA}: report.json",
        **reference,
        "$defs": definitions,
    }
    return json.dumps(document, indent=1) + "\n"


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
        "expected_failures": report.expected_failures,
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
                "features": tuple(map(_feature, target["features"])),
            }
        ),
        requirements=tuple(_requirement(entry) for entry in fields.pop("requirements")),
        checks=tuple(decode_check(entry) for entry in fields.pop("checks")),
        selection=tuple(fields.pop("selection")),
        broken=tuple(fields.pop("broken")),
        instrument=tuple(
            Proof(**{**proof, "result": ProofResult(proof["result"])}) for proof in fields.pop("instrument")
        ),
        **fields,
    )


def _feature(entry: Mapping[str, Any]) -> FeatureEntry:
    return FeatureEntry(
        feature=Feature(entry["feature"]),
        claim=Claim(entry["claim"]),
        presence=Presence(entry["presence"]),
        seen=entry["seen"],
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
            "measurements": tuple(Measurement(**figure) for figure in entry.get("measurements", ())),
        }
    )
