"""The log as it is followed over HTTP: line by line, at a level of its own, until one of both ends."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx

from tests.agents import agent
from tests.waiting import DEADLINE, eventually


def test_lines_come_as_they_are_written_and_the_end_of_the_agent_is_the_end(tmp_path: Path) -> None:
    with agent(tmp_path, log_level="ERR") as one:
        one.define()
        one.start()
        assert one.process is not None
        url = f"http://127.0.0.1:{one.port}/v1/agent/monitor?loglevel=info"
        # Who accepts compression is not made to wait for a block of it.
        with httpx.stream("GET", url, headers={"Accept-Encoding": "gzip"}, timeout=DEADLINE) as answer:
            assert answer.status_code == 200
            lines = answer.iter_lines()
            one.process.send_signal(signal.SIGHUP)
            assert any("services are defined" in line for line in lines)
            one.process.send_signal(signal.SIGTERM)
            assert any("Caught signal:  terminated" in line for line in lines)
            assert all(line for line in lines)
        assert one.process.wait(DEADLINE) == 0, one.output()
        assert "[INFO]" not in one.output()


def test_a_follower_who_leaves_is_forgotten(tmp_path: Path) -> None:
    with agent(tmp_path, log_level="ERR") as one:
        one.define()
        one.start()
        url = f"http://127.0.0.1:{one.port}/v1/agent/monitor?loglevel=debug"
        with httpx.stream("GET", url, timeout=DEADLINE) as answer:
            assert any("/v1/agent/self" in line for line in looked(one.port, answer))

        def measured() -> bool:
            metrics = one.get("/v1/agent/metrics")
            names = {sample["Name"] for sample in metrics["Samples"]}
            return "consul.http.GET.v1.agent.monitor" in names

        # Its request is over, so that its time is known.
        assert eventually(measured, "the end of the request")


def looked(port: int, answer: httpx.Response) -> list[str]:
    """One line that was written while it was followed."""
    httpx.get(f"http://127.0.0.1:{port}/v1/agent/self", timeout=DEADLINE)
    return [next(line for line in answer.iter_lines() if "/v1/agent/self" in line)]
