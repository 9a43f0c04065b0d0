"""The published description of the API: every route and method, nothing else, and true as far as it can be read."""

from __future__ import annotations

import re

import jsonschema_rs
import pytest

from reference.http.app import ROUTES
from reference.http.bodies import BODIES, EXAMPLES, REQUIRED
from reference.http.description import OPERATIONS, PARAMETERS
from reference.http.openapi import document

DOCUMENT = document()


def test_every_route_and_method_is_described_and_nothing_else() -> None:
    served = {(method, path) for path, handlers in ROUTES for method in handlers}
    assert set(OPERATIONS) == served
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(method, re.sub(r":path\}", "}", path)) for method, path in served}


def test_every_parameter_is_used_and_every_name_is_its_own() -> None:
    used = {name for operation in OPERATIONS.values() for name in operation.query.split()}
    assert used == set(PARAMETERS)
    names = [each["operationId"] for methods in DOCUMENT["paths"].values() for each in methods.values()]
    assert len(names) == len(set(names))


def test_every_body_is_used_and_has_an_example() -> None:
    used = {operation.body for operation in OPERATIONS.values()} - {"", "Rules"}
    assert used == set(BODIES) == set(EXAMPLES)
    assert set(REQUIRED) <= used


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_it_is_an_example_of(name: str) -> None:
    jsonschema_rs.validate(DOCUMENT["components"]["schemas"][name], EXAMPLES[name])


def test_every_operation_has_a_summary() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, described in methods.items():
            assert described["summary"], (method, path)
