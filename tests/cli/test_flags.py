"""Flags as Go's flag package reads them."""

from __future__ import annotations

import pytest

from reference.cli.flags import Flag, HelpRequested, UsageError, boolean, describe, integer, parse

_TABLE = (
    Flag(name="node", help="A name."),
    Flag(name="port", help="A port.", read=integer),
    Flag(name="dev", help="A mode.", read=boolean),
    Flag(name="file", help="A file.", repeatable=True),
    Flag(name="dir", help="A directory.", repeatable=True),
)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-node", "n", "-port", "5"],
        ["--node", "n", "--port", "5"],
        ["-node=n", "-port=5"],
        ["--node=n", "--port=5"],
    ],
    ids=" ".join,
)
def test_four_ways_to_give_a_value(arguments: list[str]) -> None:
    parsed = parse(arguments, _TABLE)
    assert (parsed.last("node"), parsed.last("port"), parsed.rest) == ("n", 5, ())


@pytest.mark.parametrize(
    ("argument", "value"), [("-dev", True), ("-dev=true", True), ("--dev=F", False), ("-dev=0", False)]
)
def test_a_boolean_takes_its_value_after_an_equals_sign_only(argument: str, value: bool) -> None:
    parsed = parse([argument, "false"], _TABLE)
    assert parsed.last("dev") is value
    assert parsed.rest == ("false",)


def test_a_value_may_look_like_a_flag_or_be_empty_or_contain_an_equals_sign() -> None:
    assert parse(["-node", "-dev"], _TABLE).last("node") == "-dev"
    assert parse(["-node="], _TABLE).last("node") == ""
    assert parse(["-node=a=b"], _TABLE).last("node") == "a=b"


def test_flags_end_at_the_first_other_argument() -> None:
    assert parse(["-dev", "x", "-node", "n"], _TABLE).rest == ("x", "-node", "n")
    assert parse(["-dev", "--", "-node"], _TABLE).rest == ("-node",)
    assert parse(["-"], _TABLE).rest == ("-",)


def test_the_last_value_counts_and_repeatable_flags_keep_their_common_order() -> None:
    parsed = parse(["-node=a", "-file=1", "-dir=2", "-node=b", "-file=3"], _TABLE)
    assert parsed.last("node") == "b"
    assert parsed.all("file", "dir") == ("1", "2", "3")
    assert parsed.all("file") == ("1", "3")
    assert parsed.last("port", default=7) == 7


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-nope"], "flag provided but not defined: -nope"),
        (["-node"], "flag needs an argument: -node"),
        (["-port=x"], 'invalid value "x" for flag -port: expected a whole number'),
        (["-dev=maybe"], 'invalid value "maybe" for flag -dev: expected true or false'),
        (["-=x"], "bad flag syntax: -=x"),
        (["---node"], "bad flag syntax: ---node"),
    ],
)
def test_a_command_line_that_cannot_be_understood(arguments: list[str], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(arguments, _TABLE)
    assert str(caught.value) == problem


@pytest.mark.parametrize("argument", ["-h", "-help", "--help"])
def test_help_can_be_asked_for(argument: str) -> None:
    with pytest.raises(HelpRequested):
        parse([argument], _TABLE)


def test_the_help_names_every_flag() -> None:
    text = describe(_TABLE)
    assert all(f"  -{flag.name}" in text and flag.help in text for flag in _TABLE)
    assert text.count("several times") == 2
