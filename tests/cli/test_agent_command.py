"""``proxyproof agent``: what its flags hand to the agent, and that a reload reads everything again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from reference.cli.main import main
from reference.config.load import LoadResult
from reference.config.model import AgentConfig, LogLevel


class _Agent(ModuleType):
    """Stands where the agent would be imported from; remembers what it was run with."""

    def run(self, loaded: LoadResult, *, reload: Callable[[], LoadResult]) -> int:
        self.config: AgentConfig = loaded.config
        self.ignored, self.reload = loaded.ignored, reload
        return 7


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> _Agent:
    stand_in = _Agent("reference.agent.agent")
    monkeypatch.setitem(sys.modules, "reference.agent.agent", stand_in)
    return stand_in


def test_every_flag_reaches_the_agent(agent: _Agent, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.hcl").write_text('service { name = "a" }')
    (tmp_path / "b.json").write_text('{"service": {"name": "b"}, "server": true}')
    sources = f"-data-dir {tmp_path}/d -config-file {tmp_path}/b.json -config-dir={tmp_path}/conf"
    addresses = "-bind 127.0.0.2 -client 127.0.0.3 -http-port 1 -dns-port -1"
    rest = "-node n -domain d --log-level=warn -hcl connect{enabled=false}"
    code = main(f"agent -dev {sources} {addresses} {rest}".split())
    assert code == 7
    assert agent.ignored == ("server",)
    config = agent.config
    assert [service.name for service in config.services] == ["b", "a"]
    assert (config.node_name, config.bind_addr, config.client_addrs) == (
        "n",
        "127.0.0.2",
        ("127.0.0.3",),
    )
    assert (config.http_port, config.dns_port, config.log_level) == (1, -1, LogLevel.WARN)
    assert config.dns.domain == "d."
    assert (config.dev_mode, config.data_dir, config.connect_enabled) == (True, tmp_path / "d", False)


def test_a_reload_reads_the_files_again(agent: _Agent, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"service": {"name": "a"}}')
    main(["agent", "-dev", "-config-file", str(file)])
    file.write_text('{"service": {"name": "b"}}')
    assert [service.name for service in agent.reload().config.services] == ["b"]


#: Every flag of the original, with a value that it takes.
FLAGS = """
-advertise=192.0.2.1 -advertise-wan=192.0.2.2 -bind=127.0.0.1 -server-port=1 -bootstrap
-bootstrap-expect=1 -client=127.0.0.1 -data-dir=/d -datacenter=dc1 -disable-host-node-id
-disable-keyring-file -dns-port=2 -domain=x -enable-script-checks -enable-local-script-checks
-allow-write-http-from=127.0.0.0/8 -encrypt=aGVsbG8= -grpc-port=3 -http-port=4 -join=a -join=b
-join-wan=c -log-level=INFO -log-file=/l -log-rotate-bytes=5 -log-rotate-duration=1h -node=n
-node-id=dc9c432b-f484-93fc-ac46-7a6acbe1d4e0 -node-meta=rack:7 -node-meta=room:a:b
-non-voting-server -pid-file=/p -protocol=2 -raft-protocol=3 -recursor=192.0.2.3 -rejoin
-retry-interval=1s -retry-interval-wan=2s -retry-join=d -retry-join-wan=e -retry-max=6
-retry-max-wan=7 -serf-lan-bind=127.0.0.1 -serf-lan-port=8 -segment=s -serf-wan-bind=127.0.0.1
-serf-wan-port=9 -server -syslog -ui
"""


def test_every_flag_of_the_original_is_taken(agent: _Agent) -> None:
    assert main(["agent", "-dev", *FLAGS.split(), "-ui-dir", ""]) == 7
    config = agent.config
    assert config.node_meta == {"rack": "7", "room": "a:b"}
    assert (config.http_port, config.dns_port) == (4, 2)
    assert config.http.allow_write_from == ("127.0.0.0/8",)
    assert config.log.rotate_seconds == 3600.0
    assert {"ports.server", "retry_join", "start_join", "recursors", "encrypt"} <= set(agent.ignored)


def test_a_flag_that_may_be_given_again_adds_to_its_option(tmp_path: Path, agent: _Agent) -> None:
    (tmp_path / "a.json").write_text('{"node_meta": {"rack": "1", "row": "2"}}')
    main(["agent", "-dev", "-config-file", str(tmp_path / "a.json"), "-node-meta", "rack:9"])
    assert agent.config.node_meta == {"rack": "9", "row": "2"}


def test_files_are_in_the_format_that_a_flag_says(tmp_path: Path, agent: _Agent) -> None:
    (tmp_path / "a.conf").write_text('{"node_name": "of a"}')
    (tmp_path / "b").write_text('{"datacenter": "of-b"}')
    main(["agent", "-dev", "-config-format=json", "-config-dir", str(tmp_path)])
    assert (agent.config.node_name, agent.config.datacenter) == ("of a", "of-b")


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("-node-meta=x", 'invalid value "x" for flag -node-meta: expected ``key:value``'),
        ("-config-format=toml", "expected ``hcl`` or ``json``"),
        ("-http-port=http", "expected a whole number"),
    ],
)
def test_a_value_that_a_flag_cannot_have(flag: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "-dev", flag]) == 2
    assert problem.replace("``", "") in capsys.readouterr().err
