"""``proxyproof simulate``: tells stories of the simulated world; one that breaks a rule is made short and printed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from reference.cli.flags import Flag, Parsed, UsageError, boolean, describe, parse, text
from reference.supervisor.simulation import timeline
from reference.supervisor.simulation.rules import RULES
from reference.supervisor.simulation.safeguards import ABLATIONS, Safeguard
from reference.supervisor.simulation.schedule import Schedule, ScheduleError
from reference.supervisor.simulation.schedule import parse as parse_schedule
from reference.supervisor.simulation.seeds import generate
from reference.supervisor.simulation.shrink import shrink
from reference.supervisor.simulation.story import Outcome, play

_HOURS, _PACE = 0.5, 8.0


def seeds(raw: str) -> range:
    """``17`` is one seed, ``0..999`` a range with both ends. Raises :class:`ValueError`."""
    found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", raw, re.ASCII)
    if found is None:
        raise ValueError(raw)
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise ValueError(raw)
    return range(first, last + 1)


def positive(raw: str) -> float:
    """A positive number, below a hundred years of hours. Raises :class:`ValueError`."""
    value = float(raw)
    if not (0.0 < value < 24 * 366 * 100 and math.isfinite(value)):
        raise ValueError(raw)
    return value


_TABLE = (
    Flag(name="seeds", help="One seed, or a range such as 0..999; 0..99 if not given.", read=seeds),
    Flag(name="hours", help=f"Virtual hours of each story; {_HOURS:g} if not given.", read=positive),
    Flag(
        name="pace",
        help=f"Virtual seconds between two deeds, on average; {_PACE:g} if not given.",
        read=positive,
    ),
    Flag(
        name="ablate",
        help="A safeguard to switch off; -list-safeguards tells which there are.",
        read=Safeguard,
        repeatable=True,
    ),
    Flag(name="canary", help="Break a rule on purpose in each story: every seed must fail.", read=boolean),
    Flag(name="schedule", help="Play the schedule in this file instead of those of seeds.", read=text),
    Flag(name="trace", help="Write the trace of the last story to this file.", read=text),
    Flag(name="html", help="Draw the last story, made short if it broke a rule, to this file.", read=text),
    Flag(name="list-safeguards", help="Tell which safeguards there are, and which rules.", read=boolean),
)

HELP = f"""Usage: proxyproof simulate [options]

Runs the supervisor on simulated machines, with accidents, and checks its rules at every step. Ends with the first
story that breaks one: exit code 1, with the command that tells it again and the story in short.

{describe(_TABLE)}"""


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """A story that was told, and the command that tells it again."""

    outcome: Outcome
    again: str


def main(arguments: Sequence[str]) -> int:
    """Return 0 when no story breaks a rule, 1 when one does. Raises :class:`UsageError`."""
    parsed = parse(arguments, _TABLE)
    if parsed.rest:
        raise UsageError(f"simulate takes flags only, not {parsed.rest[0]}")
    if parsed.last("list-safeguards", False):
        print(_safeguards())
        return 0
    without = frozenset[Safeguard](parsed.all("ablate"))
    stories = _from_file(parsed) if parsed.last("schedule") else _from_seeds(parsed)
    count = faults = 0
    told: _Told | None = None
    for schedule, again in stories:
        told = _Told(outcome=play(schedule, without=without), again=again + _options(parsed))
        count, faults = count + 1, faults + schedule.faults
        if told.outcome.rule:
            break
    assert told is not None
    _write(parsed.last("trace"), "\n".join(told.outcome.chronicle.lines) + "\n", flag="trace")
    if told.outcome.rule:
        return _broken(told, without, html=parsed.last("html"))
    _write(
        parsed.last("html"),
        timeline.page(told.outcome.chronicle, title="A story", again=told.again),
        flag="html",
    )
    stories_told = "1 story" if count == 1 else f"{count} stories"
    print(f"{stories_told}, {faults} accidents, no rule broken; trace {told.outcome.chronicle.digest[:16]}")
    return 0


def _broken(told: _Told, without: frozenset[Safeguard], *, html: str | None) -> int:
    rule = told.outcome.rule
    short = shrink(
        told.outcome.schedule, breaks=lambda candidate: play(candidate, without=without).rule == rule
    )
    outcome = play(short, without=without)
    print("\n".join(outcome.chronicle.lines))
    print(
        f"\nbroken:   {rule}: {RULES[rule]}\n"
        f"          {outcome.breach}\n"
        f"schedule: {len(short.deeds)} of {len(told.outcome.schedule.deeds)} deeds "
        "(put it into a file and play it with -schedule)\n"
        f"drawn:    {html or 'with -html FILE added to the command below, a lane for each process'}\n\n"
        f"{short}\n"
        f"again:    {told.again}"
    )
    broken = f"Broken: {rule}: {RULES[rule]}. {outcome.breach}"
    drawn = timeline.page(
        outcome.chronicle,
        title="A story that breaks a rule",
        broken=broken,
        again=told.again,
        schedule=str(short),
    )
    _write(html, drawn, flag="html")
    return 1


def _from_seeds(parsed: Parsed) -> Iterator[tuple[Schedule, str]]:
    hours, pace = parsed.last("hours", _HOURS), parsed.last("pace", _PACE)
    canary = parsed.last("canary", False)
    for seed in parsed.last("seeds", range(100)):
        again = (
            f"proxyproof simulate -seeds {seed} -hours {hours:g} -pace {pace:g}{' -canary' if canary else ''}"
        )
        yield generate(seed, hours=hours, pace=pace, canary=canary), again


def _from_file(parsed: Parsed) -> Iterator[tuple[Schedule, str]]:
    given = [name for name in ("seeds", "hours", "pace", "canary") if parsed.last(name) is not None]
    if given:
        raise UsageError(f"-schedule says everything, -{given[0]} does not go with it")
    path = parsed.last("schedule")
    yield _read(path), f"proxyproof simulate -schedule {path}"


def _read(path: str) -> Schedule:
    try:
        return parse_schedule(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "it is not text"
        raise UsageError(f"cannot read the schedule {path}: {reason}") from None
    except ScheduleError as error:
        raise UsageError(f"cannot use the schedule {path}: {error}") from None


def _options(parsed: Parsed) -> str:
    return "".join(f" -ablate {safeguard}" for safeguard in parsed.all("ablate"))


def _write(path: str | None, content: str, *, flag: str) -> None:
    if path is None:
        return
    try:
        Path(path).write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot write {path}, which -{flag} names: {(error.strerror or '').lower()}"
        ) from None


def _safeguards() -> str:
    safeguards = [f"  {safeguard:<17} {ABLATIONS[safeguard].summary}" for safeguard in Safeguard]
    rules = [f"  {rule:<17} {text}" for rule, text in RULES.items()]
    return "\n".join(["Safeguards, each to be switched off with -ablate:", *safeguards, "", "Rules:", *rules])
