"""Queries that answer for every name with a prefix: compiled when they are made, rendered for each name. Pure.

``name.full`` is the name that was asked for, ``name.prefix`` that of the query and ``name.suffix`` the rest;
``match(n)`` is group ``n`` of the regular expression, or nothing. The expressions are RE2's, as in the original: no
name, however long, takes more time than its length.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from reference.query import hil
from reference.query.model import Definition, QueryError, ServiceQuery, map_texts

_PREFIX_MATCH = "name_prefix_match"


class Template(msgspec.Struct, frozen=True):
    """A definition, and what was understood of it."""

    definition: Definition
    _texts: Mapping[str, hil.Text]
    _pattern: Any

    def render(self, name: str) -> Definition:
        """The definition for one name. Raises :class:`QueryError` for what cannot be worked out."""
        scope = self._scope(name)

        def rendered(place: str, text: str) -> str:
            try:
                return hil.evaluate(self._texts[place], scope)
            except hil.HilError as error:
                raise QueryError(f"Bad evaluation for '{text}' in Service{place}: {error}") from None

        service = map_texts(self.definition.service, rendered)
        if self.definition.template.remove_empty_tags:
            service = replace(service, tags=tuple(tag for tag in service.tags or () if tag))
        return replace(self.definition, service=service)

    def _scope(self, name: str) -> hil.Scope:
        prefix = self.definition.name
        found = self._pattern.search(name) if self._pattern is not None else None
        groups = (found.group(0), *found.groups("")) if found else ()

        def match(number: int) -> str:
            return groups[number] if 0 <= number < len(groups) else ""

        return hil.Scope(
            variables={
                "name.full": name,
                "name.prefix": prefix,
                "name.suffix": name.removeprefix(prefix),
                # There are no network segments here.
                "agent.segment": "",
            },
            functions={"match": match},
        )


def compile_template(definition: Definition) -> Template:
    """Understand a template, and try it. Raises :class:`QueryError` in the original's words."""
    kind, regexp = definition.template.kind, definition.template.regexp
    if kind != _PREFIX_MATCH:
        raise QueryError(f"Bad Template.Type '{kind}'")
    template = Template(definition, _parsed(definition.service), _compiled(regexp) if regexp else None)
    # The shortest name that it will be asked for finds most mistakes.
    template.render(definition.name)
    return template


def _parsed(service: ServiceQuery) -> Mapping[str, hil.Text]:
    texts: dict[str, hil.Text] = {}

    def read(place: str, text: str) -> str:
        try:
            texts[place] = hil.parse(text)
        except hil.HilSyntaxError as error:
            raise QueryError(f"Bad format '{text}' in Service{place}: {error}") from None
        except hil.HilError as error:
            raise QueryError(f"Bad evaluation for '{text}' in Service{place}: {error}") from None
        return text

    map_texts(service, read)
    return texts


def _compiled(regexp: str) -> Any:
    # Loaded for the first expression: few agents ever have one.
    re2 = importlib.import_module("re2")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(regexp, options)
    except re2.error as error:
        problem = error.args[0]
        text = problem.decode("utf-8", "replace") if isinstance(problem, bytes) else str(problem)
        raise QueryError(f"Bad Regexp: error parsing regexp: {text}") from None
