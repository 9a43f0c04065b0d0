"""``/v1/status``: who leads. This agent, where the original's servers would listen."""

from __future__ import annotations

from reference.http.exchange import Answer, Call


async def leader(call: Call) -> Answer:
    """``GET /v1/status/leader``."""
    return Answer(body=_server(call))


async def peers(call: Call) -> Answer:
    """``GET /v1/status/peers``."""
    return Answer(body=[_server(call)])


def _server(call: Call) -> str:
    address = call.backend.node.address
    return f"[{address}]:8300" if ":" in address else f"{address}:8300"
