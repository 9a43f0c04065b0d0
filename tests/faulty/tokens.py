"""The tokens of managed proxies."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from reference.agent import services
from reference.agent.services import LocalState, Registration
from reference.http import connect, exchange
from reference.http.exchange import Call
from tests.faulty import fault


@fault("token/carrier/01")
def knows_no_bearers() -> None:
    """Does not look for a token in the header ``Authorization``."""
    honest = exchange.presented

    def presented(query: Mapping[str, str], headers: Mapping[str, str]) -> str:
        return honest(query, {name: text for name, text in headers.items() if name != "authorization"})

    exchange.presented = presented


@fault("token/carrier/01", "token/foreign/01", "token/foreign/02")
def lets_tokens_read_one_service_more() -> None:
    """Lets a proxy read, besides the leaf of its own service, that of ``redis``."""
    honest = connect.leaf

    async def leaf(call: Call) -> Any:
        if call.path("service") == "redis" and call.backend.state.grant(call.token) is not None:
            managed = call.backend.state.proxy("redis-proxy")
            if managed is not None:
                call.request.scope["query_string"] = f"token={managed.token}".encode()
                return await honest(Call(call.backend, exchange.Request(call.request.scope)))
        return await honest(call)

    connect.leaf = leaf


@fault("custom/retrieve/01", "token/own/01", "token/own/02")
def closes_configuration_to_its_owner() -> None:
    """Refuses a custom proxy its configuration when it asks with its own token."""
    honest = connect._config_view

    def view(call: Call, proxy_id: str) -> Any:
        managed = call.backend.state.proxy(proxy_id)
        if managed is not None and managed.own_command and call.token == managed.token:
            raise exchange.ApiError(403, "Permission denied")
        return honest(call, proxy_id)

    connect._config_view = view


@fault("token/stable/02")
def remembers_tokens_for_ever() -> None:
    """Gives a service that is registered again the token that its proxy had before."""
    known: dict[str, str] = {}
    honest = LocalState._define_proxy

    def define(self: LocalState, proxy: Any, registration: Registration) -> None:
        token = known.setdefault(registration.service.id, str(uuid.uuid4()))
        services.new_token = lambda: token
        honest(self, proxy, registration)

    LocalState._define_proxy = define  # type: ignore[method-assign]


@fault("token/unique/01")
def gives_out_short_tokens() -> None:
    """Makes tokens of four digits, one after the other."""
    count = [1000]

    def counted() -> str:
        count[0] += 1
        return str(count[0])

    services.new_token = counted


@fault("token/foreign/01")
def takes_names_by_their_beginning() -> None:
    """Takes the token of a proxy for good also for services whose names only begin as that of its own."""
    honest = connect.leaf

    async def leaf(call: Call) -> Any:
        state, name = call.backend.state, call.path("service")
        grant = state.grant(call.token)
        if grant is None or grant.service == name or not name.startswith(grant.service):
            return await honest(call)
        mesh = connect.mesh(call)
        value, _ = mesh.leaves.current(name)
        return exchange.Answer(body=connect.wire.leaf(value), headers={"X-Consul-Index": str(value.index)})

    connect.leaf = leaf
