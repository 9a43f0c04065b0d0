"""``/v1/acl/policy`` and ``/v1/acl/rules``: what tokens can be given, and legacy rules in the current language."""

from __future__ import annotations

import msgspec

from reference.access import rules
from reference.access.authorizer import Level, Resource
from reference.access.register import POLICIES_TOPIC, PolicyDraft, UnknownToken, check_uuid
from reference.http.acl import LOOKUP_FAILED, decoded, find_token, named, read_acl, register_of
from reference.http.acl_views import PolicyStub, PolicyView, policy_stub, policy_view
from reference.http.exchange import Answer, ApiError, Call


class _PolicyRequest(msgspec.Struct, rename="lower"):
    id: str = ""
    name: str = ""
    description: str = ""
    rules: str = ""
    datacenters: list[str] = msgspec.field(default_factory=list)

    def draft(self) -> PolicyDraft:
        """What it says."""
        return PolicyDraft(
            name=self.name,
            description=self.description,
            rules=self.rules,
            datacenters=tuple(self.datacenters),
        )


async def policies(call: Call) -> Answer:
    """``GET /v1/acl/policies``."""
    register = register_of(call)

    def read() -> list[PolicyStub]:
        call.require(Resource.ACL, "", Level.READ)
        return [
            policy_stub(policy) for policy in sorted(register.policies.values(), key=lambda each: each.id)
        ]

    return await read_acl(call, read, topic=POLICIES_TOPIC)


async def create_policy(call: Call) -> Answer:
    """``PUT /v1/acl/policy``."""
    return await _set_policy(call, "")


async def get_policy(call: Call) -> Answer:
    """``GET /v1/acl/policy/:id``, and ``GET /v1/acl/policy/name/:name``."""
    register, policy_id = register_of(call), named(call, "policy")

    def read() -> PolicyView:
        call.require(Resource.ACL, "", Level.READ)
        if policy_id.startswith("name/"):
            policy = register.policy_named(policy_id.removeprefix("name/"))
        else:
            check_uuid(policy_id, LOOKUP_FAILED.format("policy"))
            policy = register.policies.get(policy_id)
        if policy is None:
            raise UnknownToken
        return policy_view(policy)

    return await read_acl(call, read, topic=POLICIES_TOPIC)


async def put_policy(call: Call) -> Answer:
    """``PUT /v1/acl/policy/:id``."""
    return await _set_policy(call, call.path("id"))


async def delete_policy(call: Call) -> Answer:
    """``DELETE /v1/acl/policy/:id``."""
    register, policy_id = register_of(call), named(call, "policy")
    call.require(Resource.ACL, "", Level.WRITE)
    check_uuid(policy_id, LOOKUP_FAILED.format("policy"))
    register.delete_policy(policy_id)
    return Answer(body=True)


async def translate(call: Call) -> Answer:
    """``POST /v1/acl/rules/translate``: legacy rules in the current language."""
    register_of(call)
    call.require(Resource.ACL, "", Level.READ)
    try:
        return Answer(text=rules.translate((await call.request.body()).decode()))
    except (rules.RulesError, UnicodeDecodeError) as error:
        raise ApiError(400, f"Bad request: {error}") from error


async def translate_token(call: Call) -> Answer:
    """``GET /v1/acl/rules/translate/:accessor``: the same for the rules of a legacy token."""
    register = register_of(call)
    call.require(Resource.ACL, "", Level.READ)
    token = find_token(register, named(call, "token"))
    if not token.rules:
        raise ApiError(400, "The specified token does not have any rules set")
    return Answer(text=rules.translate(token.rules))


async def _set_policy(call: Call, policy_id: str) -> Answer:
    register = register_of(call)
    asked = await decoded(call, _PolicyRequest, "Policy")
    call.require(Resource.ACL, "", Level.WRITE)
    if asked.id not in ("", policy_id):
        raise ApiError(400, "Bad request: Policy ID in URL and payload do not match")
    draft = asked.draft()
    policy = register.update_policy(policy_id, draft) if policy_id else register.create_policy(draft)
    return Answer(body=policy_view(policy))
