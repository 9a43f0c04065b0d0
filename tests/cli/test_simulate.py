"""``proxyproof simulate``: silence when all is well, the whole story and the way back to it when not."""

from __future__ import annotations

import pytest

from reference.cli.main import main


def test_seeds_that_break_nothing_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "-seeds", "3..4", "-hours", "0.2"]) == 0
    assert "2 stories of 0.2 h" in capsys.readouterr().out


def test_a_breach_is_told_with_the_command_that_tells_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "-seeds", "0..50", "-ablate", "search"]) == 1
    story = capsys.readouterr().out
    again = story.splitlines()[-1].removeprefix("again:  proxyproof ")
    assert main(again.split()) == 1
    assert capsys.readouterr().out == story


@pytest.mark.parametrize(
    "flags", [["-seeds", "9..3"], ["-seeds", "x"], ["-hours", "0"], ["-ablate", "luck"], ["more"]]
)
def test_what_makes_no_sense_is_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *flags]) == 2
    assert capsys.readouterr().err.count("\n") == 1
