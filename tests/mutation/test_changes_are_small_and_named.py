"""What is changed in a module, under which name, and that a trial sees it and nobody else does."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray", reason="only `tox -e mutation` has it")

from tests.mutation import trial
from tests.mutation.mutants import Mutant, mutants_of

SOURCE = '''\
"""A module."""
from dataclasses import dataclass

LIMIT = 3

@dataclass(frozen=True)
class Counter:
    start: int | None = None

    def full(self, *, more: int) -> bool:
        """Whether it is."""
        assert more is not None
        return more < LIMIT
'''


def changes(folder: Path, source: str) -> list[str]:
    module = folder / "module.py"
    module.write_text(source)
    return [mutant.name.removeprefix(f"{module} ") for mutant in mutants_of(module)]


def test_conditions_constants_and_statements_change_and_declarations_do_not(tmp_path: Path) -> None:
    assert changes(tmp_path, SOURCE) == [
        "Counter.full: assert more is not None → assert not more is not None",
        "(module): LIMIT = 3 → LIMIT = 4",
        "(module): LIMIT = 3 → LIMIT = 2",
        "Counter.full: assert more is not None → assert more is None",
        "Counter.full: return more < LIMIT → return more <= LIMIT",
        "Counter.full: return more < LIMIT → return more >= LIMIT",
        "Counter.full: return more < LIMIT → pass",
    ]


def test_a_name_says_nothing_of_where_a_line_stands(tmp_path: Path) -> None:
    assert changes(tmp_path, SOURCE.replace("LIMIT = 3", "OTHER = None\n\n\nLIMIT = 3")) == changes(
        tmp_path, SOURCE
    )


def test_a_trial_meets_the_mutant_and_the_file_stays_as_it_is() -> None:
    module = Path("reference/supervisor/fingerprint.py")
    source = module.read_text()
    changed = source.replace("spec.token, ", "")
    tests = ["tests/supervisor/test_fingerprint.py"]
    assert changed != source
    assert trial.passes(tests, Mutant(module, "the token does not count", changed)) is False
    assert trial.passes(tests, Mutant(module, "nothing is changed", source)) is True
    assert module.read_text() == source


def test_who_goes_round_in_circles_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_CPU_SECONDS", 1)
    module = Path("reference/supervisor/fingerprint.py")
    endless = Mutant(module, "it never ends", "while True:\n    pass\n")
    assert trial.passes(["tests/supervisor/test_fingerprint.py"], endless) is False
