"""The register is data that people edit: each way to get it wrong has one clear sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.plugin import discovery
from conformance.requirements import Feature, Level, RegisterError, load

ENTRY = """
[[requirement]]
id = "area/thing/01"
level = "MUST"
text = "It does the thing."
source = "document, Lifecycle"
catalogue = ["MP-LIF-001"]
feature = "core"
importance = "high"
"""
HEAD = 'area = "area"\ntitle = "An area"\n'


def write(folder: Path, text: str, name: str = "area.toml") -> Path:
    (folder / name).write_text(text)
    return folder


def test_an_entry_is_read(tmp_path: Path) -> None:
    register = load(write(tmp_path, HEAD + ENTRY))
    entry = register["area/thing/01"]
    assert (entry.level, entry.feature, entry.area) == (Level.MUST, Feature.CORE, "area")
    assert entry.catalogue == ("MP-LIF-001",)
    assert list(register) == [entry]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("area = ", "area.toml is not valid TOML"),
        ('area = "area"\n', "area.toml: title missing"),
        (HEAD + 'colour = "red"\n', "area.toml: unknown key colour"),
        (HEAD + ENTRY.replace("area/thing/01", "area/thing"), "'area/thing' is not of the form"),
        (HEAD + ENTRY.replace("area/thing/01", "area/Thing/01"), "is not of the form"),
        (HEAD + ENTRY.replace("area/thing/01", "other/thing/01"), "begins with its area, area/"),
        (HEAD + ENTRY.replace('"MUST"', '"WILL"'), "'WILL' is none of MUST, SHOULD, MAY"),
        (HEAD + ENTRY.replace('"core"', '"cores"'), "'cores' is none of core, discovery"),
        (HEAD + ENTRY.replace('"high"', '"huge"'), "'huge' is none of critical, high"),
        (HEAD + ENTRY.replace('text = "It does the thing."\n', ""), "area.toml, area/thing/01: text missing"),
        (HEAD + ENTRY.replace('["MP-LIF-001"]', '"MP-LIF-001"'), "catalogue is a list of strings"),
        (HEAD + ENTRY.replace('"document, Lifecycle"', "7"), "source is a string"),
        (HEAD + ENTRY + 'colour = "red"\n', "area.toml, area/thing/01: unknown key colour"),
        (HEAD + ENTRY + ENTRY, "area/thing/01 stands twice"),
        (
            HEAD + ENTRY.replace("[[", "[").replace("]]", "]"),
            "write each requirement as a [[requirement]] table",
        ),
    ],
)
def test_a_fault_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(RegisterError) as refusal:
        load(write(tmp_path, text))
    assert complaint in str(refusal.value)


def test_two_files_are_not_one_area(tmp_path: Path) -> None:
    write(tmp_path, HEAD + ENTRY)
    with pytest.raises(RegisterError, match="area stands twice"):
        load(write(tmp_path, HEAD, name="again.toml"))


def test_ids_select_by_prefix_of_whole_parts(tmp_path: Path) -> None:
    second = ENTRY.replace("thing/01", "thing/02")
    third = ENTRY.replace("thing/01", "things/01")
    register = load(write(tmp_path, HEAD + ENTRY + second + third))
    ids = {
        prefix: [entry.id for entry in register.select(prefix)]
        for prefix in ("area", "area/thing", "area/thing/02")
    }
    assert ids == {
        "area": ["area/thing/01", "area/thing/02", "area/things/01"],
        "area/thing": ["area/thing/01", "area/thing/02"],
        "area/thing/02": ["area/thing/02"],
    }
    assert register.select("area/thin") == ()


def test_the_shipped_register_and_checks_agree() -> None:
    register, checks = load(), discovery.discover()
    discovery.refuse_unknown(checks, register)
    names = [(check.path.name, check.name) for check in checks]
    assert len(set(names)) == len(names), "two checks of one file have the same name: the first never runs"
