"""What custom proxies ask for: their configuration, certificates, who may come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from reference.agent.proxies import Managed, digest
from reference.agent.services import LocalState
from reference.catalog.model import Service
from reference.catalog.watch import Watch
from reference.http import connect, wire
from reference.http.exchange import ApiError, Call
from reference.mesh.authorize import AuthorizeInputError, Decision
from tests.faulty import fault


@fault(
    "integration/blocking/01", "integration/blocking/02", "integration/blocking/03", "integration/blocking/04"
)
def never_blocks() -> None:
    """Answers readers of a proxy's configuration at once, whether they know it already or not."""

    async def at_once(call: Call, record_id: str, read: Callable[[], Any]) -> Any:
        return read()

    connect.until_changed = at_once


@fault("integration/blocking/03")
def forgets_readers_of_what_is_gone() -> None:
    """Lets readers of a proxy's configuration wait on when the proxy is deregistered."""
    honest = LocalState._drop_proxy

    def quietly(self: LocalState, managed: Managed) -> None:
        self._watch, told = Watch(), self._watch
        try:
            honest(self, managed)
        finally:
            self._watch = told

    LocalState._drop_proxy = quietly  # type: ignore[method-assign]


@fault("integration/blocking/04", "integration/blocking/05")
def wakes_readers_for_nothing() -> None:
    """Takes each registration of a proxy for a change of its configuration."""
    honest = LocalState._define_proxy
    count: Counter[str] = Counter()

    def counting(self: LocalState, proxy: Any, registration: Any) -> None:
        count[registration.service.id] += 1
        honest(self, proxy, registration)

    def numbered(managed: Managed, target: Service) -> str:
        return digest((managed.proxy, target.name, count[target.id]))

    LocalState._define_proxy = counting  # type: ignore[method-assign]
    connect._config_hash = numbered


@fault("integration/config/02")
def breaks_down_over_unknown_ids() -> None:
    """Answers 500 to who asks for the configuration of a proxy that there is not."""
    honest = connect._config_view

    def failing(call: Call, proxy_id: str) -> tuple[wire.ProxyConfig, str]:
        if call.backend.state.proxy(proxy_id) is None and call.query.get("hash") is None:
            raise ApiError(500, "internal error")
        return honest(call, proxy_id)

    connect._config_view = failing


@fault("integration/leaf/01")
def names_leaves_wrongly() -> None:
    """Says of a leaf that it belongs to the service of the same name in another trust domain."""
    honest = wire.leaf

    def renamed(value: Any) -> wire.LeafView:
        return honest(replace(value, uri=value.uri.replace("spiffe://", "spiffe://other.")))

    wire.leaf = renamed


@fault("integration/roots/01")
def calls_no_root_active() -> None:
    """Says of none of its roots that it is the active one."""
    honest = wire.roots

    def passive(*arguments: Any) -> wire.Roots:
        found = honest(*arguments)
        return msgspec.structs.replace(
            found, roots=[msgspec.structs.replace(root, active=False) for root in found.roots]
        )

    wire.roots = passive


@fault("integration/authorize/01")
def gives_no_reason() -> None:
    """Authorizes without saying why."""
    honest = connect.authorize

    def tersely(**question: Any) -> Decision:
        return replace(honest(**question), reason="")

    connect.authorize = tersely


@fault("integration/authorize/02")
def answers_nonsense() -> None:
    """Answers no to who asks about nobody or nothing, as if that were a question."""
    honest = connect.authorize

    def patiently(**question: Any) -> Decision:
        try:
            return honest(**question)
        except AuthorizeInputError as error:
            return Decision(authorized=False, reason=str(error))

    connect.authorize = patiently
