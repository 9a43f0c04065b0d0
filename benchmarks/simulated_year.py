"""A year of accidents in virtual time: how long does it take, and does the supervisor survive it?

``python benchmarks/simulated_year.py [SEED]`` plays one story of 8,760 virtual hours with at least 10,000 faults, and
prints what it took of one core. Exit code 1 when a rule is broken, or when it takes longer than :data:`BUDGET`.
"""

from __future__ import annotations

import resource
import sys
import time

from reference.supervisor.simulation.schedule import VERBS
from reference.supervisor.simulation.seeds import generate
from reference.supervisor.simulation.story import play

HOURS = 8760.0
FAULTS = 10_000
#: Seconds of CPU.
BUDGET = 60.0
#: Virtual seconds between two deeds, such that more than 10,000 of a year's are faults.
PACE = 1500.0


def main(arguments: list[str]) -> int:
    """Play the year of a seed; the exit code."""
    seed = int(arguments[0]) if arguments else 1
    began = time.process_time()
    schedule = generate(seed, hours=HOURS, pace=PACE)
    outcome = play(schedule)
    took = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kinds = sum(VERBS[verb].fault for verb in {deed.verb for deed in schedule.deeds})
    print(
        f"seed {seed}: {schedule.deeds[-1].at / 86400:.0f} virtual days, "
        f"{schedule.faults} faults of {kinds} kinds among {len(schedule.deeds)} deeds, "
        f"{len(outcome.chronicle.entries)} entries in the trace\n"
        f"{took:.1f} s of CPU ({BUDGET:g} allowed), {memory:.0f} MiB, "
        f"{HOURS * 3600 / took / 1e6:.1f} million times faster than life; "
        f"{outcome.breach or 'no rule broken'}"
    )
    return int(bool(outcome.rule) or took > BUDGET or schedule.faults < FAULTS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
