"""``proxyproof simulate``: tells stories of the simulated world, and prints the one that breaks a rule."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reference.cli.flags import Flag, Parsed, UsageError, describe, parse
from reference.supervisor.simulation.story import tell
from reference.supervisor.simulation.world import Safeguard


def seeds(raw: str) -> range:
    """``17`` is one seed, ``0..999`` a range with both ends. Raises :class:`ValueError`."""
    found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", raw)
    if found is None:
        raise ValueError(raw)
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise ValueError(raw)
    return range(first, last + 1)


def hours(raw: str) -> float:
    """A positive number of virtual hours. Raises :class:`ValueError`."""
    value = float(raw)
    if not 0.0 < value < 24 * 366:
        raise ValueError(raw)
    return value


_TABLE = (
    Flag(name="seeds", help="One seed, or a range such as 0..999; 0..99 if not given.", read=seeds),
    Flag(name="hours", help="Virtual hours of each story; 0.5 if not given.", read=hours),
    Flag(
        name="ablate",
        help=f"A safeguard to switch off: {', '.join(Safeguard)}.",
        read=Safeguard,
        repeatable=True,
    ),
)

HELP = f"""Usage: proxyproof simulate [options]

Runs the supervisor's core on simulated machines, with accidents, and checks its rules at every step.
Exit code 1, with the story and the command that tells it again, when one is broken.

{describe(_TABLE)}"""


def main(arguments: Sequence[str]) -> int:
    """Return 0 when no seed breaks a rule, 1 when one does. Raises UsageError."""
    parsed = parse(arguments, _TABLE)
    if parsed.rest:
        raise UsageError(f"simulate takes flags only, not {parsed.rest[0]}")
    chosen = parsed.last("seeds", range(100))
    virtual_hours = parsed.last("hours", 0.5)
    without = frozenset(parsed.all("ablate"))
    faults = 0
    for seed in chosen:
        outcome = tell(seed, hours=virtual_hours, without=without)
        faults += outcome.faults
        if outcome.breach is not None:
            print("\n".join(outcome.trace))
            print(f"\nbroken: {outcome.breach}\nagain:  {_again(seed, virtual_hours, parsed)}")
            return 1
    print(f"{len(chosen)} stories of {virtual_hours:g} h, {faults} accidents, no rule broken")
    return 0


def _again(seed: int, virtual_hours: float, parsed: Parsed) -> str:
    ablated = "".join(f" -ablate {safeguard}" for safeguard in parsed.all("ablate"))
    return f"proxyproof simulate -seeds {seed} -hours {virtual_hours:g}{ablated}"
