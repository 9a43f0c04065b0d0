"""Access control, tokens and registrations."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from starlette.requests import Request

import reference.agent.access as access
import reference.agent.agent as agent
import reference.http.acl_legacy as acl_legacy
import reference.http.connect as connect
import reference.http.exchange as exchange
from reference.access.authorizer import Level, Resource
from reference.access.control import AccessControl, Enforced
from reference.access.register import AccessRegister
from reference.agent.observers import ProcessFeed
from reference.agent.proxies import Managed
from reference.catalog.documents import Documents, MemoryDocuments
from reference.config.load import LoadResult
from reference.http.acl_legacy import LegacyView
from reference.http.exchange import Answer, Call
from tests.faulty import fault


@fault(
    "security/registration/01",
    "security/registration/02",
    "security/registration/04",
    "security/registration/05",
)
def accepts_managed_registration() -> None:
    """Registers managed proxies over HTTP without having been allowed to."""
    honest = agent.run

    def permissive(loaded: LoadResult, **rest: Any) -> int:
        config = replace(loaded.config, allow_managed_api_registration=True)
        return honest(replace(loaded, config=config), **rest)

    agent.run = permissive


class Careless(Enforced):
    """Knows tokens, and looks at none."""

    enabled = AccessControl.enabled
    allows_by_default = AccessControl.allows_by_default
    authorizer = AccessControl.authorizer
    of_service = AccessControl.of_service


@fault(
    "access/closed/01",
    "access/closed/02",
    "access/closed/03",
    "access/dns/01",
    "access/registration/01",
    "access/rules/01",
    "access/rules/02",
    "access/rules/03",
    "access/rules/04",
    "access/rules/05",
    "intentions/default/01",
    "intentions/default/02",
    "intentions/write/01",
    "token/foreign/02",
    "token/own/02",
    "token/readonly/01",
    "token/revoked/01",
)
def asks_nobody_for_a_token() -> None:
    """Keeps tokens and policies as it was told, and lets everybody do everything."""
    access.Enforced = Careless  # type: ignore[misc]


class Forgetful(AccessRegister):
    """Remembers nothing of what it did."""

    def __init__(self, documents: Documents, **rest: Any) -> None:
        super().__init__(MemoryDocuments(), **rest)

    @property
    def reset_index(self) -> int:
        return 0

    def bootstrap(self, *, reset: int | None) -> Any:
        self._reset_index = 0
        return super().bootstrap(reset=None)


@fault("access/bootstrap/01", "access/persist/01")
def forgets_tokens() -> None:
    """Acknowledges tokens without storing them, and makes a first management token as often as it is asked."""
    access.AccessRegister = Forgetful  # type: ignore[misc]


@fault("access/secret/01", "token/secret/01")
def logs_tokens() -> None:
    """Writes requests into its log as they are, with the tokens in them."""

    def tell_all(request: Request) -> str:
        return f"{request.method} {request.url.path}?{request.url.query}"

    exchange._describe = tell_all


@fault("access/rules/05")
def decides_for_readers() -> None:
    """Tells whoever may read a service whom it lets in."""

    def reads(call: Call, service: str) -> None:
        if call.backend.access.enabled and call.backend.state.grant(call.token) is None:
            call.require(Resource.SERVICE, service, Level.READ)

    connect._check_speaks_for = reads


@fault("token/local/01")
def makes_tokens_of_proxies_official() -> None:
    """Keeps the tokens of proxies among those of access control."""
    honest = acl_legacy.read_acl

    async def with_proxies(call: Call, read: Any) -> Answer:
        official = [_official(managed.token) for managed in call.backend.state._proxies.values()]
        return await honest(call, lambda: [*read(), *official])

    acl_legacy.read_acl = with_proxies


def _official(secret: str) -> LegacyView:
    return LegacyView(id=secret, name="proxy", type="client", rules="", create_index=1, modify_index=1)


@fault(
    "persistence/definition/01",
    "removal/complete/01",
    "security/registration/03",
    "stopping/deregister/08",
    "stopping/deregister/09",
    "token/stable/02",
)
def starts_nothing_that_was_registered() -> None:
    """Registers managed proxies over HTTP where that is allowed, and does not start them."""
    honest = ProcessFeed.proxy_put

    def proxy_put(self: ProcessFeed, managed: Managed) -> None:
        if managed.from_file:
            honest(self, managed)

    ProcessFeed.proxy_put = proxy_put  # type: ignore[method-assign]
