"""A file that is missing, broken or unreadable ends in one error that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reference.config.sources import Sources
from tests.config.writing import refusal

_BROKEN = {
    "cut off": (b'{"service": {', "Error parsing"),
    "a list": (b"[]", "expected a map"),
    "a key twice": (
        b'{"service": {"name": "a"}, "service": {"name": "b"}}',
        "the key service is given twice",
    ),
    "not a number": (b'{"ports": {"http": NaN}}', "the number NaN cannot be represented"),
    "beyond all numbers": (b'{"limits": {"rpc_rate": 1e999}}', "the number 1e999 cannot be represented"),
    "half a surrogate pair": (b'{"node_name": "\\ud800"}', "half of a surrogate pair"),
    "another encoding": (b'{"node_name": "\xe9"}', "the text is not UTF-8"),
    "too many levels": (b'{"a":' * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("what", _BROKEN)
def test_broken_json(what: str, tmp_path: Path) -> None:
    content, problem = _BROKEN[what]
    file = tmp_path / "broken.json"
    file.write_bytes(content)
    error = refusal(Sources(paths=(str(file),), dev_mode=True))
    assert error.where == str(file)
    assert problem in error.problem


def test_too_many_levels_of_hcl() -> None:
    assert "nested too deeply" in refusal(Sources(fragments=("a {" * 100_000,), dev_mode=True)).problem


def test_a_missing_file(tmp_path: Path) -> None:
    error = refusal(Sources(paths=(str(tmp_path / "no.json"),), dev_mode=True))
    assert str(error) == f"{tmp_path}/no.json: there is no such file. Correct the path or create the file."


@pytest.mark.parametrize("name", ["a.yaml", "a", "missing-directory"])
def test_a_file_of_another_kind(name: str, tmp_path: Path) -> None:
    assert refusal(Sources(paths=(str(tmp_path / name),), dev_mode=True)).problem == (
        "Missing or invalid file extension"
    )


def test_a_path_that_the_system_refuses(tmp_path: Path) -> None:
    error = refusal(Sources(paths=(str(tmp_path / f"{'x' * 300}.json"),), dev_mode=True))
    assert error.problem == "cannot be read: File name too long"


def test_a_link_in_a_directory_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("gone.json")
    assert refusal(Sources(paths=(str(tmp_path),), dev_mode=True)).problem == "there is no such file"
