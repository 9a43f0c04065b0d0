"""The canary: a check that meets an agent which is known to lie, in every run, and must fail there.

It goes the way of every other check, through the same process, laboratory, waits and verdicts. Should one of them
swallow failures, the canary passes, and the run is worth nothing.
"""

from __future__ import annotations

from pathlib import Path

from conformance.plugin.discovery import discover

#: What its failure says.
CAUGHT = "the liar is caught"
(CHECK,) = discover(Path(__file__).parent)
