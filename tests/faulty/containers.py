"""What comes to light only where agents, proxies and services have containers of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reference.agent import proxies
from reference.agent.persistence import DataDirectory
from tests.faulty import fault


@fault("containers/network/01", in_container=True)
def listens_where_nobody_else_is() -> None:
    """Tells its proxies to listen on the loopback address, whatever address it was bound to itself."""
    honest = proxies.effective_config
    proxies.effective_config = lambda managed, **more: honest(managed, **{**more, "bind_addr": "127.0.0.1"})


@fault("containers/upgrade/01", in_container=True)
def keeps_tokens_beside_its_program() -> None:
    """Stores the tokens of its proxies outside of its data directory, where an upgrade leaves nothing."""
    honest = DataDirectory.__init__

    def beside(self: DataDirectory, path: Path, **more: Any) -> None:
        honest(self, path, **more)
        self._proxies = Path("/var/tmp/proxies")

    DataDirectory.__init__ = beside  # type: ignore[method-assign]
