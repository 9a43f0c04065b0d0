"""What the HTTP API stands on: the parts of the agent that its endpoints read and change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reference.agent.checks import ProxyChecks
from reference.agent.services import LocalState
from reference.catalog.index import IndexClock
from reference.catalog.model import Node
from reference.catalog.store import Catalog
from reference.catalog.watch import Watch
from reference.config.model import AgentConfig
from reference.mesh.authority import Authority
from reference.mesh.intentions_register import IntentionRegister
from reference.mesh.leaf import LeafCache


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """The certificates of the mesh; absent when Connect is not enabled (MP-CA-001)."""

    authority: Authority
    leaves: LeafCache


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The parts of one agent. ``reload`` raises :class:`ReloadFailed`; ``leave`` lets the agent end."""

    config: AgentConfig
    node: Node
    state: LocalState
    checks: ProxyChecks
    catalog: Catalog
    index: IndexClock
    watch: Watch
    mesh: Mesh | None
    intentions: IntentionRegister
    reload: Callable[[], None]
    leave: Callable[[], None]


class ReloadFailed(Exception):
    """The configuration could not be read again, and nothing was changed; the text says why."""
