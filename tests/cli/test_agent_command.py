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

    def run(self, config: AgentConfig, *, ignored: tuple[str, ...], reload: Callable[[], LoadResult]) -> int:
        self.config, self.ignored, self.reload = config, ignored, reload
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
    assert (config.node_name, config.bind_addr, config.client_addr) == ("n", "127.0.0.2", "127.0.0.3")
    assert (config.http_port, config.dns_port, config.log_level) == (1, -1, LogLevel.WARN)
    assert config.dns.domain == "d."
    assert (config.dev_mode, config.data_dir, config.connect_enabled) == (True, tmp_path / "d", False)


def test_a_reload_reads_the_files_again(agent: _Agent, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"service": {"name": "a"}}')
    main(["agent", "-dev", "-config-file", str(file)])
    file.write_text('{"service": {"name": "b"}}')
    assert [service.name for service in agent.reload().config.services] == ["b"]
