"""Where no container engine can be used, one sentence says why; what dead runs left is told from what lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.containers import engine
from conformance.containers.engine import EngineError
from conformance.targets.privileges import NOBODY


def test_an_engine_that_does_not_answer_is_named_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert main(["images", "build"]) == 2
    told = capsys.readouterr().err
    assert told == (
        f"proxyproof: no container engine answers at unix://{tmp_path}/none.sock (No such file or directory); "
        "start Docker, or set DOCKER_HOST\n"
    )


def test_an_engine_that_is_for_others_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/docker.sock")
        (tmp_path / "docker.sock").chmod(0)
        before = os.geteuid()
        os.seteuid(before or NOBODY)
        try:
            with pytest.raises(
                EngineError, match=r"^uid \d+ may not speak to the container engine at .*root"
            ):
                engine.connect()
        finally:
            os.seteuid(before)


def test_an_engine_elsewhere_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    with pytest.raises(EngineError, match="must run on this machine"):
        engine.connect()


def test_a_run_is_over_when_nobody_holds_its_folder(tmp_path: Path) -> None:
    assert engine.is_over(tmp_path)
    with engine.held(tmp_path):
        assert not engine.is_over(tmp_path)
    assert engine.is_over(tmp_path)
    assert engine.is_over(tmp_path / "gone")
