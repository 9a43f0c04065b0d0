"""``/v1/acl/create`` and its like: tokens as they were before version 1.4, for clients that know no other."""

from __future__ import annotations

import msgspec

from reference.access import legacy
from reference.access.authorizer import Level, Resource
from reference.access.model import CLIENT, Token
from reference.access.tokens import PermissionDenied
from reference.agent.records import Record
from reference.http.acl import lower, read_acl, register_of
from reference.http.exchange import Answer, ApiError, Call


class LegacyView(Record, kw_only=True):
    """A token with its secret, which is its only name here."""

    id: str
    name: str
    type: str
    rules: str
    create_index: int
    modify_index: int


class Created(Record, kw_only=True):
    id: str


class _Request(msgspec.Struct, rename="lower"):
    id: str = ""
    name: str = ""
    type: str = CLIENT
    rules: str = ""

    def draft(self) -> legacy.LegacyDraft:
        """What it says."""
        return legacy.LegacyDraft(id=self.id, name=self.name, type=self.type, rules=self.rules)


async def create(call: Call) -> Answer:
    """``PUT /v1/acl/create``."""
    return _put(call, await _request(call))


async def update(call: Call) -> Answer:
    """``PUT /v1/acl/update``; an unknown token is made."""
    asked = await _request(call)
    if not asked.id:
        raise ApiError(400, "ACL ID must be set")
    return _put(call, asked)


async def clone(call: Call) -> Answer:
    """``PUT /v1/acl/clone/:secret``."""
    register, secret = register_of(call), _secret(call)
    token = register.bearer(secret)
    if token is None or not legacy.is_legacy(token):
        raise PermissionDenied
    return _put(call, _Request(name=token.description, type=token.type, rules=token.rules))


async def destroy(call: Call) -> Answer:
    """``PUT /v1/acl/destroy/:secret``."""
    register, secret = register_of(call), _secret(call)
    call.require(Resource.ACL, "", Level.WRITE)
    legacy.destroy(register, secret)
    return Answer(body=True)


async def info(call: Call) -> Answer:
    """``GET /v1/acl/info/:secret``: nobody has to be somebody to ask for a secret that he knows."""
    register, secret = register_of(call), _secret(call)

    def read() -> list[LegacyView]:
        token = register.bearer(secret)
        return [_view(token)] if token is not None and legacy.is_legacy(token) else []

    return await read_acl(call, read)


async def list_(call: Call) -> Answer:
    """``GET /v1/acl/list``: with all secrets, so for those who may change them."""
    register = register_of(call)

    def read() -> list[LegacyView]:
        call.require(Resource.ACL, "", Level.WRITE)
        found = [token for token in register.tokens.values() if legacy.is_legacy(token)]
        return [_view(token) for token in sorted(found, key=lambda token: token.secret)]

    return await read_acl(call, read)


def _put(call: Call, asked: _Request) -> Answer:
    register = register_of(call)
    call.require(Resource.ACL, "", Level.WRITE)
    return Answer(body=Created(id=legacy.put(register, asked.draft()).secret))


async def _request(call: Call) -> _Request:
    register_of(call)
    if not await call.request.body():
        return _Request()
    try:
        body = await call.json()
        if not isinstance(body, dict):
            raise ValueError("'' expected a map")
        return msgspec.convert(lower(body), _Request)
    except ValueError as error:
        raise ApiError(400, f"Request decode failed: {error}") from error


def _secret(call: Call) -> str:
    secret = call.path("id")
    if not secret:
        raise ApiError(400, "Missing ACL")
    return secret


def _view(token: Token) -> LegacyView:
    return LegacyView(
        id=token.secret,
        name=token.description,
        type=token.type,
        rules=token.rules,
        create_index=token.created,
        modify_index=token.modified,
    )
