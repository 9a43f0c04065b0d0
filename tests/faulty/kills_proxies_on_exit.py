"""Takes its proxies along when it is asked to end, although it has a data directory."""

from __future__ import annotations

from reference.supervisor.runner import ManagedProxies

BREAKS = frozenset(
    {
        "lifecycle/survive/02",
        "lifecycle/survive/03",
        "lifecycle/survive/05",
        "lifecycle/adopt/01",
        "dev/data-dir/01",
    }
)


def install() -> None:
    honest = ManagedProxies.shut_down

    async def shut_down(self: ManagedProxies, *, stop: bool) -> None:
        await honest(self, stop=True)

    ManagedProxies.shut_down = shut_down  # type: ignore[method-assign]
