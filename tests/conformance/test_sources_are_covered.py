"""Each statement of the sources is asked for by a requirement, or says why it asks for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.requirements import Register, RegisterError, load
from conformance.requirements.statements import Outside, load_sources
from tests.conformance.test_register_is_validated import ENTRY, HEAD, write

CATALOGUE = 'title = "Catalogue"\nids = ["MP-LIF-001"]\n'
DOCUMENT = (
    'title = "Document"\n[[statement]]\nid = "DOC-1"\ntext = "It does."\nrequirements = ["area/thing"]\n'
)
ADVICE = '[[statement]]\nid = "DOC-2"\noutside = "advice"\nreason = "to readers"\n'


def register_of(folder: Path, entry: str = ENTRY) -> Register:
    return load(write(folder, HEAD + entry))


def sources_of(folder: Path, *, catalogue: str = CATALOGUE, document: str = DOCUMENT) -> Path:
    made = folder / "sources"
    made.mkdir()
    write(made, catalogue, "catalogue.toml")
    return write(made, document, "document.toml")


def test_nothing_that_was_read_is_forgotten() -> None:
    """The sources that the project carries: all of them are valid, and as long as they are."""
    sources = {source.name: source for source in load_sources(load())}
    assert {name: len(source.statements) for name, source in sources.items()} == {
        "catalogue": 214,
        "document": 79,
        "hardening": 119,
    }
    for source in sources.values():
        assert source.required + sum(source.outside.values()) == len(source.statements)
        assert source.required > 0


def test_statements_come_with_whole_ids(tmp_path: Path) -> None:
    catalogue, document = load_sources(
        register_of(tmp_path), sources_of(tmp_path, document=DOCUMENT + ADVICE)
    )
    assert [(each.id, each.requirements) for each in catalogue.statements] == [
        ("MP-LIF-001", ("area/thing/01",))
    ]
    assert document.statements[0].requirements == ("area/thing/01",)
    assert (document.required, document.outside) == (1, {Outside.ADVICE: 1})


@pytest.mark.parametrize(
    ("catalogue", "document", "complaint"),
    [
        (CATALOGUE.replace("[", '["MP-LIF-002", '), DOCUMENT, "MP-LIF-002: no requirement comes of it"),
        (CATALOGUE.replace("001", "002"), DOCUMENT, "catalogue.toml, MP-LIF-002: no requirement comes of it"),
        ('title = "Catalogue"\n', DOCUMENT, "area/thing/01: no source has MP-LIF-001"),
        (CATALOGUE, DOCUMENT + DOCUMENT.partition("\n")[2], "DOC-1 stands 2 times"),
        (
            CATALOGUE,
            DOCUMENT.replace("area/thing", "area/other"),
            "no requirement is or begins with 'area/other'",
        ),
        (CATALOGUE, DOCUMENT + 'outside = "quirk"\nreason = "so"\n', "asked for by area/thing/01"),
        (
            CATALOGUE,
            DOCUMENT + ADVICE.replace('reason = "to readers"\n', ""),
            "outside and reason belong together",
        ),
        (
            CATALOGUE,
            DOCUMENT + ADVICE.replace('"advice"', '"whim"'),
            "document.toml: Invalid enum value 'whim'",
        ),
        (CATALOGUE, 'title = "Document"\n', "area/thing/01: no sentence of the document asks for it"),
        (CATALOGUE, "title = ", "document.toml: Invalid value"),
    ],
)
def test_each_mistake_has_one_sentence(tmp_path: Path, catalogue: str, document: str, complaint: str) -> None:
    folder = sources_of(tmp_path, catalogue=catalogue, document=document)
    with pytest.raises(RegisterError) as caught:
        load_sources(register_of(tmp_path), folder)
    assert complaint in str(caught.value)
