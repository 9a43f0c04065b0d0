"""Runs managed proxies as root without having been allowed to."""

from __future__ import annotations

from typing import Any

from reference.supervisor.core import Supervisor

BREAKS = frozenset(
    {
        "security/root/01",
        "security/root/04",
        "security/independence/01",
    }
)


def install() -> None:
    honest = Supervisor.__init__

    def without_refusal(self: Supervisor, *, refusal: str | None = None, **rest: Any) -> None:
        honest(self, refusal=None, **rest)

    Supervisor.__init__ = without_refusal  # type: ignore[method-assign,assignment]
