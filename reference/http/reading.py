"""What reads of the catalog have in common: how they block, how consistent they are, what they say of themselves.

There is one server, and it answers from its own memory: every answer is as consistent as the strictest reader wants,
and the options that ask for less are understood, checked for contradictions as in the original, and repeated in the
headers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from reference.config.durations import parse_duration
from reference.http.exchange import Answer, ApiError, Call

T = TypeVar("T")

_NUMBERS = ("max-age=", "stale-if-error=")


def query_headers(index: int) -> dict[str, str]:
    """What accompanies an answer from the catalog; there is one server, so it always leads and is never late."""
    return {
        "X-Consul-Index": str(index),
        "X-Consul-KnownLeader": "true",
        "X-Consul-LastContact": "0",
    }


async def listed(call: Call, topic: str, read: Callable[[], T], *, cacheable: bool = False) -> Answer:
    """The answer to a blocking read of what the catalog has under ``topic``.

    ``cacheable`` reads take ``?cached``: the answer is always the current one, and says that it was at hand.
    """
    call.identify()
    cached = cacheable and "cached" in call.query
    headers = {"X-Consul-Effective-Consistency": checked_options(call, cached=cached)}
    if cached:
        headers |= {"X-Cache": "HIT", "Age": "0"}
    catalog, watch = call.backend.catalog, call.backend.watch
    index, body = await call.newer(
        lambda: (catalog.index_of(topic), read()), sleep=lambda seconds: watch.wait(topic, seconds=seconds)
    )
    return Answer(body=body, headers={**query_headers(index), **headers})


def checked_options(call: Call, *, cached: bool = False) -> str:
    """How consistent the caller wants the answer: ``leader``, ``stale`` or ``consistent``.

    For every read, also those that do not block or are always consistent: options that make no sense are refused
    everywhere, in the same words.
    """
    call.wait()
    call.index()
    level = _consistency(call, cached=cached)
    call.check_datacenter()
    return level


def _consistency(call: Call, *, cached: bool) -> str:
    query = call.query
    stale, consistent = "stale" in query, "consistent" in query
    if max_stale := query.get("max_stale"):
        try:
            stale = parse_duration(max_stale) > 0 or stale
        except ValueError as error:
            raise ApiError(400, f'Invalid max_stale value "{max_stale}"') from error
    for option, given in (("stale", stale), ("cached", "cached" in query)):
        if given and consistent:
            raise ApiError(400, f"Cannot specify ?{option} with ?consistent, conflicting semantics.")
    _check_cache_control(call.request.headers.get("cache-control", ""))
    if consistent:
        return "consistent"
    return "stale" if stale or cached else "leader"


def node_meta(call: Call) -> Mapping[str, str]:
    """The metadata that nodes must have: ``?node-meta=key:value``, repeated."""
    pairs = (each.partition(":") for each in call.query.getlist("node-meta"))
    return {key: value for key, _, value in pairs}


def near(call: Call) -> str:
    """The node whose records come first, in lower case. Distances are not measured here, so all others are equal."""
    name = call.query.get("near", "")
    return (call.backend.node.name if name == "_agent" else name).lower()


def _check_cache_control(header: str) -> None:
    for directive in header.lower().split(","):
        directive = directive.strip()
        for prefix in _NUMBERS:
            if directive.startswith(prefix):
                number = directive.removeprefix(prefix)
                if not (number.removeprefix("-").isascii() and number.removeprefix("-").isdecimal()):
                    raise ApiError(400, "Invalid Cache-Control header.")
