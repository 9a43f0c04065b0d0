"""The language of templates: what it says, as the original says it, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.query.hil import HilError, HilSyntaxError, Scope, evaluate, parse

SCOPE = Scope(
    variables={"name.full": "geo-db", "name.suffix": "db", "name.prefix": "geo-", "seven": "7"},
    functions={"match": lambda number: ("geo-db", "geo", "db")[number] if 0 <= number < 3 else ""},
)


def said(text: str) -> str:
    return evaluate(parse(text), SCOPE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ('quotes " and \\ mean nothing outside', 'quotes " and \\ mean nothing outside'),
        ("${name.full}", "geo-db"),
        ("a ${name.suffix} b ${ name.prefix }c", "a db b geo-c"),
        ("$${name.full}", "${name.full}"),
        ("$", "$"),
        ("$$$a", "$$a"),
        ("${match(1)}", "geo"),
        ("${match(1+1)}", "db"),
        ("${match(9)}${match(-1)}", ""),
        ('${match("2")}', "db"),
        ("${match(1.9)}", "geo"),
        ('${"x${name.suffix}y"}', "xdby"),
        ('${"a" "b"}', "ab"),
        ('${"\\"\\\\\\n\\t"}', '"\\\n\\t'),
        ("${-1}", "-1"),
        ("${--1}", "1"),
        ("${1+2*3}", "9"),
        ("${1+(2*3)}", "7"),
        ("${-1+2}", "1"),
        ("${7/2}${-7/2}", "3-3"),
        ("${-7%3}", "-1"),
        ("${010}", "8"),
        ("${1.5}", "1.5"),
        ("${1.5+1.5}", "3"),
        ("${seven + 1}", "8"),
        ("${1 + 1.9}", "2"),
        ("${1.0 + seven}", "8"),
    ],
)
def test_what_a_text_says(text: str, expected: str) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "${",
        "${}",
        "${name.full",
        "${1+}",
        "${(1}",
        "${*1}",
        '${"open}',
        "${ # }",
        "${match(1}",
        "${1 2}",
        "${1,2}",
    ],
)
def test_what_is_not_of_the_language(text: str) -> None:
    with pytest.raises(HilSyntaxError, match="parse error: "):
        parse(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a${name.ful}", "1:4: unknown variable accessed: name.ful"),
        ("${foo(1)}", "1:3: unknown function called: foo"),
        ("${match(1,2)}", "1:3: match: expected 1 arguments, got 2"),
        ("${match()}", "1:3: match: expected 1 arguments, got 0"),
        ('${match("a")}', '__builtin_StringToInt: strconv.ParseInt: parsing "a": invalid syntax'),
        ("${name.full + 1}", '__builtin_StringToInt: strconv.ParseInt: parsing "geo-db": invalid syntax'),
        ("${name.full[0]}", "invalid index operation into non-indexable type: TypeString"),
        ("${1.5 % 2.0}", "modulo cannot be used with floats"),
        ("${1/0}", "divide by zero"),
        ("${1%0}", "divide by zero"),
        ("${1.0/0.0}", "divide by zero"),
        ("${9223372036854775807+1}", "out of range"),
    ],
)
def test_what_cannot_be_worked_out(text: str, problem: str) -> None:
    with pytest.raises(HilError) as caught:
        said(text)
    assert problem in str(caught.value)


@given(st.text())
def test_any_text_without_interpolation_says_itself(text: str) -> None:
    assert said(text.replace("$", "$$")) == text


@given(st.text(alphabet='${}()[]"\\+-*/% ,.1a_\n', max_size=40))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        result = said(text)
    except HilError:
        return
    assert isinstance(result, str)


@given(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40), st.sampled_from("+-*/%"))
def test_whole_numbers_are_calculated_as_a_machine_does(one: int, other: int, sign: str) -> None:
    if sign in "/%" and other == 0:
        return
    # Exact, and rounded towards zero.
    quotient = abs(one) // abs(other) * (1 if one * other >= 0 else -1) if other else 0
    expected = {
        "+": one + other,
        "-": one - other,
        "*": one * other,
        "/": quotient,
        "%": one - other * quotient,
    }[sign]
    if abs(expected) < 2**63:
        assert said(f"${{({one}){sign}({other})}}") == str(expected)


@pytest.mark.parametrize("text", ["${" * 1000, "${" + "(" * 5000, '${"' * 3000])
def test_depth_is_limited(text: str) -> None:
    with pytest.raises(HilError):
        said(text)


def test_length_is_not() -> None:
    assert said("${" + "-" * 100_000 + "1}") == "1"
    assert said("${1" + "+1" * 20_000 + "}") == "20001"
    assert said("${match(1)}" * 5_000) == "geo" * 5_000
