"""Which instances answer a query, and in which order. Pure but for the shuffling that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from reference.catalog.model import Status, worst
from reference.catalog.store import Instance
from reference.query.model import ServiceQuery

Shuffle = Callable[[list[Instance]], None]


def select(
    found: Iterable[Instance], wanted: ServiceQuery, *, node: str = "", limit: int = 0, shuffle: Shuffle
) -> list[Instance]:
    """The instances of ``found`` that are wanted: those on ``node`` first, within that in random order.

    A limit of 0 or less is none.
    """
    chosen = [instance for instance in found if _healthy(instance, wanted) and _described(instance, wanted)]
    shuffle(chosen)
    # A stable sort keeps the random order on either side.
    chosen.sort(key=lambda instance: instance.node.value.name != node)
    return chosen[:limit] if limit > 0 else chosen


def _healthy(instance: Instance, wanted: ServiceQuery) -> bool:
    ignored = set(wanted.ignore_check_ids or ())
    status = worst({check.value.status for check in instance.checks if check.value.id not in ignored})
    return status is Status.PASSING or (status is Status.WARNING and not wanted.only_passing)


def _described(instance: Instance, wanted: ServiceQuery) -> bool:
    return (
        instance.node.value.has_meta(wanted.node_meta or {})
        and _has(instance.service.value.meta, wanted.service_meta or {})
        and _tagged(instance.service.value.tags, wanted.tags or ())
    )


def _has(meta: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(meta.get(key) == value for key, value in wanted.items())


def _tagged(tags: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether each wanted tag is there, and none of those with ``!``, regardless of case."""
    there = {tag.lower() for tag in tags}
    folded = [tag.lower() for tag in wanted]
    return all(tag.removeprefix("!") not in there if tag.startswith("!") else tag in there for tag in folded)
