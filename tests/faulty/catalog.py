"""What the mesh is told of proxies and sidecars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

import reference.agent.services as services
import reference.config.definition as definition
from reference.agent import agent
from reference.config import load
from reference.config.model import ManagedProxy, ServiceDefinition
from tests.faulty import fault


@fault("discovery/repair/01")
def leaves_the_catalog_alone() -> None:
    """Does not look at what others do to its records in the catalog."""

    def never(work: Callable[[], None], *, seconds: float) -> None:
        pass

    agent._soon = never


@fault(
    "configuration/nested/01",
    "sidecar/register/01",
    "sidecar/register/02",
    "sidecar/register/03",
    "sidecar/register/04",
    "sidecar/register/05",
)
def mistakes_sidecars() -> None:
    """Takes sidecars for ordinary services without checks, gives them all one port, and has no rules for them."""
    honest = services.sidecar_of_service

    def ordinary(*arguments: Any, **rest: Any) -> ServiceDefinition | None:
        sidecar = honest(*arguments, **rest)
        return None if sidecar is None else replace(sidecar, kind="", port=rest["low"], checks=())

    services.sidecar_of_service = ordinary
    definition._check_nesting = lambda *arguments, **rest: None


@fault("sidecar/process/01", "sidecar/removal/01")
def runs_and_keeps_sidecars() -> None:
    """Starts a process for each sidecar, and keeps sidecars when their services go."""
    honest = services.sidecar_of_service

    def with_process(*arguments: Any, **rest: Any) -> ServiceDefinition | None:
        sidecar = honest(*arguments, **rest)
        command = ManagedProxy(command=("/bin/sleep", "600"))
        return None if sidecar is None else replace(sidecar, proxy=command)

    services.sidecar_of_service = with_process
    services.sidecar_id = lambda service_id: "nobody"


@fault("configuration/any/01")
def writes_in_one_script() -> None:
    """Leaves out what is not ASCII of the tags in its definitions."""
    honest = load.definition_from_file

    def in_ascii(*arguments: Any, **more: Any) -> ServiceDefinition:
        service = honest(*arguments, **more)
        tags = (tag.encode("ascii", "ignore").decode() for tag in service.tags)
        return replace(service, tags=tuple(tags))

    load.definition_from_file = in_ascii  # type: ignore[attr-defined]
