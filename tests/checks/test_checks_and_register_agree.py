"""What the suite publishes hangs together: register, checks and the texts between them."""

from __future__ import annotations

import re
from collections import Counter

from conformance.plugin.discovery import by_requirement, discover, refuse_unknown
from conformance.requirements import Level, load

REGISTER = load()
CHECKS = discover()
#: The sections of the document that promise something.
SECTIONS = (
    "Introduction",
    "Deprecation Rationale",
    "Managed Proxy Documentation",
    "Security Note",
    "Lifecycle",
    "Minimal Configuration",
    "Upstream Configuration",
    "Prepared Query Upstreams",
    "Custom Managed Proxy",
    "Managed Proxy Logs",
)


def test_every_check_proves_a_registered_requirement() -> None:
    refuse_unknown(CHECKS, REGISTER)


def test_every_section_of_the_document_has_requirements() -> None:
    sources = Counter(entry.source.partition(",")[0] for entry in REGISTER)
    assert {f"document: {section}" for section in SECTIONS} <= set(sources)


def test_sources_are_of_three_kinds() -> None:
    kinds = {entry.source.partition(":")[0] for entry in REGISTER}
    assert kinds == {"document", "catalogue", "hardening"}


def test_catalogue_entries_are_written_alike() -> None:
    wrong = [
        item for entry in REGISTER for item in entry.catalogue if not re.fullmatch(r"MP-[A-Z]+-\d{3}", item)
    ]
    assert not wrong


def test_numbers_of_a_behaviour_run_from_one() -> None:
    numbers: dict[str, list[int]] = {}
    for entry in REGISTER:
        behaviour, _, number = entry.id.rpartition("/")
        numbers.setdefault(behaviour, []).append(int(number))
    gaps = {
        behaviour: found for behaviour, found in numbers.items() if found != list(range(1, len(found) + 1))
    }
    assert not gaps


def test_requirements_are_single_sentences() -> None:
    assert [entry.id for entry in REGISTER if not entry.text.endswith(".") or ". " in entry.text] == []


def test_what_the_original_does_otherwise_is_never_its_own_level() -> None:
    # A characterisation tells where the original differs; it must not weaken what the document demands.
    assert [entry.id for entry in REGISTER if entry.characterisation and entry.level is Level.MAY] == []


def test_most_of_the_document_is_checked() -> None:
    tested = by_requirement(CHECKS)
    documented = [
        entry for entry in REGISTER if entry.source.startswith("document") and entry.level is Level.MUST
    ]
    untested = [entry.id for entry in documented if entry.id not in tested]
    assert len(untested) * 10 < len(documented), untested


def test_published_texts_have_stimulus_expectation_and_source() -> None:
    form = re.compile(r".+[.)]\n\n.+Source:\s(document|catalogue|hardening)\b.*", re.DOTALL)
    assert [check.name for check in CHECKS if not form.fullmatch(check.text)] == []


def test_texts_and_register_name_the_same_source() -> None:
    named = {check: re.findall(r"Source:\s(\w+)", check.text) for check in CHECKS}
    different = [
        check.name
        for check, kinds in named.items()
        if kinds != [REGISTER[check.requirement].source.partition(":")[0]]
    ]
    assert not different


def test_names_of_checks_are_unique_within_a_requirement() -> None:
    names = Counter((check.requirement, check.name) for check in CHECKS)
    assert [name for name, count in names.items() if count > 1] == []
