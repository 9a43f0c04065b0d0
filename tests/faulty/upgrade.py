"""What an upgrade of the agent's program does to its proxies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from reference.agent import agent, supervision
from reference.config.model import AgentConfig
from reference.supervisor import real, steps
from reference.supervisor.runner import ManagedProxies
from reference.supervisor.spec import ProxySpec
from tests.faulty import fault


@fault("lifecycle/upgrade/04", upgraded=True)
def insists_on_its_own_file() -> None:
    """Starts a default proxy only from the very file that it was started from itself, and that may be replaced."""
    own = os.open(sys.argv[0], os.O_RDONLY)

    def locate(launcher: tuple[str, ...]) -> tuple[str, ...]:
        # What the kernel shows for a file that is open and has been replaced ends in " (deleted)".
        return (os.readlink(f"/proc/self/fd/{own}"), *launcher[1:])

    setattr(supervision, "locate", locate)  # noqa: B010


@fault("lifecycle/upgrade/01", "lifecycle/upgrade/02", upgraded=True)
def replaces_proxies_after_an_upgrade() -> None:
    """Takes a proxy for outdated as soon as it was started by another program file than the agent's."""
    honest = steps.fingerprint

    def by_file(spec: ProxySpec) -> str:
        if not spec.launcher:
            return honest(spec)
        file = os.stat(spec.launcher[0])
        return f"{honest(spec)} of {spec.launcher[0]} {file.st_ino} {file.st_ctime_ns}"

    setattr(steps, "fingerprint", by_file)  # noqa: B010  # mypy: what it imports is not to be assigned
    setattr(real, "fingerprint", by_file)  # noqa: B010


@fault("lifecycle/upgrade/03", upgraded=True)
def starts_proxies_from_where_it_was() -> None:
    """Starts its default proxies from where its program was when the data directory was new."""
    honest = supervision.managed_proxies

    def remembering(config: AgentConfig, **keys: object) -> ManagedProxies:
        def locate(launcher: tuple[str, ...]) -> tuple[str, ...]:
            if config.data_dir is None:
                return launcher
            kept: Path = config.data_dir / "launcher"
            if not kept.exists():
                kept.write_text(launcher[0])
            return (kept.read_text(), *launcher[1:])

        setattr(supervision, "locate", locate)  # noqa: B010
        return honest(config, **keys)  # type: ignore[arg-type]

    setattr(agent, "managed_proxies", remembering)  # noqa: B010
