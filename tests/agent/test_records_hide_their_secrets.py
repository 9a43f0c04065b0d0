"""Whatever is quoted of a record in a log line or a traceback leaves its secrets out."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import reference
from reference.config.model import AgentTokens
from reference.secretive import Secretive


def _records(of: type[Secretive]) -> Iterator[type[Secretive]]:
    for record in of.__subclasses__():
        yield record
        yield from _records(record)


def test_a_secret_is_not_quoted_and_the_rest_is() -> None:
    class Key(Secretive, frozen=True):
        UNSHOWN = frozenset({"private"})

        name: str
        private: str

    assert repr(Key("mine", "hush")) == f"{Key.__name__}(name='mine')"
    assert Key("mine", "hush") != Key("mine", "other")
    assert "hush" not in repr(AgentTokens(default="hush", agent="hush"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_not_shown_is_there() -> None:
    for module in pkgutil.walk_packages(reference.__path__, "reference."):
        if "simulation" not in module.name and "proxy." not in module.name:
            importlib.import_module(module.name)
    named = {record: record.UNSHOWN - set(record.__struct_fields__) for record in _records(Secretive)}
    assert len(named) > 10
    assert not {record.__name__: left for record, left in named.items() if left}
