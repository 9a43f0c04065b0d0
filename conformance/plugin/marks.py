"""The one mark of a check: which requirement it proves."""

from __future__ import annotations

import pytest

from conformance.requirements.register import IDENTIFIER


def requirement(identifier: str, *, takes: float = 0.0) -> pytest.MarkDecorator:
    """Say that a ``check_*`` function proves the requirement ``area/behaviour/nn``.

    A check proves one requirement; several checks may prove the same. The argument is a plain string literal,
    so that the suite can tell what is tested without importing anything (:mod:`conformance.plugin.discovery`).
    ``takes`` is for a check that has to wait for long, such as for a back-off: about how many seconds it takes. Those
    begin first, so that others run beside them and nobody waits for them in the end.
    Raises :class:`ValueError` for a malformed id; an id that the register lacks is found before the run starts.
    """
    if not IDENTIFIER.fullmatch(identifier):
        raise ValueError(f"{identifier!r} is not a requirement id of the form area/behaviour/nn")
    return pytest.mark.requirement(identifier)
