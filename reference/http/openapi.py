"""The description of the API in OpenAPI 3.1, made of the table of routes and of what each endpoint takes and gives.

It is published as ``docs/openapi.json``, and drives the test that no request breaks the agent.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from reference.config.kinds import Form, Kind, ListOf, MapOf, Opaque, Scalar, Section
from reference.http.app import ROUTES
from reference.http.bodies import BODIES, EXAMPLES, REQUIRED
from reference.http.description import OPERATIONS, PARAMETERS, Operation
from reference.http.exchange import Handler
from reference.http.version import API_VERSION

_TEXT = "text/plain"
_JSON = "application/json"
_SCALARS: Mapping[Scalar, Mapping[str, object]] = {
    Scalar.STRING: {"type": "string"},
    Scalar.BOOLEAN: {"type": "boolean"},
    Scalar.INTEGER: {"type": "integer"},
    Scalar.NUMBER: {"type": "number"},
}
#: Words that the API writes in capitals.
_CAPITALS = {
    word: word.upper() for word in ("acl", "ca", "dns", "grpc", "http", "id", "tcp", "tls", "ttl", "uri")
}
_DURATION = r"^[0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m|h)$"
#: The types of parameters.
_TYPES: Mapping[str, Mapping[str, object]] = {
    "boolean": {"type": "boolean"},
    "datacenter": {"type": "string", "examples": ["dc1"]},
    "duration": {"type": "string", "pattern": _DURATION, "examples": ["10ms"]},
    "flag": {"type": "string", "maxLength": 0},
    "index": {"type": "integer", "minimum": 0},
    "integer": {"type": "integer", "minimum": 0},
    "level": {"type": "string", "enum": ["trace", "debug", "info", "warn", "err"]},
    "name": {"type": "string", "minLength": 1, "examples": ["web"]},
    "pair": {"type": "string", "examples": ["rack:7"]},
    "source": {"type": "string", "enum": ["source", "destination"]},
    "string": {"type": "string"},
}
_NEEDED = frozenset({"by", "name", "source", "destination", "enable"})
_ANSWERS: Mapping[str, Mapping[str, object]] = {
    "list": {"type": ["array", "null"]},
    "object": {"type": "object"},
    "any": {},
}
_MEANINGS = {
    200: "It was done; what was asked for.",
    400: "The request is wrong; the text says how.",
    401: "Access control is off.",
    403: "The token does not open this.",
    404: "There is no such thing.",
    405: "The method is not one of those in Allow.",
    409: "Its state does not allow it now.",
    415: "The form is switched off.",
    429: "The state is warning.",
    500: "It could not be done, and nothing was changed; the text says why.",
    503: "The state is critical.",
    504: "It was not done in time.",
}
_REFUSALS = (400, 403, 404)


def document() -> dict[str, Any]:
    """The whole description, in a stable order."""
    paths: dict[str, dict[str, Any]] = {}
    for path, handlers in ROUTES:
        template = re.sub(r":path\}", "}", path)
        for method, handler in handlers.items():
            operation = OPERATIONS[method, path]
            paths.setdefault(template, {})[method.lower()] = _operation(method, template, handler, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "The HTTP API of the proxyproof agent",
            "version": API_VERSION,
            "description": "What Consul's API of this version has to say about managed proxies, and to them.",
        },
        "servers": [{"url": "http://127.0.0.1:8500"}],
        "security": [{}, {"token": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Consul-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "schemas": {name: _body(name, kind) for name, kind in BODIES.items()},
        },
    }


def _operation(method: str, path: str, handler: Handler, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{method.lower()}{re.sub('[^a-z0-9]+', '_', path.removeprefix('/v1'))}".rstrip("_"),
        "summary": _summary(handler),
        "tags": [path.split("/")[2]],
        "parameters": [
            *(_path_parameter(name) for name in re.findall(r"\{(\w+)\}", path)),
            *(_parameter(name) for name in operation.query.split()),
            *([_pretty()] if operation.answer in _ANSWERS else []),
        ],
        "responses": _responses(operation),
    }
    if operation.body == "Rules":
        described["requestBody"] = {"content": {_TEXT: {"schema": {"type": "string"}}}}
    elif operation.body:
        schema = {"$ref": f"#/components/schemas/{operation.body}"}
        content: dict[str, Any] = {"schema": schema, "example": EXAMPLES[operation.body]}
        described["requestBody"] = {"required": True, "content": {_JSON: content}}
    return described


def _summary(handler: Handler) -> str:
    """The first sentence of what a handler says of itself, without the numbers of rules."""
    first = (inspect.getdoc(handler) or "").partition("\n")[0].replace("``", "`")
    return re.sub(r"\s*\((section|MP-)[^)]*\)", "", first)


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "examples": ["web"]}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _parameter(name: str) -> dict[str, Any]:
    kind, words = PARAMETERS[name]
    described: dict[str, Any] = {
        "name": name,
        "in": "query",
        "description": words,
        "schema": dict(_TYPES[kind]),
    }
    if name in _NEEDED:
        described["required"] = True
    if kind == "flag":
        described["allowEmptyValue"] = True
    return described


def _pretty() -> dict[str, Any]:
    return {
        "name": "pretty",
        "in": "query",
        "description": "JSON is indented.",
        "allowEmptyValue": True,
        "schema": dict(_TYPES["flag"]),
    }


def _responses(operation: Operation) -> dict[str, Any]:
    done: dict[str, Any] = {"description": _MEANINGS[200]}
    if operation.answer in _ANSWERS:
        done["content"] = {_JSON: {"schema": dict(_ANSWERS[operation.answer])}}
    elif operation.answer == "text":
        done["content"] = {_TEXT: {"schema": {"type": "string"}}}
    others = {
        str(status): {"description": _MEANINGS[status]}
        for status in sorted({*_REFUSALS, *operation.statuses})
    }
    return {"200": done, **others}


def _body(name: str, kind: Kind) -> dict[str, Any]:
    schema = _schema(kind)
    if name in REQUIRED:
        schema["required"] = list(REQUIRED[name])
    return schema


def _schema(kind: Kind) -> dict[str, Any]:
    match kind:
        case Scalar():
            return dict(_SCALARS[kind])
        case Form():
            return {"type": "string"}
        case ListOf(item):
            return {"type": "array", "items": _schema(item)}
        case MapOf(value):
            return {"type": "object", "additionalProperties": _schema(value)}
        case Opaque():
            return {"type": "object"}
        case Section(keys):
            return {"type": "object", "properties": {_name(key): _schema(each) for key, each in keys.items()}}
        case _:
            return {"type": ["string", "integer"]}


def _name(key: str) -> str:
    """``local_bind_port`` as the API writes it: ``LocalBindPort``."""
    return "".join(_CAPITALS.get(word) or word.capitalize() for word in key.split("_"))
