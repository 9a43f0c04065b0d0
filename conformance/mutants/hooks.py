"""The pytest plugin of the processes in which checks meet faulty agents: which check meets whom, and in what order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec
import pytest

from conformance.plugin.settings import Variant

OPTION = "--proxyproof-meetings"


@dataclass(frozen=True, kw_only=True)
class Meetings:
    """``faults`` by their names; ``order`` has requirement and fault of each meeting, in the order to go by."""

    faults: Mapping[str, Variant]
    order: tuple[tuple[str, str], ...]

    def encode(self) -> str:
        """The JSON text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> Meetings:
        """The meetings back from their JSON text."""
        return msgspec.json.decode(text, type=cls)

    @cached_property
    def place(self) -> Mapping[tuple[str, str], int]:
        """Where in the order each meeting is."""
        return {meeting: place for place, meeting in enumerate(self.order)}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, type=Meetings.decode, required=True, help="which check meets which faulty agent")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    meetings: Meetings = metafunc.config.getoption(OPTION)
    names = [name for entry, name in meetings.order if entry == _requirement(metafunc.definition)]
    variants = [meetings.faults[name] for name in names]
    metafunc.parametrize("variant", variants, indirect=True, ids=names)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    meetings: Meetings = config.getoption(OPTION)
    items.sort(
        key=lambda item: meetings.place[_requirement(item), item.callspec.params["variant"].name]  # type: ignore[attr-defined]
    )


def _requirement(item: pytest.Item) -> str:
    mark = item.get_closest_marker("requirement")
    assert mark is not None, f"{item.nodeid} has no requirement"
    return str(mark.args[0])
