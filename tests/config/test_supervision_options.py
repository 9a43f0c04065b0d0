"""``connect.proxy.supervision``: durations, numbers and a signal, each refused with its name when it cannot hold."""

from __future__ import annotations

from typing import Any

import pytest

from reference.config.model import Supervision
from tests.config.writing import load_fragment, refused_fragment


def fragment(**options: Any) -> dict[str, Any]:
    return {"connect": {"proxy": {"supervision": options}}}


def test_everything_can_be_set_and_counts_as_effective() -> None:
    result = load_fragment(
        fragment(
            quick_starts=1,
            backoff="500ms",
            backoff_limit="5m",
            healthy_run="1m",
            stop_signal="term",
            stop_grace="30s",
            kill_retry="2s",
            restart_critical_after="1m30s",
            log_rotate_bytes=0,
            log_rotate_max_files=9,
        )
    )
    assert result.ignored == ()
    assert result.config.supervision == Supervision(
        quick_starts=1,
        backoff=0.5,
        backoff_limit=300.0,
        healthy_run=60.0,
        stop_signal="SIGTERM",
        stop_grace=30.0,
        kill_retry=2.0,
        restart_critical_after=90.0,
        log_rotate_bytes=0,
        log_rotate_max_files=9,
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"backoff": "soon"}, 'supervision.backoff: invalid duration: "soon"'),
        ({"backoff": "2m"}, "supervision.backoff (120s) is longer than backoff_limit (60s)"),
        ({"kill_retry": "0s"}, "supervision.kill_retry: 0s is out of range"),
        ({"stop_grace": "25h"}, "supervision.stop_grace: 90000s is out of range"),
        ({"stop_signal": "SIGKILL"}, "supervision.stop_signal: 'SIGKILL' is no signal to ask with"),
        ({"stop_signal": "loud"}, "supervision.stop_signal: 'loud' is no signal to ask with"),
        ({"quick_starts": 0}, "supervision.quick_starts: 0 is too small"),
        ({"log_rotate_bytes": -1}, "supervision.log_rotate_bytes: -1 is too small"),
        ({"log_rotate_bytes": 100}, "supervision.log_rotate_bytes: 100 is too small"),
        ({"log_rotate_max_files": 0}, "supervision.log_rotate_max_files: 0 is too small"),
        ({"grace": "5s"}, "grace"),
    ],
)
def test_what_cannot_hold_is_refused_by_name(options: dict[str, Any], says: str) -> None:
    assert says in str(refused_fragment(fragment(**options)))
