"""The API of one agent without an agent around it: all parts but processes and sockets, on one event loop."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from reference.access.control import AccessControl, Enforced
from reference.access.model import Token
from reference.access.register import PolicyDraft
from reference.agent.access import access_control, on_access_change, registration_rule, token_store
from reference.agent.check_runs import CheckMemory, CheckSettings
from reference.agent.checks import HealthChecks
from reference.agent.metrics import Metrics
from reference.agent.observers import CatalogFeed
from reference.agent.operations import Operations, Supervised
from reference.agent.services import LocalState, Remembered
from reference.catalog.documents import Documents, MemoryDocuments
from reference.catalog.index import IndexClock
from reference.catalog.model import agent_node
from reference.catalog.register import CatalogRegister
from reference.catalog.store import Catalog
from reference.catalog.watch import Watch
from reference.config.model import AgentConfig, ServiceDefinition
from reference.http.app import create_app
from reference.http.backend import Backend
from reference.mesh.intentions import Intention
from reference.mesh.intentions_register import IntentionRegister
from reference.mesh.mesh import Mesh
from reference.mesh.storage import ForgetfulStorage
from reference.query.execution import Executor
from reference.query.register import QueryRegister
from reference.supervisor.spec import ProxyStatus, Tally
from tests.agent.defining import settings

BUILTIN = ("<consul-1.4.3>", "connect", "proxy", "-log-level", "DEBUG")
NODE = agent_node(id="dc9c432b-f484-93fc-ac46-7a6acbe1d4e0", name="vm", address="127.0.0.1", datacenter="dc1")


@dataclass
class Processes:
    """A supervisor that has nothing to supervise until a test says so."""

    now: dict[str, ProxyStatus] = field(default_factory=dict)

    def status(self) -> Mapping[str, ProxyStatus]:
        return self.now

    def tally(self) -> Tally:
        return Tally()

    def restart(self, proxy_id: str, *, reason: str) -> bool:
        return False

    def hold(self, proxy_id: str, *, reason: str) -> bool:
        return False


@dataclass
class Api:
    """A client of the API, and the parts behind it."""

    client: httpx.AsyncClient
    backend: Backend
    feed: CatalogFeed
    calls: list[str] = field(default_factory=list)

    async def get(self, path: str, **headers: str) -> Any:
        """The decoded answer to a GET, which must succeed."""
        answer = await self.client.get(path, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.asynccontextmanager
async def api(
    *definitions: ServiceDefinition,
    remembered: Mapping[str, Remembered] | None = None,
    intentions: Iterable[Intention] = (),
    connect: bool = True,
    documents: Documents | None = None,
    supervised: Supervised | None = None,
    bearers: Mapping[str, str] | None = None,
    check_settings: CheckSettings | None = None,
    memory: CheckMemory | None = None,
    **config: Any,
) -> AsyncIterator[Api]:
    """The API of an agent with these services of files, and these intentions.

    ``bearers`` are secrets of tokens with their rules, where ``access`` switches access control on.
    """
    index, watch = IndexClock(), Watch()
    catalog = Catalog(NODE, clock=index, watch=watch)
    state = LocalState(
        settings(command=BUILTIN), watch=watch, remembered=remembered, is_free=lambda address, port: True
    )
    for definition in definitions:
        state.register(definition, from_file=True)
    state.settle()
    register = IntentionRegister(MemoryDocuments(), index=index, watch=watch)
    for intention in intentions:
        register.known.put(intention)
    queries = QueryRegister(MemoryDocuments(), index=index, watch=watch)
    calls: list[str] = []
    options = AgentConfig(node_name="vm", **{"dev_mode": True, **config})
    tokens = token_store(options.access, directory=options.data_dir)
    access = access_control(
        options, MemoryDocuments(), index=index, watch=watch, tokens=tokens, grant=state.grant
    )
    for secret, rules in (bearers or {}).items():
        bear(access, secret, rules)
    feed = CatalogFeed(
        catalog,
        NODE,
        services=state.services,
        results=lambda: checks.records(),
        may_show=registration_rule(access, state.token_of),
    )
    on_access_change(access, tokens, feed.sync)
    checks = HealthChecks(
        state,
        board=feed,
        settings=check_settings or CheckSettings(node=NODE.name),
        memory=memory,
        elsewhere=catalog.checks_on,
        changed=lambda seconds: watch.wait("checks", seconds=seconds),
    )
    state.attach(feed)
    state.attach(checks)
    state.checks.attach(checks)
    backend = Backend(
        config=options,
        node=NODE,
        state=state,
        checks=checks,
        catalog=catalog,
        registered=CatalogRegister(
            catalog, documents or MemoryDocuments(), on_local_change=lambda: calls.append("sync")
        ),
        index=index,
        watch=watch,
        mesh=Mesh(ForgetfulStorage(), datacenter="dc1", index=index, watch=watch) if connect else None,
        intentions=register,
        queries=queries,
        executor=Executor(queries, catalog, access=access, agent=NODE.name),
        access=access,
        tokens=tokens,
        metrics=Metrics(options.telemetry),
        operations=Operations(
            supervised or Processes(), state=state, checks=checks, watch=watch, config=options
        ),
        reload=lambda: calls.append("reload"),
        leave=lambda: calls.append("leave"),
    )
    transport = httpx.ASGITransport(app=create_app(backend))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
            yield Api(client=client, backend=backend, feed=feed, calls=calls)
    finally:
        watch.close()
        await checks.close()


def bear(access: AccessControl, secret: str, rules: str) -> Token:
    """A new token with this secret and these rules."""
    assert isinstance(access, Enforced)
    policy = access.register.create_policy(PolicyDraft(name=f"of-{secret}", rules=rules))
    return access.register.put_token(
        Token(accessor=str(uuid.uuid4()), secret=secret, policies=(policy.id,), created_at=datetime.now(UTC))
    )
