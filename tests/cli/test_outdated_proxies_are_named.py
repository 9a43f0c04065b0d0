"""An agent that was upgraded tells which of its proxies still run the program of the release before."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.agents import agent, service
from tests.cli.test_proxies_command import UNCHECKED, folder, proxies

__all__ = ["folder"]


def test_after_an_upgrade_the_old_ones_are_listed_and_restarted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every Python that the agent's environment reaches believes what stands here of its release.
    (folder / "sitecustomize.py").write_text(
        "import pathlib, proxyproof\n"
        "proxyproof.__version__ = pathlib.Path(__file__).with_name('release').read_text()\n"
    )
    release = folder / "release"
    monkeypatch.setenv("PYTHONPATH", str(folder))
    with agent(folder) as one:
        builtin = {"name": "builtin", "port": 1, "connect": {"proxy": {"config": UNCHECKED}}}
        one.define(builtin, service("custom", ["/bin/sleep", "1000"], **UNCHECKED))
        release.write_text("1.0.0")
        one.start()
        before = one.runs("builtin-proxy", "custom-proxy")
        assert "outdated" not in proxies("list", at=one).stdout
        assert proxies("restart", "-outdated", at=one).stdout == ""
        one.end(signal.SIGTERM)

        release.write_text("1.1.0")
        one.start()
        assert one.runs("builtin-proxy", "custom-proxy") == before
        header, builtin_row, custom_row = proxies("list", at=one).stdout.splitlines()
        assert header.startswith("PROXY")
        assert builtin_row.split()[:3] == ["builtin-proxy", "running", "(outdated)"]
        assert "outdated" not in custom_row

        restarted = proxies("restart", "--outdated", at=one)
        assert restarted.returncode == 0, restarted.stderr
        assert restarted.stdout.startswith(f"builtin-proxy: {before['builtin-proxy'][0]} -> ")
        assert "outdated" not in proxies("list", at=one).stdout
        after = one.runs("builtin-proxy", "custom-proxy")
        assert after["custom-proxy"] == before["custom-proxy"]
        _, output = one.end(signal.SIGTERM)
        assert "was started by release 1.0.0, this is 1.1.0" in output

        # The snapshot does not matter: a proxy carries its release itself.
        release.write_text("1.2.0")
        (folder / "data/proxy/snapshot.json").unlink()
        one.start()
        assert one.runs("builtin-proxy", "custom-proxy") == after
        assert "builtin-proxy  running (outdated)" in proxies("list", at=one).stdout
