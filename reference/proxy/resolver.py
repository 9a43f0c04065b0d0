"""Where an upstream is offered right now.

A service is followed by a blocking query, so that a dial asks nobody and survives the agent's absence. A prepared
query cannot block: it is executed for each dial, and its last answer stands in for one that does not come.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote, urlencode

from reference.proxy.api import Agent, AgentError, Client
from reference.proxy.catalog import AnswerError, Instance, health_instances, query_instances
from reference.proxy.config import PREPARED_QUERY, Upstream
from reference.proxy.log import Log
from reference.proxy.loop import Known, Loop
from reference.proxy.watch import Watch
from reference.proxy.workers import Workers

#: The real 1.4.3 does not wake a blocked reader when the new instance's proxy has another name than those before.
REFRESH_SECONDS = 15
#: How long a prepared query may take; what is left of the connect time-out then is for its last answer.
QUERY_SECONDS = 3.0


class ServiceResolver:
    """Healthy instances of one service, in random order (MP-BIP-007)."""

    def __init__(self, agent: Agent, upstream: Upstream, log: Log) -> None:
        self._instances = Known[tuple[Instance, ...]]()
        self._watch = Watch(
            agent,
            name=f"health of {upstream.name}",
            path=_path(f"/v1/health/connect/{quote(upstream.name, safe='')}?passing=1", upstream),
            on_change=self._update,
            log=log,
            block_seconds=REFRESH_SECONDS,
        )

    async def candidates(self, loop: Loop) -> list[Instance]:
        """Whom to try, in this order; waits for the agent's first answer."""
        return shuffled(await self._instances.get(loop))

    def stop(self) -> None:
        self._watch.stop()

    def _update(self, answer: Any) -> None:
        self._instances.set(health_instances(answer))


class QueryResolver:
    """Instances that a prepared query gives, in its own order: that is where it says what is near (MP-PQ-004)."""

    def __init__(self, client: Client, workers: Workers, upstream: Upstream, log: Log) -> None:
        self._client = client
        self._workers = workers
        self._name = upstream.name
        self._path = _path(f"/v1/query/{quote(upstream.name, safe='')}/execute?connect=true", upstream)
        self._log = log
        self._last: tuple[Instance, ...] | None = None

    async def candidates(self, loop: Loop) -> list[Instance]:
        """Whom to try, in this order. Raises :class:`AgentError` when the query never had an answer."""
        try:
            self._last = await self._workers.run(loop, self._execute)
        except (AgentError, AnswerError) as problem:
            if self._last is None:
                raise AgentError(f"prepared query {self._name}: {problem}") from None
            self._log.debug(f"prepared query {self._name}: {problem}; its last answer is used")
        return list(self._last)

    def stop(self) -> None:
        """Nothing runs between dials."""

    def _execute(self) -> tuple[Instance, ...]:
        return query_instances(self._client.get(self._path, timeout=QUERY_SECONDS))


Resolver = ServiceResolver | QueryResolver


def resolver(agent: Agent, client: Client, workers: Workers, upstream: Upstream, log: Log) -> Resolver:
    """The resolver for the kind of destination that ``upstream`` names."""
    if upstream.kind == PREPARED_QUERY:
        return QueryResolver(client, workers, upstream, log)
    return ServiceResolver(agent, upstream, log)


def shuffled(instances: tuple[Instance, ...]) -> list[Instance]:
    """A random order; by the system's generator, since :mod:`random` is slow to import."""
    return sorted(instances, key=lambda _: os.urandom(8)) if len(instances) > 1 else list(instances)


def _path(path: str, upstream: Upstream) -> str:
    return f"{path}&{urlencode({'dc': upstream.datacenter})}" if upstream.datacenter else path
