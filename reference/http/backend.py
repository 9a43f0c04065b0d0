"""What the HTTP API stands on: the parts of the agent that its endpoints read and change."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from reference.access.control import AccessControl
from reference.agent.agent_tokens import TokenStore
from reference.agent.checks import HealthChecks
from reference.agent.metrics import Metrics
from reference.agent.operations import Operations
from reference.agent.services import LocalState
from reference.catalog.index import IndexClock
from reference.catalog.model import Node
from reference.catalog.register import CatalogRegister
from reference.catalog.store import Catalog
from reference.catalog.watch import Watch
from reference.config.model import AgentConfig
from reference.mesh.intentions_register import IntentionRegister
from reference.mesh.mesh import Mesh
from reference.query.execution import Executor
from reference.query.register import QueryRegister


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of one agent.

    ``reload`` raises :class:`~reference.agent.reload.ReloadFailed`; ``leave`` lets the agent end.
    """

    config: AgentConfig
    node: Node
    state: LocalState
    checks: HealthChecks
    catalog: Catalog
    registered: CatalogRegister
    index: IndexClock
    watch: Watch
    mesh: Mesh | None
    intentions: IntentionRegister
    queries: QueryRegister
    executor: Executor
    access: AccessControl
    tokens: TokenStore
    operations: Operations
    metrics: Metrics
    reload: Callable[[], None]
    leave: Callable[[], None]
