"""The one clock of everything that can be read blockingly.

An index never repeats, not even over a restart that forgot everything: it begins at the milliseconds since the
epoch, and changes come more slowly than that. Without this, a reader that survives its agent (a managed proxy
does, by design) could present an index of the former life that happens to be the current one, and wait in vain.
"""

from __future__ import annotations

import time


class IndexClock:
    """Hands out increasing indexes."""

    def __init__(self, *, start: int | None = None) -> None:
        self._current = time.time_ns() // 1_000_000 if start is None else start

    @property
    def current(self) -> int:
        """The index of the latest change."""
        return self._current

    def advance(self) -> int:
        """The index of a change that is being made."""
        self._current += 1
        return self._current
