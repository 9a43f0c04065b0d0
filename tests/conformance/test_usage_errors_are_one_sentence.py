"""What cannot be run as asked gets one sentence and exit code 2, never a traceback."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from conformance.cli import main
from tests.conformance.tiny import Suite

CHECKS = {"tiny/good/01": "pass", "tiny/sidecar/01": "pass"}
PROCESS = ("--target", "process", "--command", "true")


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.chdir(tmp_path)
    return Suite.of(tmp_path, CHECKS, untested=["tiny/future/01"])


def call(suite: Suite, *arguments: str) -> int:
    return main(arguments, checks=suite.folder / "checks", requirements_folder=suite.folder / "requirements")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("run", "nothing/like/01"), "no requirement is or begins with 'nothing/like/01'"),
        (("run", "tiny/goo"), "no requirement is or begins with 'tiny/goo'"),
        (("run", "core"), "names them, and `proxyproof run --profile core` a profile"),
        (("run", "--profile", "magic"), "'magic' (choose from "),
        (("run", "tiny/future"), "no check proves tiny/future yet"),
        (("run", "--target", "process"), "--target process needs --command"),
        (
            ("run", "--target", "process", "--command", "/no/such/binary agent"),
            "/no/such/binary is not an executable",
        ),
        (("run", "--target", "process", "--command", "'open"), "cannot be split into words"),
        (
            ("run", "--target", "reference", "--command", "true"),
            "--command does not belong to --target reference, which takes no such option",
        ),
        (("run", *PROCESS, "--binary", "true"), "--binary does not belong to --target process, which takes"),
        (("run", "--one-file"), "--one-file tells about --command, which --target reference does not take"),
        (("run", "--target", "consul"), "--target consul needs --binary"),
        (("run", "--target", "consul", "--binary", "true"), 'does not say "Consul v…"'),
        (("run", "--target", "exec"), "--target exec needs --adapter"),
        (("run", "--target", "exec", "--adapter", "/no/such"), "/no/such is not an executable file"),
        (("run", "--target", "exec", "--adapter", "true"), "the adapter ended without an answer"),
        (("smoke",), "--adapter"),
        (("run", *PROCESS, "--report", "/proc/nowhere"), "--report /proc/nowhere"),
        (
            ("run", "--target", "kubernetes"),
            "no target is called 'kubernetes'; known are consul, container, exec",
        ),
        (("run", "-n", "-1"), "-n"),
        (("run", "--time-scale", "0"), "'0' is not a positive factor"),
        (("run", "--time-scale", "inf"), "'inf' is not a positive factor"),
        (("run", "--throughput-floor", "-1"), "'-1' is not a positive factor"),
        (("run", "--latency-ceiling", "fast"), "'fast' is not a positive factor"),
        (("run", "--examples", "0"), "'0' is not a number of times"),
        (
            ("run", *PROCESS, "--exempt-features", "sidecar,magic"),
            "--exempt-features magic: no such feature; known are core, discovery, access-control, custom-proxy",
        ),
        (
            ("run", *PROCESS, "--exempt-features", "core"),
            "--exempt-features core: that is what everyone is judged by",
        ),
        (
            ("run", *PROCESS, "--exempt-features", "sidecar", "tiny/sidecar"),
            "nothing was asked for but sidecar, which is not claimed",
        ),
        (("run", "--repeat", "0"), "'0' is not a number of times"),
        (("run", "--random-order", "any"), "'any' is not a seed: a number from 0"),
        (("run", "--patience", "0.5"), "'0.5' is less than one budget"),
        (("requirements",), "TOPIC"),
        (("requirements", "show", "no/such/99"), "no requirement is or begins with 'no/such/99'"),
    ],
)
def test_usage(
    suite: Suite, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
) -> None:
    assert call(suite, *arguments) == 2
    assert complaint in capsys.readouterr().err


def test_an_unusable_user_is_named(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    own = pwd.getpwuid(os.geteuid()).pw_name
    assert call(suite, "run", *PROCESS, "--user", own) == 2
    assert "--user" in capsys.readouterr().err


def test_a_check_of_an_unknown_requirement_breaks_the_suite(
    suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    suite.require("tiny/future/01")
    assert call(suite, "run", *PROCESS) == 3
    assert "check_0 proves tiny/good/01, which is not in the register" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("def check_it(lab):\n    '''Text.'''\n", "needs exactly one mark @requirement"),
        ("@requirement(IDENTIFIER)\ndef check_it(lab):\n    '''Text.'''\n", "with a literal id"),
        ("@requirement('tiny/good/01')\ndef check_it(lab):\n    pass\n", "has no docstring"),
        ("def check_it(:\n", "is not valid Python"),
    ],
)
def test_a_check_that_is_not_written_as_one_breaks_the_suite(
    suite: Suite, capsys: pytest.CaptureFixture[str], source: str, complaint: str
) -> None:
    (suite.folder / "checks" / "wrong.py").write_text(source)
    assert call(suite, "run", *PROCESS) == 3
    assert complaint in capsys.readouterr().err


def test_requirements_are_listed_shown_and_counted(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(suite, "requirements", "list") == 0
    listed = capsys.readouterr().out
    assert "tiny/good/01 MUST It does.\n" in listed
    assert "tiny/future/01 MUST It does. (untested)" in listed
    assert call(suite, "requirements", "show", "tiny/good/01") == 0
    assert "Stimulus, expectation." in capsys.readouterr().out
    assert call(suite, "requirements", "coverage") == 0
    assert "MUST 2 of 3 tested\n  untested tiny/future/01" in capsys.readouterr().out
