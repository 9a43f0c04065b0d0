"""Whatever is asked of a running agent, by the published description or against it: an answer, never a breakdown.

``PROXYPROOF_FUZZ_REQUESTS`` is how many requests are made in all (a few hundred if not set), over all operations.
Each is answered in time, with a status that the description knows, below 500 but where it says otherwise, without a
traceback; and afterwards the agent still answers, with nothing in its log that it did not foresee.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from reference.http.openapi import document
from tests.agents import SLEEP, running_agent

REQUESTS = int(os.environ.get("PROXYPROOF_FUZZ_REQUESTS", "300"))
#: Longer than any answer takes on a busy machine; nothing that is asked here has a reason to wait.
PATIENCE = 30.0
MASTER = "5b8e0d68-6a4f-4c1b-9a72-0f4f5c1a5a11"
#: It ends the agent, and it does not end: both have tests of their own.
LEFT_OUT = {("PUT", "/v1/agent/leave"), ("GET", "/v1/agent/monitor")}

DOCUMENT = document()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {
    f"{operation.method.upper()} {operation.path}": operation
    for operation in (result.ok() for result in SCHEMA.get_all_operations())
    if (operation.method.upper(), operation.path) not in LEFT_OUT
}
EACH = max(1, REQUESTS // len(OPERATIONS))


@dataclass(frozen=True)
class Running:
    """The agent that is asked, and a connection to it."""

    url: str
    session: requests.Session
    statuses: Counter[int] = field(default_factory=Counter)


@pytest.fixture(scope="module", name="running")
def asked_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("agent")
    access = {"enabled": True, "default_policy": "allow", "tokens": {"master": MASTER}}
    service = {"name": "web", "port": 1, "connect": {"proxy": {"command": SLEEP}}}
    with running_agent(folder, service, acl=access, log_level="INFO") as one:
        with requests.Session() as session:
            session.trust_env = False
            running = Running(f"http://127.0.0.1:{one.port}", session)
            yield running
            print(f"\n{running.statuses.total()} requests: {dict(running.statuses)}")
            assert one.process is not None
            assert one.process.poll() is None, "the agent has ended"
            assert session.get(f"http://127.0.0.1:{one.port}/v1/status/leader", timeout=PATIENCE).ok
        code, output = one.end(signal.SIGTERM)
        assert code == 0
        assert "Traceback" not in output
        # What a request was answered with somebody foresaw.
        unforeseen = [
            line for line in output.splitlines() if "[DEBUG]" not in line and ", error: " not in line
        ]
        assert not [line for line in unforeseen if " failed: " in line]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", OPERATIONS)
def test_it_answers(name: str, running: Running) -> None:
    operation = OPERATIONS[name]
    known = {int(status) for status in operation.definition.raw["responses"]} | {405}
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    # What has nothing to get wrong has no wrong form.
    names = {each["name"] for each in operation.definition.raw["parameters"]}
    bare = names <= {"pretty"} and "requestBody" not in operation.definition.raw
    cases = st.one_of(
        [operation.as_strategy(generation_mode=mode) for mode in (modes[:1] if bare else modes)]
    )

    @settings(
        max_examples=EACH,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, token=st.sampled_from(["", MASTER, MASTER, "no-such-token"]))
    def ask(case: Any, token: str) -> None:
        response = case.call(
            base_url=running.url,
            session=running.session,
            headers={"X-Consul-Token": token},
            timeout=PATIENCE,
        )
        running.statuses[response.status_code] += 1
        assert response.status_code in known, f"{response.status_code}: {response.text[:200]}"
        assert response.status_code < 500 or response.status_code in (503, 504), response.text[:200]
        assert "Traceback" not in response.text
        if "json" in "".join(response.headers.get("content-type", "")):
            response.json()

    ask()
