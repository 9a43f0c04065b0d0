"""An agent that is killed under a stream of writes has kept every write that it acknowledged, and no other state.

Writers change records of every kind over HTTP, each with its own seed, while the agent is killed (SIGKILL) at a random
moment, sometimes while it starts. The next life is asked for everything. A write that was under way may have happened
or not; everything else is known. ``PROXYPROOF_KILLS`` says how often, ``PROXYPROOF_KILL_SEED`` with which luck.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.agents import Agent, running_agent

KILLS = int(os.environ.get("PROXYPROOF_KILLS", "8"))
SEED = int(os.environ.get("PROXYPROOF_KILL_SEED", "1"))
#: As many records of a kind are there at most; then some are removed.
MANY = 12
RESULTS = tuple(f"result-{number}" for number in range(4))


class Kind:
    """One kind of records: how one is written, removed, and how all are read: a value by key."""

    name = ""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def write(self, key: str, value: str) -> None:
        raise NotImplementedError

    def remove(self, key: str) -> None:
        raise NotImplementedError

    def read(self) -> dict[str, str]:
        raise NotImplementedError

    def keys(self, luck: random.Random) -> str:
        return f"{self.name}-{luck.randrange(10**6)}"

    def put(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        self.client.put(path, json=body).raise_for_status()

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        answer.raise_for_status()
        return answer.json()


class Services(Kind):
    name = "service"

    def write(self, key: str, value: str) -> None:
        check = {"TTL": "1h", "Notes": value}
        self.put("/v1/agent/service/register", {"Name": key, "Meta": {"v": value}, "Check": check})

    def remove(self, key: str) -> None:
        self.put(f"/v1/agent/service/deregister/{key}")

    def read(self) -> dict[str, str]:
        checks = self.get("/v1/agent/checks")
        services = {key: each for key, each in self.get("/v1/agent/services").items() if self.name in key}
        assert {key for key in checks if "service:" in key} <= {f"service:{key}" for key in services}
        for key in services:
            assert f"service:{key}" in checks, f"{key} has lost its check, and passes for healthy"
        return {key: each["Meta"]["v"] for key, each in services.items()}


class Checks(Kind):
    name = "check"

    def write(self, key: str, value: str) -> None:
        self.put("/v1/agent/check/register", {"Name": key, "TTL": "1h", "Notes": value})

    def remove(self, key: str) -> None:
        self.put(f"/v1/agent/check/deregister/{key}")

    def read(self) -> dict[str, str]:
        checks = self.get("/v1/agent/checks")
        return {key: each["Notes"] for key, each in checks.items() if key.startswith(self.name)}


class Results(Kind):
    """What TTL checks were told; they are never removed."""

    name = "result"

    def write(self, key: str, value: str) -> None:
        self.put("/v1/agent/check/register", {"Name": key, "TTL": "1h"})
        self.put(f"/v1/agent/check/update/{key}", {"Status": "passing", "Output": value})

    def read(self) -> dict[str, str]:
        checks = self.get("/v1/agent/checks")
        return {key: each["Output"] for key, each in checks.items() if key.startswith(self.name)}

    def keys(self, luck: random.Random) -> str:
        return luck.choice(RESULTS)


class Nodes(Kind):
    """Registrations in the catalog: a node with a service and a check, which stand and fall together."""

    name = "node"

    def write(self, key: str, value: str) -> None:
        body = {
            "Node": key,
            "Address": "10.0.0.1",
            "NodeMeta": {"v": value},
            "Service": {"Service": f"on-{key}", "Meta": {"v": value}},
            "Check": {"Name": f"c-{key}", "Notes": value, "ServiceID": f"on-{key}"},
        }
        self.put("/v1/catalog/register", body)

    def remove(self, key: str) -> None:
        self.put("/v1/catalog/deregister", {"Node": key})

    def read(self) -> dict[str, str]:
        nodes = {each["Node"]: each for each in self.get("/v1/catalog/nodes") if self.name in each["Node"]}
        checks = {each["Node"]: each for each in self.get("/v1/health/state/any")}
        services = self.get("/v1/catalog/services")
        for key, each in nodes.items():
            assert checks[key]["Notes"] == each["Meta"]["v"]
            assert f"on-{key}" in services
        return {key: each["Meta"]["v"] for key, each in nodes.items()}


class Listed(Kind):
    """Records that the agent gives ids: found by name."""

    path = ""

    def identify(self, key: str) -> str | None:
        return next((each["ID"] for each in self.get(self.path) if self.named(each) == key), None)

    def named(self, record: Mapping[str, Any]) -> str:
        raise NotImplementedError

    def value(self, record: Mapping[str, Any]) -> str:
        raise NotImplementedError

    def body(self, key: str, value: str) -> dict[str, Any]:
        raise NotImplementedError

    def write(self, key: str, value: str) -> None:
        body, known = self.body(key, value), self.identify(key)
        if known is None:
            self.client.post(self.path, json=body).raise_for_status()
        else:
            self.put(f"{self.path}/{known}", body)

    def remove(self, key: str) -> None:
        self.client.delete(f"{self.path}/{self.identify(key)}").raise_for_status()

    def read(self) -> dict[str, str]:
        return {self.named(each): self.value(each) for each in self.get(self.path)}


class Intentions(Listed):
    name, path = "intention", "/v1/connect/intentions"

    def body(self, key: str, value: str) -> dict[str, Any]:
        return {"SourceName": key, "DestinationName": "db", "Action": "deny", "Description": value}

    def named(self, record: Mapping[str, Any]) -> str:
        return str(record["SourceName"])

    def value(self, record: Mapping[str, Any]) -> str:
        return str(record["Description"])


class Queries(Listed):
    name, path = "query", "/v1/query"

    def body(self, key: str, value: str) -> dict[str, Any]:
        return {"Name": key, "Service": {"Service": value}}

    def named(self, record: Mapping[str, Any]) -> str:
        return str(record["Name"])

    def value(self, record: Mapping[str, Any]) -> str:
        return str(record["Service"]["Service"])


KINDS: tuple[Callable[[httpx.Client], Kind], ...] = (Services, Checks, Results, Nodes, Intentions, Queries)


@dataclass
class Writer:
    """Writes records of one kind. ``known`` is what was acknowledged, ``under_way`` what was not yet."""

    kind: Kind
    luck: random.Random
    known: dict[str, str] = field(default_factory=dict)
    under_way: tuple[str, str | None] | None = None
    acknowledged: int = 0
    failure: BaseException | None = None

    def write_on(self, stop: threading.Event) -> None:
        """Until the agent is gone."""
        try:
            while not stop.is_set():
                self._write()
        except httpx.TransportError:
            pass
        except BaseException as error:
            self.failure = error

    def _write(self) -> None:
        removable = list(self.known) if not isinstance(self.kind, Results) else []
        if len(removable) >= MANY or (removable and self.luck.random() < 0.3):
            key = self.luck.choice(removable)
            self.under_way = key, None
            self.kind.remove(key)
            del self.known[key]
        else:
            again = self.known and self.luck.random() < 0.3
            key = self.luck.choice(list(self.known)) if again else self.kind.keys(self.luck)
            value = f"v{self.luck.randrange(10**9)}"
            self.under_way = key, value
            self.kind.write(key, value)
            self.known[key] = value
        self.under_way = None
        self.acknowledged += 1

    def check(self) -> None:
        """Compare what is there with what was acknowledged, and take it from there."""
        found = self.kind.read()
        unsure = self.under_way
        for key in found.keys() | self.known.keys():
            expected = {self.known.get(key)}
            if unsure is not None and unsure[0] == key:
                expected.add(unsure[1])
                if isinstance(self.kind, Results):
                    # Registered, and not told anything yet.
                    expected.add("")
            assert found.get(key) in expected, (
                f"{self.kind.name} {key}: {found.get(key)!r} is none of {expected}"
            )
        self.known, self.under_way = found, None


@contextmanager
def writing(writers: list[Writer]) -> Iterator[None]:
    stop = threading.Event()
    threads = [threading.Thread(target=writer.write_on, args=(stop,)) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def await_answer(client: httpx.Client, running: Agent) -> None:
    """Wait for the next life of the agent."""
    deadline = time.monotonic() + 60
    while True:
        assert running.process is not None
        assert running.process.poll() is None, "the agent does not start any more"
        try:
            client.get("/v1/agent/self").raise_for_status()
        except httpx.TransportError:
            assert time.monotonic() < deadline, "the agent does not answer"
            time.sleep(0.02)
        else:
            return


@pytest.mark.timeout(120 + 15 * KILLS)
def test_acknowledged_writes_survive_kill(tmp_path: Path) -> None:
    luck = random.Random(SEED)
    kills = 0
    with running_agent(tmp_path) as running:
        url = f"http://127.0.0.1:{running.port}"
        clients = [httpx.Client(base_url=url, timeout=30) for _ in KINDS]
        writers = [
            Writer(kind(client), random.Random(f"{SEED}-{kind}"))
            for kind, client in zip(KINDS, clients, strict=True)
        ]
        while kills < KILLS:
            with writing(writers):
                time.sleep(luck.uniform(0.02, 0.6))
                running.kill()
            kills += 1
            for writer in writers:
                assert writer.failure is None, writer.failure
            while kills < KILLS and luck.random() < 0.2:
                running.spawn()
                time.sleep(luck.uniform(0.0, 1.2))
                running.kill()
                kills += 1
            running.spawn()
            await_answer(clients[0], running)
            for writer in writers:
                writer.check()
        for client in clients:
            client.close()
    acknowledged = {writer.kind.name: writer.acknowledged for writer in writers}
    assert all(acknowledged.values()), acknowledged
    print(f"{kills} kills, acknowledged writes kept: {sum(acknowledged.values())} {acknowledged}")
