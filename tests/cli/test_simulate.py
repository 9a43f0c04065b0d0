"""``proxyproof simulate``: a line when all is well, the story in short and the way back to it when not."""

from __future__ import annotations

from pathlib import Path

import pytest

from reference.cli.main import main
from reference.supervisor.simulation.safeguards import Safeguard

Output = pytest.CaptureFixture[str]


def test_seeds_that_break_nothing_are_counted(capsys: Output) -> None:
    assert main(["simulate", "-seeds", "3..4", "--hours", "0.1"]) == 0
    assert capsys.readouterr().out.startswith("2 stories, ")


def test_a_breach_is_told_in_short_with_the_command_that_tells_it_again(capsys: Output) -> None:
    assert main(["simulate", "-seeds", "0..50", "-hours", "0.2", "-ablate", "search"]) == 1
    story = capsys.readouterr().out
    assert "drawn:    with -html FILE" in story
    again = story.splitlines()[-1].removeprefix("again:    proxyproof ")
    assert main(again.split()) == 1
    assert capsys.readouterr().out == story


def test_the_short_schedule_breaks_the_same_rule(tmp_path: Path, capsys: Output) -> None:
    assert main(["simulate", "-seeds", "0..50", "-hours", "0.2", "-ablate", "search"]) == 1
    story = capsys.readouterr().out
    schedule = story[story.index("\nworld") : story.index("\nagain:")]
    assert 0 < len(schedule.strip().splitlines()) <= 12, "short means short"
    path = tmp_path / "schedule"
    path.write_text(schedule)
    assert main(["simulate", "-schedule", str(path), "-ablate", "search"]) == 1
    assert "broken:   twins" in capsys.readouterr().out
    assert main(["simulate", "-schedule", str(path)]) == 0


def test_every_canary_fails(capsys: Output) -> None:
    for seed in range(7):
        assert main(["simulate", "-seeds", str(seed), "-hours", "0.05", "-canary"]) == 1
    assert "sabotage" in capsys.readouterr().out


def test_the_last_story_is_written_and_drawn(tmp_path: Path, capsys: Output) -> None:
    trace, html = tmp_path / "trace", tmp_path / "story.html"
    files = ["-trace", str(trace), "-html", str(html)]
    assert main(["simulate", "-seeds", "3", "-hours", "0.1", *files]) == 0
    assert "accidents stop" in trace.read_text()
    assert "No rule was broken" in html.read_text()
    assert main(["simulate", "-seeds", "0..50", "-hours", "0.2", "-ablate", "search", *files]) == 1
    assert "BROKEN (twins)" in trace.read_text()
    assert "Broken: twins" in html.read_text()
    assert f"drawn:    {html}" in capsys.readouterr().out


def test_safeguards_are_listed(capsys: Output) -> None:
    assert main(["simulate", "-list-safeguards"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {safeguard} " in listed for safeguard in Safeguard)


@pytest.mark.parametrize(
    "flags",
    [
        ["-seeds", "9..3"],
        ["-seeds", "x"],
        ["-hours", "0"],
        ["-hours", "nan"],
        ["-pace", "-1"],
        ["-ablate", "luck"],
        ["-schedule", "/does/not/exist"],
        ["-schedule", "/dev/null", "-seeds", "1"],
        ["-seeds", "1", "-hours", "0.01", "-trace", "/does/not/exist"],
        ["more"],
    ],
)
def test_what_makes_no_sense_is_refused(flags: list[str], capsys: Output) -> None:
    assert main(["simulate", *flags]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1 fly", 'line 1: unknown deed "fly"'),
        ("world flat", 'line 1: unknown trait "flat"'),
        ("0 start\n1 define", "line 2: define needs a service"),
        ("1 define web program=evil", 'unknown program "evil"'),
        ("1 kill calls=many", "calls needs a number, not many"),
        ("2 start\n1 kill", "not in the order of their times"),
    ],
)
def test_a_schedule_that_is_none_is_named_with_its_line(
    text: str, complaint: str, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "schedule"
    path.write_text(text)
    assert main(["simulate", "-schedule", str(path)]) == 2
    assert complaint in capsys.readouterr().err
