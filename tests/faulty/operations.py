"""What operators ask for and are told."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

import reference.config.settle as settle
from reference.agent.checks import HealthChecks
from reference.agent.operations import Operations, Restarted, View
from reference.config.model import Supervision
from reference.config.settings import Settings
from reference.supervisor.spec import ProxyState
from tests.faulty import fault


@fault(
    "lifecycle/backoff/04",
    "operations/list/02",
    "operations/list/03",
    "operations/stop/01",
    "security/root/06",
)
def hides_trouble() -> None:
    """Calls every managed proxy running, and keeps to itself why one is not."""
    honest = Operations.views

    def views(self: Operations) -> tuple[View, ...]:
        return tuple(
            replace(view, status=replace(view.status, state=ProxyState.RUNNING)) for view in honest(self)
        )

    def tell(self: HealthChecks, proxy_id: str, trouble: str) -> Any:
        """Nothing."""

    Operations.views = views  # type: ignore[method-assign]
    HealthChecks.tell = tell  # type: ignore[method-assign]


@fault(
    "lifecycle/backoff/05",
    "logs/rotate/01",
    "logs/rotate/02",
    "operations/critical/01",
    "stopping/options/01",
)
def ignores_supervision_options() -> None:
    """Accepts every option of ``connect.proxy.supervision``, and goes on with the defaults."""

    def deaf(settings: Settings) -> Supervision:
        return Supervision()

    settle.supervision = deaf


@fault("operations/restart/01", "operations/restart/02", "operations/stop/01")
def obeys_no_operator() -> None:
    """Answers operators that all was done, and does nothing."""

    async def restart(self: Operations, proxy_id: str, *, seconds: float) -> Restarted:
        pid = self._status(proxy_id).pid
        return Restarted(old_pid=pid, new_pid=pid or 0, known_by="notice")

    async def stop(self: Operations, proxy_id: str, *, seconds: float) -> int | None:
        return self._status(proxy_id).pid

    Operations.restart = restart  # type: ignore[method-assign]
    Operations.stop = stop  # type: ignore[method-assign]
