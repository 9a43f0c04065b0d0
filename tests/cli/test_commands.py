"""The sub-commands that need no agent: help, version, validate; and that each imports only what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from proxyproof import __version__
from proxyproof.__main__ import CONFORMANCE_COMMANDS
from reference.cli.main import main
from tests.waiting import DEADLINE


@pytest.mark.parametrize("argument", ["help", "-h", "-help", "--help"])
def test_the_help_names_every_command(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([argument]) == 0
    text = capsys.readouterr().out
    for command in (
        *CONFORMANCE_COMMANDS,
        "agent",
        "bench",
        "connect",
        "help",
        "scenarios",
        "validate",
        "version",
    ):
        assert f"\n    {command} " in text


@pytest.mark.parametrize("command", ["agent", "validate"])
def test_each_command_has_a_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "-help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: proxyproof {command}")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"proxyproof {__version__}\n"


def test_a_valid_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = tmp_path / "base.json"
    base.write_text(json.dumps({"data_dir": str(tmp_path / "data"), "bind_addr": "127.0.0.1"}))
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "web.hcl").write_text('service { name = "web" }')
    assert main(["validate", str(base), str(tmp_path / "conf")]) == 0
    assert capsys.readouterr().out == "Configuration is valid!\n"
    assert not (tmp_path / "data").exists()


def test_options_without_effect_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"data_dir": "/d", "bind_addr": "127.0.0.1", "server": True, "ui": True}))
    assert main(["validate", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Configuration is valid!",
        "Without effect on this agent: server, ui",
    ]


def test_a_command_imports_nothing_of_the_others() -> None:
    program = (
        "import sys; from reference.cli.main import main; main(['version']);"
        "print([name for name in sys.modules if name.startswith(('reference.agent', 'reference.http', 'conformance'))])"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=DEADLINE
    )
    assert output.stdout.splitlines()[-1] == "[]"


def test_validate_can_be_told_the_format_and_to_be_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "agent.conf"
    file.write_text('{"data_dir": "/d", "bind_addr": "127.0.0.1", "server": true}')
    assert main(["validate", "-config-format=json", "-quiet", str(file)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["validate", "-config-format", "hcl", str(file)]) == 0
    assert "Without effect on this agent: server" in capsys.readouterr().out
    file.write_text('{"data_dir": "/d", "prots": {}}')
    assert main(["validate", "-quiet", "-config-format=json", str(file)]) == 1
    assert "invalid config key prots" in capsys.readouterr().err
