"""``--random-order``: whatever one check leaves behind for another one is found, and can be found again."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.tiny import Suite

_IDS = [f"tiny/order/{number:02}" for number in range(1, 7)]


def orders(folder: Path, *rounds: tuple[str, ...]) -> list[list[int]]:
    """In which order the checks began, in each of several runs with these options."""
    suite = Suite.of(
        folder,
        {
            identifier: f"with open({str(folder / 'began')!r}, 'a') as began: began.write('{number} ')"
            for number, identifier in enumerate(_IDS)
        },
    )
    began = folder / "began"
    found = []
    for options in rounds:
        began.write_text("")
        assert suite.run(*options).returncode == 0
        found.append([int(number) for number in began.read_text().split()])
    return found


def test_a_seed_makes_an_order_and_makes_it_again(tmp_path: Path) -> None:
    written, one, again, other = orders(
        tmp_path, (), ("--random-order", "1"), ("--random-order", "1"), ("--random-order", "2")
    )
    assert written == [*range(len(_IDS))]
    assert one == again
    assert sorted(one) == sorted(other) == written
    assert written != one != other


def test_the_report_names_the_seed(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/good/01": "pass"})
    assert "in random order 7;" in suite.run("--random-order", "7").stdout
    assert suite.report().random_order == 7


def test_repetitions_still_come_round_by_round(tmp_path: Path) -> None:
    (both,) = orders(tmp_path, ("--random-order", "1", "--repeat", "2"))
    first, second = both[: len(_IDS)], both[len(_IDS) :]
    assert sorted(first) == sorted(second) == [*range(len(_IDS))]


def test_checks_that_take_long_begin_first(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {identifier: "pass" for identifier in _IDS})
    (module,) = (tmp_path / "checks").glob("*.py")
    source = module.read_text()
    for identifier, seconds in ((_IDS[2], "2.5"), (_IDS[4], "20")):
        source = source.replace(
            f'@requirement("{identifier}")', f'@requirement("{identifier}", takes={seconds})'
        )
    module.write_text(source)
    lines = suite.run("-n", "0").stdout.splitlines()
    ended = [identifier for line in lines for identifier in _IDS if line.startswith(f"pass     {identifier}")]
    assert ended == [_IDS[4], _IDS[2], _IDS[0], _IDS[1], _IDS[3], _IDS[5]]
