"""What cannot be measured as asked gets one sentence and exit code 2, before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.bench.cli import main


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--only", "sideways"), "--only sideways: no row is called so; the rows are up-1"),
        (("--only", ","), "--only names no row"),
        (
            ("--peers", "proxyproof,envoy"),
            "--peers envoy: it is not on this machine; there are direct, proxyproof",
        ),
        (("--peers", ""), "--peers names nobody"),
        (("--peers", "original"), "--peers original: it is not on this machine"),
        (("--binary", "/no/such/consul"), "--binary /no/such/consul is not an executable file"),
        (("--ghostunnel", "/"), "--ghostunnel / is not an executable file"),
        (("--seconds", "0"), "'0' is not a number of seconds up to 600"),
        (("--seconds", "nan"), "'nan' is not a number of seconds"),
        (("--rounds", "0"), "'0' is not a whole number from 1"),
        (("--idle", "many"), "'many' is not a whole number"),
        (("--report", "/proc/nowhere"), "--report /proc/nowhere"),
        (("--fast",), "unrecognized arguments: --fast"),
    ],
)
def test_usage(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err
