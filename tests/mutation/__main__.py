"""Do the tests notice when the code is wrong? ``python -m tests.mutation [-n WORKERS] [TEXT ...]``

Changes the modules that ``mutation.toml`` names, one small change at a time, and runs the tests that should notice. A
change that none notices is a survivor. The same file has those that may survive, each with the reason. Any other one,
and one of these that does not survive, is named, and the exit code is 1. With TEXT only mutants are tried whose name
holds one of the texts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import tomllib
from functools import partial
from pathlib import Path

from tests.mutation import trial
from tests.mutation.mutants import Mutant, mutants_of


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=__doc__.partition("\n\n")[2]
    )
    parser.add_argument(
        "-n", "--workers", type=int, default=os.cpu_count() or 1, help="mutants tried at a time"
    )
    parser.add_argument("text", nargs="*", default=[""], help="part of a mutant's name")
    options = parser.parse_args()
    document = tomllib.loads(Path(__file__).with_name("mutation.toml").read_text(encoding="utf-8"))
    accepted = {name for group in document.get("accepted", []) for name in group["mutants"]}
    fork = multiprocessing.get_context("fork")
    began, tried, survivors = time.monotonic(), set[str](), set[str]()
    for area in document["area"]:
        tests = area["tests"]
        modules = sorted({path for pattern in area["modules"] for path in Path().glob(pattern)})
        with fork.Pool(options.workers) as pool:
            found = [mutant for group in pool.map(_mutants, modules, 1) for mutant in group]
        chosen = [mutant for mutant in found if any(text in mutant.name for text in options.text)]
        if not chosen:
            continue
        trial.prepare(tests)
        assert trial.passes(tests), "the tests fail without any mutant"
        with fork.Pool(options.workers) as pool:
            verdicts = pool.imap(partial(_survives, tests), chosen)
            for mutant, survived in zip(chosen, verdicts, strict=True):
                tried.add(mutant.name)
                if survived:
                    survivors.add(mutant.name)
                    if mutant.name not in accepted:
                        print(f"survived: {mutant.name}", flush=True)
    gone = sorted(accepted - survivors if options.text == [""] else accepted & tried - survivors)
    for name in gone:
        print(f"does not survive: {name}")
    print(
        f"{len(tried)} mutants, {len(survivors)} survived, {len(survivors - accepted)} of them without a reason; "
        f"{time.monotonic() - began:.0f} s with {options.workers} at a time"
    )
    return 1 if gone or survivors - accepted else 0


def _mutants(module: Path) -> list[Mutant]:
    return list(mutants_of(module))


def _survives(tests: list[str], mutant: Mutant) -> bool:
    return trial.passes(tests, mutant)


if __name__ == "__main__":
    sys.exit(main())
