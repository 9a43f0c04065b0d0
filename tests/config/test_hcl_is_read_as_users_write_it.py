"""The first version of HCL, with the liberties that the original's users take."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.config import hcl

_READ: dict[str, tuple[str, Any]] = {
    "nested blocks on one line": ("connect { proxy { a = true } }", {"connect": {"proxy": {"a": True}}}),
    "several keys on one line": ('a = 1 b = "x" c = [1]', {"a": 1, "b": "x", "c": [1]}),
    "commas between keys": ("o { a = 1, b = 2 }", {"o": {"a": 1, "b": 2}}),
    "keys of an object without commas": ("l = [{ a = 1 b = 2 }]", {"l": [{"a": 1, "b": 2}]}),
    "a comma at the end of a list": ("l = [1, 2,]", {"l": [1, 2]}),
    "quoted keys": ('meta { "team" = "a" }', {"meta": {"team": "a"}}),
    "keys with dashes and dots": ("a-b.c = 1", {"a-b.c": 1}),
    "repeated blocks": ("u { a = 1 } u { a = 2 }", {"u": [{"a": 1}, {"a": 2}]}),
    "a label": ('service "web" { port = 1 }', {"service": {"web": {"port": 1}}}),
    "an empty text": ("", {}),
    "comments": ("# one\n// two\n/* three\n*/ a = 1 # four", {"a": 1}),
    "numbers": (
        "a = -1 b = 0x1F c = 1.5e3 d = 0755 e = 0",
        {"a": -1, "b": 31, "c": 1500.0, "d": 493, "e": 0},
    ),
    "escapes": (r'a = "\"\\\n\t\u00e9\U0001F600\x41\101"', {"a": '"\\\n\té😀AA'}),
    "escapes of bytes": (r'a = "\xc3\xa9"', {"a": "é"}),
    "interpolations stay": (r'a = "${var.x "\n"} $5"', {"a": r'${var.x "\n"} $5'}),
    "a heredoc": ("a = <<EOF\none\n  two\nEOF\n", {"a": "one\n  two\n"}),
    "an empty heredoc": ("a = <<EOF\nEOF\n", {"a": ""}),
    "an indented heredoc": ("a = <<-EOF\n    one\n      two\n    EOF\nb = 1", {"a": "one\n  two\n", "b": 1}),
    "a heredoc less indented than its end": ("a = <<-EOF\none\n  EOF\n", {"a": "one\n"}),
    "lines that end as on Windows": ("a = 1\r\nb = <<E\r\nx\r\nE\r\n", {"a": 1, "b": "x\n"}),
}

_REFUSED = {
    "a bare word": ("a = yes", "line 1, column 5: expected a value, found a word"),
    "an expression": ("a = b + c", "expected a value, found a word"),
    "a key without value": ("a", "found 'end of text'"),
    "a value without key": ('= "x"', "line 1, column 1: expected a key"),
    "two keys before an assignment": ("a b = 1", "expected '{' after the label"),
    "an open block": ("a {\n b = 1", "line 2, column 7: expected a key, found 'end of text'"),
    "an open string": ('a = "x\n"', "line 1, column 5: this is not HCL"),
    "an open comment": ("a = 1 /* x", "this is not HCL"),
    "an open heredoc": ("a = <<EOF\nx\n", "this is not HCL"),
    "a list without commas": ("a = [1 2]", "expected ',', found 'number'"),
    "a key twice": ("a = 1\na = 2", "line 2, column 1: the key a is given twice"),
    "a key as value and as block": ("a = 1\na { }", "the key a is given twice"),
    "an unknown escape": (r'a = "\q"', "illegal escape"),
    "half of a surrogate pair": (r'a = "\ud800"', "do not make up UTF-8"),
    "bytes that are not UTF-8": (r'a = "\xff"', "do not make up UTF-8"),
    "an octal number with a nine": ("a = 09", "cannot be represented"),
    "a number beyond all bounds": ("a = 1e999", "cannot be represented"),
}


@pytest.mark.parametrize("what", _READ)
def test_is_read(what: str) -> None:
    text, meaning = _READ[what]
    assert hcl.plain(hcl.parse(text)) == meaning


@pytest.mark.parametrize("what", _REFUSED)
def test_is_refused(what: str) -> None:
    text, problem = _REFUSED[what]
    with pytest.raises(hcl.HclError) as caught:
        hcl.parse(text)
    assert problem in str(caught.value)


@given(st.text(st.sampled_from('ab1 {}[]=,"\\$\n#/*<-.x'), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(hcl.HclError):
        assert isinstance(hcl.parse(text), dict)
