"""``proxyproof proxies`` with a real agent: list, rolling restart, logs, and the clean end of a test run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reference.cli.tail import Follower, last_lines
from reference.supervisor.logs import cut_front, put_aside
from tests.agents import Agent, agent, service
from tests.waiting import DEADLINE, eventually

UNCHECKED = {"disable_tcp_check": True}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's: an agent that is not root has to come in."""
    path = Path(tempfile.mkdtemp())
    yield path
    shutil.rmtree(path)


def proxies(*arguments: str, at: Agent | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({} if at is None else {"CONSUL_HTTP_ADDR": f"127.0.0.1:{at.port}"})}
    return subprocess.run(
        [sys.executable, "-m", "proxyproof", "proxies", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def saying(name: str, script: str) -> dict[str, object]:
    return service(name, ["/bin/sh", "-c", f"{script}; exec sleep 1000"], **UNCHECKED)


def test_list_restart_and_logs_of_a_running_agent(folder: Path) -> None:
    with agent(folder) as one:
        one.define(saying("a", "for n in 1 2 3; do echo line $n; done; echo oops >&2"), saying("b", "true"))
        one.start()
        before = one.runs("a-proxy", "b-proxy")

        listed = proxies("list", at=one).stdout.splitlines()
        assert listed[0].split() == ["PROXY", "STATE", "PID", "READY", "RESTARTS", "SINCE", "REASON"]
        assert listed[1].split()[:3] == ["a-proxy", "running", str(before["a-proxy"][0])]

        restarted = proxies("restart", "--all", at=one)
        assert restarted.returncode == 0, restarted.stderr
        after = one.runs("a-proxy", "b-proxy")
        moves = [
            f"{name}: {before[name][0]} -> {after[name][0]} (ready by running" for name in sorted(before)
        ]
        assert [line.rpartition(",")[0] for line in restarted.stdout.splitlines()] == moves
        assert {name: token for name, (_, token) in after.items()} == {
            name: token for name, (_, token) in before.items()
        }

        assert proxies("logs", "a-proxy", "-n", "2", "-stream", "stdout", at=one).stdout == "line 2\nline 3\n"
        assert proxies("logs", "-n=1", "a-proxy", at=one).stdout == "line 3\noops\n"


def test_ids_of_any_length_and_kind_run_and_are_listed_in_a_line_each(folder: Path) -> None:
    long, strange = "x" * 300, "a\n\x1b[31mb"
    with agent(folder) as one:
        one.define(saying(long, "echo here"), saying(strange, "true"))
        one.start()
        one.runs(f"{long}-proxy", f"{strange}-proxy")
        listed = proxies("list", at=one).stdout.splitlines()
        assert len(listed) == 3
        assert listed[1].startswith("a\\n\\x1b[31mb-proxy")
        eventually(lambda: proxies("logs", f"{long}-proxy", at=one).stdout == "here\n", "what it said")
        assert proxies("stop", f"{long}-proxy", at=one).returncode == 0


def test_a_stopped_proxy_stays_stopped_until_it_is_restarted(folder: Path) -> None:
    with agent(folder) as one:
        one.define(saying("a", "true"), saying("b", "true"))
        one.start()
        before = one.runs("a-proxy", "b-proxy")
        stopped = proxies("stop", "a-proxy", at=one)
        assert stopped.stdout == f"a-proxy: stopped (process {before['a-proxy'][0]})\n"
        assert one.running() == {"b-proxy": before["b-proxy"]}
        assert "stopped" in proxies("list", at=one).stdout
        assert one.put("/v1/agent/reload").status_code == 200
        assert one.running() == {"b-proxy": before["b-proxy"]}
        assert re.match(r"a-proxy: none -> \d+ ", proxies("restart", "a-proxy", at=one).stdout)
        one.runs("a-proxy", "b-proxy")


def test_a_rolling_restart_stops_at_the_first_that_does_not_come_up(folder: Path) -> None:
    with agent(folder) as one:
        # It comes up once, and never again.
        one.config["connect"]["proxy"]["supervision"] = {
            "quick_starts": 1,
            "backoff": "1h",
            "backoff_limit": "1h",
        }
        one.define(
            service(
                "a", ["/bin/sh", "-c", f"test -e {folder}/ran && exit 1; touch {folder}/ran; exec sleep 9"]
            ),
            saying("b", "true"),
        )
        one.start()
        before = one.runs("a-proxy", "b-proxy")
        failed = proxies("restart", "-all", "-wait", "300ms", at=one)
        assert failed.returncode == 1
        assert "a-proxy is not ready" in failed.stderr
        assert "not restarted: b-proxy" in failed.stderr
        assert one.running() == {"b-proxy": before["b-proxy"]}


def test_the_clean_end_of_a_test_run_with_its_agent(folder: Path) -> None:
    with agent(folder) as one:
        one.define(saying("a", "true"), saying("b", "true"))
        one.start()
        one.runs("a-proxy", "b-proxy")
        ended = proxies("stop", "-all", "-leave", at=one)
        assert ended.returncode == 0, ended.stderr
        assert one.process is not None
        assert one.process.wait(DEADLINE) == 0, one.output()
        assert one.running() == {}


@pytest.mark.parametrize("snapshot", ["kept", "lost"])
def test_the_clean_end_of_a_test_run_without_its_agent(folder: Path, snapshot: str) -> None:
    with agent(folder) as one:
        one.define(saying("a", "trap '' INT"), saying("b", "true"), saying("c", "true"))
        one.start()
        before = one.runs("a-proxy", "b-proxy", "c-proxy")
        data = str(folder / "data")
        assert "in use by a running agent" in proxies("stop", "-all", "-data-dir", data).stderr
        one.end(signal.SIGKILL)
        if snapshot == "lost":
            (folder / "data/proxy/snapshot.json").unlink()
        some = proxies("stop", "b-proxy", "-data-dir", data)
        assert some.stdout == f"b-proxy: stopped (process {before['b-proxy'][0]})\n", some.stderr
        eventually(lambda: "b-proxy" not in one.running(), "the end of b-proxy")
        everything = proxies("stop", "--all", "--data-dir", data)
        assert everything.returncode == 0, everything.stderr
        assert everything.stdout == "".join(
            f"{name}: stopped (process {before[name][0]})\n" for name in ("a-proxy", "c-proxy")
        )
        assert one.running() == {}
        assert list((folder / "data/proxy/pids").iterdir()) == []
        assert '"Proxies": {}' in (folder / "data/proxy/snapshot.json").read_text()
        assert "knows no managed proxy called a-proxy" in proxies("stop", "a-proxy", "-data-dir", data).stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "proxies needs one of list, restart, logs, stop"),
        (("reboot",), "not reboot"),
        (("restart",), "name the proxies, or give -all"),
        (("stop", "a-proxy", "-all"), "name the proxies, or give -all"),
        (("restart", "a-proxy", "-outdated"), "-outdated chooses the proxies itself"),
        (("logs",), "needs the id of one proxy"),
        (("logs", "a-proxy", "-stream", "both"), "-stream is stdout or stderr, not both"),
        (("stop", "-all", "-leave", "-data-dir", "/d"), "-leave is for an agent that runs"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(arguments: tuple[str, ...], says: str) -> None:
    finished = proxies(*arguments)
    assert (finished.returncode, finished.stderr.count("\n")) == (2, 1)
    assert says in finished.stderr


def test_what_is_no_data_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    finished = proxies("stop", "-all", "-data-dir", str(tmp_path))
    assert (finished.returncode, finished.stderr.count("\n")) == (1, 1)
    assert list(tmp_path.iterdir()) == []


def test_the_last_lines_reach_back_into_what_was_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for text in ("1\n2\n", "3\n4\n", "5\n"):
        log.write_text(text)
        put_aside(log, keep=5)
    assert last_lines(log, 2) == b"4\n5\n"
    log.write_text("6\n7")
    assert last_lines(log, 4) == b"4\n5\n6\n7"
    assert last_lines(log, 100) == b"1\n2\n3\n4\n5\n6\n7"
    assert last_lines(log, 0) == b""


@pytest.mark.parametrize("how", ["renamed", "cut"])
def test_following_goes_on_when_the_log_is_put_aside(tmp_path: Path, how: str) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"old\n" * 3000)
    follower = Follower(log)
    with log.open("ab", buffering=0) as writer:
        writer.write(b"one\n")
        assert b"".join(follower.added()) == b"one\n"
        writer.write(b"two\n")
        if how == "renamed":
            put_aside(log, keep=2)
            log.write_bytes(b"three\n")
        else:
            try:
                cut_front(log, keep=2)
            except OSError:
                pytest.skip("the file system here cannot take the front of a file out")
            writer.write(b"three\n")
    assert b"".join(follower.added()) == b"two\nthree\n"
    follower.close()
