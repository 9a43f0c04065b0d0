"""A reload applies all or nothing, from each side that can ask for one; what waits for a restart is named."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.agents import Agent, agent, service
from tests.ports import free_port
from tests.waiting import DEADLINE, eventually


def reload_command(one: Agent) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "proxyproof", "reload", "-http-addr", f"127.0.0.1:{one.port}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_the_command_says_what_happened_and_a_mistake_changes_nothing(tmp_path: Path) -> None:
    with agent(tmp_path) as one:
        one.define(service("a"))
        one.start()
        before = one.runs("a-proxy")
        one.define(service("a"), service("b"))
        done = reload_command(one)
        assert (done.returncode, done.stdout) == (0, "Configuration reload triggered\n")
        both = one.runs("a-proxy", "b-proxy")
        assert both["a-proxy"] == before["a-proxy"]
        one.define(service("a"), service("c", bind_port="no number"))
        failed = reload_command(one)
        assert (failed.returncode, failed.stdout) == (1, "")
        assert failed.stderr.count("\n") == 1
        assert "500" in failed.stderr
        assert "agent.json" in failed.stderr
        assert "cannot parse 'bind_port' as int" in failed.stderr
        assert one.runs("a-proxy", "b-proxy") == both


def test_the_command_needs_an_agent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    command = [sys.executable, "-m", "proxyproof", "reload", "-http-addr", f"127.0.0.1:{port}"]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"Error: http://127.0.0.1:{port}: the agent cannot be reached")
    assert failed.stderr.count("\n") == 1


def test_a_definition_that_cannot_be_carried_out_leaves_the_others_alone(tmp_path: Path) -> None:
    """The ports of one proxy are not enough for two: nothing is half applied (MP-PORT-005)."""
    with agent(tmp_path) as one:
        only = free_port()
        one.config["ports"] |= {"proxy_min_port": only, "proxy_max_port": only}
        one.define(service("a", disable_tcp_check=True))
        one.start()
        before = one.runs("a-proxy")
        one.define(service("a", foo="changed"), service("b"))
        answer = one.put("/v1/agent/reload")
        assert answer.status_code == 500
        assert "no port provided for proxy bind_port" in answer.text
        assert one.runs("a-proxy") == before
        assert set(one.get("/v1/agent/services")) == {"a", "a-proxy"}
        assert "foo" not in one.get("/v1/agent/connect/proxy/a-proxy")["Config"]


def test_the_log_level_changes_at_once_and_other_options_are_named(tmp_path: Path) -> None:
    with agent(tmp_path, server=True) as one:
        one.define()
        one.start()
        assert one.process is not None
        one.get("/v1/agent/self?quiet")
        one.config |= {"log_level": "DEBUG", "datacenter": "dc2", "pid_file": "/elsewhere"}
        one.define()
        one.process.send_signal(signal.SIGHUP)
        eventually(lambda: "services are defined" in one.output(), "the reload")
        one.get("/v1/agent/self?loud")
        assert one.get("/v1/agent/self")["Config"]["Datacenter"] == "dc1"
        code, output = one.end(signal.SIGTERM)
        assert code == 0
        assert "option datacenter takes effect at the next start" in output
        assert "option pid_file takes effect at the next start" in output
        assert "option log_level" not in output
        # Said once, at the start; a reload does not repeat it.
        assert output.count("[INFO] agent: option server has no effect on this agent") == 1
        assert "/v1/agent/self?quiet" not in output
        assert "/v1/agent/self?loud" in output


def test_the_pid_file_is_there_while_the_agent_is(tmp_path: Path) -> None:
    with agent(tmp_path, pid_file=str(tmp_path / "agent.pid")) as one:
        one.define()
        one.start()
        assert one.process is not None
        assert (tmp_path / "agent.pid").read_text() == str(one.process.pid)
        one.end(signal.SIGINT)
        assert not (tmp_path / "agent.pid").exists()


def test_a_pid_file_that_cannot_be_written_ends_the_start(tmp_path: Path) -> None:
    with agent(tmp_path, pid_file=str(tmp_path / "none" / "agent.pid")) as one:
        one.define(service("a"))
        output = one.fails()
        assert f"Could not write pid file {tmp_path}/none/agent.pid" in output
        assert one.running() == {}


def test_the_log_goes_to_a_file_too(tmp_path: Path) -> None:
    with agent(tmp_path, log_file=str(tmp_path / "agent.log")) as one:
        one.define()
        one.start()
        _, output = one.end(signal.SIGTERM)
        (file,) = tmp_path.glob("agent-*.log")
        written = file.read_text().splitlines()
        assert written
        assert set(written) <= set(output.splitlines())
        assert any("Started HTTP server" in line for line in written)


def test_the_node_id_can_be_told(tmp_path: Path) -> None:
    told = "dc9c432b-f484-93fc-ac46-7a6acbe1d4e0"
    with agent(tmp_path, node_id=told) as one:
        one.define()
        one.start()
        assert one.get("/v1/agent/self")["Config"]["NodeID"] == told
        assert eventually(lambda: one.get("/v1/catalog/nodes"), "the node")[0]["ID"] == told
