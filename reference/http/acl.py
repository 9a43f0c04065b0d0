"""``/v1/acl``: tokens, policies, and how the first of them comes to be (Consul 1.4). All reads can be blocking.

Who may read tokens and policies has ``acl = "read"``; who may change them, and see secrets, ``acl = "write"``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from reference.access.authorizer import Level, Resource
from reference.access.control import Enforced
from reference.access.model import REDACTED, Token
from reference.access.register import (
    TOKENS_TOPIC,
    AccessError,
    AccessRegister,
    PolicyLink,
    TokenDraft,
    UnknownToken,
    check_uuid,
)
from reference.files import LinuxFiles, remove
from reference.http.acl_views import BootstrapView, TokenStub, TokenView, token_stub, token_view
from reference.http.exchange import Answer, ApiError, Call
from reference.http.reading import checked_options, query_headers

_log = logging.getLogger("acl")
T = TypeVar("T")

#: In the data directory: the administrator puts the reset index there to make a management token once more.
RESET_FILE = "acl-bootstrap-reset"
LOOKUP_FAILED = "failed acl {} lookup: index error: UUID must be 36 characters"


class _Link(msgspec.Struct, rename="lower"):
    id: str = ""
    name: str = ""


class _TokenRequest(msgspec.Struct, rename="lower"):
    """A token as a user sends it; what he read and sends back is accepted, too."""

    accessorid: str = ""
    secretid: str = ""
    description: str = ""
    policies: list[dict[str, object]] = msgspec.field(default_factory=list)
    rules: str = ""
    local: bool = False

    def draft(self) -> TokenDraft:
        """What it says. Raises :class:`ValueError`."""
        if self.rules:
            raise AccessError("Rules cannot be specified for this token")
        links = [msgspec.convert(lower(link), _Link) for link in self.policies]
        return TokenDraft(
            secret=self.secretid,
            description=self.description,
            policies=tuple(PolicyLink(id=link.id, name=link.name) for link in links),
            local=self.local,
        )


def register_of(call: Call) -> AccessRegister:
    """The tokens and policies, where access control is switched on."""
    access = call.backend.access
    if not isinstance(access, Enforced):
        raise ApiError(401, "ACL support disabled")
    call.check_datacenter()
    return access.register


async def bootstrap(call: Call) -> Answer:
    """``PUT /v1/acl/bootstrap``: the first management token, for whoever asks first."""
    register = register_of(call)
    data_dir = call.backend.config.data_dir
    file = None if data_dir is None else data_dir / RESET_FILE
    reset = None if file is None or not register.reset_index else _reset_index(file)
    token = register.bootstrap(reset=reset)
    if file is not None and reset is not None:
        # Used up; left behind, it would allow for another one after a restore from a backup.
        try:
            remove(LinuxFiles(), file)
        except OSError as error:
            _log.warning("failed to remove the bootstrap file %s: %s", file, error.strerror)
    _log.info("ACL bootstrap completed")
    view = token_view(token, register, secret=token.secret)
    fields = {name: getattr(view, name) for name in view.__struct_fields__}
    return Answer(body=BootstrapView(id=token.secret, **fields))


async def tokens(call: Call) -> Answer:
    """``GET /v1/acl/tokens``, with ``?policy=`` those that have the policy of this id."""
    register = register_of(call)
    policy = call.query.get("policy", "")

    def read() -> list[TokenStub]:
        call.require(Resource.ACL, "", Level.READ)
        found = [token for token in register.tokens.values() if not policy or policy in token.policies]
        return [token_stub(token, register) for token in sorted(found, key=lambda token: token.accessor)]

    return await read_acl(call, read)


async def create_token(call: Call) -> Answer:
    """``PUT /v1/acl/token``."""
    return await _set_token(call, "")


async def token_self(call: Call) -> Answer:
    """``GET /v1/acl/token/self``: the token of the request."""
    register = register_of(call)

    def read() -> TokenView:
        token = register.bearer(call.token or call.backend.tokens.current.default)
        if token is None:
            raise UnknownToken
        return token_view(token, register, secret=token.secret)

    return await read_acl(call, read)


async def get_token(call: Call) -> Answer:
    """``GET /v1/acl/token/:accessor``; the secret is for those who may change it."""
    register, accessor = register_of(call), named(call, "token")

    def read() -> TokenView:
        call.require(Resource.ACL, "", Level.READ)
        token = find_token(register, accessor)
        shown = token.secret if call.allowed(Resource.ACL, "", Level.WRITE) else REDACTED
        return token_view(token, register, secret=shown)

    return await read_acl(call, read)


async def put_token(call: Call) -> Answer:
    """``PUT /v1/acl/token/:accessor``, and ``PUT /v1/acl/token/:accessor/clone``."""
    accessor = call.path("id")
    if accessor.endswith("/clone"):
        return await _clone_token(call, accessor.removesuffix("/clone"))
    return await _set_token(call, accessor)


async def delete_token(call: Call) -> Answer:
    """``DELETE /v1/acl/token/:accessor``."""
    register, accessor = register_of(call), named(call, "token")
    call.require(Resource.ACL, "", Level.WRITE)
    register.delete_token(accessor, asker=call.token or call.backend.tokens.current.default)
    return Answer(body=True)


async def replication(call: Call) -> Answer:
    """``GET /v1/acl/replication``: there is one datacenter, and nothing to replicate."""
    register_of(call)
    never = "0001-01-01T00:00:00Z"
    return Answer(
        body={
            "Enabled": False,
            "Running": False,
            "SourceDatacenter": "",
            "ReplicationType": "",
            "ReplicatedIndex": 0,
            "ReplicatedTokenIndex": 0,
            "LastSuccess": never,
            "LastError": never,
        }
    )


async def read_acl(call: Call, read: Callable[[], T], *, topic: str = TOKENS_TOPIC) -> Answer:
    """Answer a read of tokens or of policies once they have changed, if the caller waits for that."""
    register, watch = register_of(call), call.backend.watch
    checked_options(call)

    def now() -> tuple[int, T]:
        return (register.tokens_index if topic == TOKENS_TOPIC else register.policies_index), read()

    index, body = await call.newer(now, sleep=lambda seconds: watch.wait(topic, seconds=seconds))
    return Answer(body=body, headers=query_headers(index))


def find_token(register: AccessRegister, accessor: str) -> Token:
    """The token of this accessor. Raises :class:`UnknownToken` and :class:`AccessError`."""
    check_uuid(accessor, "failed acl token lookup: " + LOOKUP_FAILED.format("token"))
    token = register.tokens.get(accessor)
    if token is None:
        raise UnknownToken
    return token


async def _set_token(call: Call, accessor: str) -> Answer:
    register = register_of(call)
    asked = await decoded(call, _TokenRequest, "Token")
    call.require(Resource.ACL, "", Level.WRITE)
    if asked.accessorid not in ("", accessor):
        raise ApiError(400, "Bad request: Token Accessor ID in URL and payload do not match")
    try:
        draft = asked.draft()
    except msgspec.ValidationError as error:
        raise ApiError(400, f"Bad request: Token decoding failed: {error}") from error
    token = register.update_token(accessor, draft) if accessor else register.create_token(draft)
    return Answer(body=token_view(token, register, secret=token.secret))


async def _clone_token(call: Call, accessor: str) -> Answer:
    register = register_of(call)
    empty = not (await call.request.body()).strip()
    asked = _TokenRequest() if empty else await decoded(call, _TokenRequest, "Token")
    call.require(Resource.ACL, "", Level.WRITE)
    check_uuid(accessor, "failed acl token lookup: " + LOOKUP_FAILED.format("token"))
    token = register.clone_token(accessor, description=asked.description)
    return Answer(body=token_view(token, register, secret=token.secret))


async def decoded(call: Call, of: type[T], what: str) -> T:
    try:
        body = await call.json()
        if not isinstance(body, dict):
            raise ValueError("'' expected a map")
        return msgspec.convert(lower(body), of)
    except ValueError as error:
        raise ApiError(400, f"Bad request: {what} decoding failed: {error}") from error


def lower(body: dict[str, object]) -> dict[str, object]:
    """Keys in any case, as the original reads them; null is as good as nothing."""
    return {key.lower(): value for key, value in body.items() if value is not None}


def named(call: Call, what: str) -> str:
    given = call.path("id")
    if not given:
        raise ApiError(400, f"Bad request: Missing {what} ID")
    return given


def _reset_index(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no number"
        _log.error("the bootstrap file %s cannot be used: %s", file, why)
        return None
