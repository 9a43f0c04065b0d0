"""Bad input ends in one line that names the place and the remedy, with the right exit code and nothing started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_DEADLINE = 60


def _run(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxyproof", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=_DEADLINE,
        check=False,
    )


def _write(directory: Path) -> None:
    (directory / "broken.json").write_text('{"service": {')
    (directory / "broken.hcl").write_text("service {\n  name = web\n}")
    (directory / "key.json").write_text(
        '{"service": {"name": "w", "port": 1, "connect": {"proxy": {"foo": 1}}}}'
    )
    (directory / "type.json").write_text('{"ports": {"http": "8500"}}')
    (directory / "conf.d").mkdir()
    (directory / "conf.d" / "a.json").write_text('{"node_name": "a", "log_level": "loud"}')
    (directory / "new\nline.json").write_text("{")


_CASES: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "broken JSON": ("agent -dev -config-file broken.json", 1, ("broken.json", "Error parsing")),
    "broken HCL": ("agent -dev -config-file broken.hcl", 1, ("broken.hcl", "line 2, column 10")),
    "unknown key": (
        "agent -dev -config-file key.json",
        1,
        ("key.json", "service.connect.proxy.foo", "command"),
    ),
    "wrong type": (
        "agent -dev -config-file type.json",
        1,
        ("type.json", "ports.http", "Give a whole number"),
    ),
    "impossible value": (
        "agent -dev -config-dir conf.d",
        1,
        ("conf.d/a.json", "log level: LOUD", "TRACE DEBUG"),
    ),
    "missing file": ("agent -dev -config-file no.json", 1, ("no.json", "no such file")),
    "bad fragment": ("agent -dev -hcl connect{", 1, ("-hcl", "line 1, column 9")),
    "bad value of a flag": ("agent -dev -log-level loud", 1, ("-log-level", "Valid log levels")),
    "nowhere to keep state": ("agent -bind 127.0.0.1", 1, ("data_dir cannot be empty", "-data-dir")),
    "bad flag": ("agent -dev -nope", 2, ("-nope", "proxyproof agent -help")),
    "flag without value": ("agent -dev -http-port", 2, ("-http-port",)),
    "flag with a wrong value": ("agent -dev -http-port many", 2, ("-http-port", "many", "a whole number")),
    "an argument that is no flag": ("agent -dev web.json", 2, ("web.json",)),
    "unknown command": (
        "agnet",
        2,
        ("agnet", "the commands are agent, ", ", connect, help, "),
    ),
    "seeds that are none": (
        "simulate -seeds x",
        2,
        ("expected 17 is one seed, 0..999 a range with both ends",),
    ),
    "an unknown safeguard": ("simulate -ablate nix", 2, ("expected one of start-time, boot-id, search",)),
    "no command": ("", 2, ("no command given",)),
    "validation of a bad file": ("validate key.json", 1, ("key.json", "service.connect.proxy.foo")),
    "validation of nothing": ("validate", 2, ("at least one config file",)),
    "validation with a bad flag": ("validate -nope", 2, ("-nope",)),
}


@pytest.mark.parametrize("what", _CASES)
def test_one_line_and_an_exit_code(what: str, tmp_path: Path) -> None:
    command_line, code, named = _CASES[what]
    _write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    ended = _run(*command_line.split(), directory=tmp_path)
    assert ended.returncode == code
    assert ended.stdout == ""
    assert ended.stderr.startswith("Error: ")
    assert ended.stderr.count("\n") == 1
    assert all(each in ended.stderr for each in named), ended.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_one_line_even_when_the_name_of_the_file_has_two(tmp_path: Path) -> None:
    _write(tmp_path)
    ended = _run("validate", "new\nline.json", directory=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
