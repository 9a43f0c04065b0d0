"""The API of one agent without an agent around it: all parts but processes and sockets, on one event loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from reference.agent.checks import ProxyChecks
from reference.agent.observers import CatalogFeed
from reference.agent.services import LocalState, Remembered
from reference.catalog.index import IndexClock
from reference.catalog.model import Node
from reference.catalog.store import Catalog
from reference.catalog.watch import Watch
from reference.config.model import AgentConfig, ServiceDefinition
from reference.http.app import create_app
from reference.http.backend import Backend, Mesh
from reference.mesh.authority import Authority
from reference.mesh.intentions import Intention
from reference.mesh.intentions_register import IntentionRegister
from reference.mesh.intentions_storage import NoIntentionStorage
from reference.mesh.leaf import LeafCache
from reference.mesh.storage import ForgetfulStorage
from tests.agent.defining import settings

BUILTIN = ("<consul-1.4.3>", "connect", "proxy", "-log-level", "DEBUG")
NODE = Node(id="dc9c432b-f484-93fc-ac46-7a6acbe1d4e0", name="vm", address="127.0.0.1", datacenter="dc1")


@dataclass
class Api:
    """A client of the API, and the parts behind it."""

    client: httpx.AsyncClient
    backend: Backend
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
    **config: Any,
) -> AsyncIterator[Api]:
    """The API of an agent with these services of files, and these intentions."""
    index, watch = IndexClock(), Watch()
    catalog = Catalog(NODE, clock=index, watch=watch)
    state = LocalState(
        settings(command=BUILTIN), watch=watch, remembered=remembered, is_free=lambda address, port: True
    )
    for definition in definitions:
        state.register(definition, from_file=True)
    state.settle()
    checks = ProxyChecks(state, board=catalog)
    state.attach(CatalogFeed(catalog))
    state.attach(checks)
    authority = Authority.open(ForgetfulStorage(), datacenter="dc1", index=index.advance())
    leaves = LeafCache(authority, life=timedelta(hours=72), index=index, watch=watch)
    register = IntentionRegister(NoIntentionStorage(), index=index, watch=watch)
    for intention in intentions:
        register.known.put(intention)
    calls: list[str] = []
    backend = Backend(
        config=AgentConfig(node_name="vm", **{"dev_mode": True, **config}),
        node=NODE,
        state=state,
        checks=checks,
        catalog=catalog,
        index=index,
        watch=watch,
        mesh=Mesh(authority=authority, leaves=leaves) if connect else None,
        intentions=register,
        reload=lambda: calls.append("reload"),
        leave=lambda: calls.append("leave"),
    )
    transport = httpx.ASGITransport(app=create_app(backend))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
            yield Api(client=client, backend=backend, calls=calls)
    finally:
        watch.close()
        await checks.close()
