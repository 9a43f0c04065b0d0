"""Full logs are put aside without losing a byte, whoever writes to them, and however."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reference.proxy.log import Log
from reference.proxy.logfile import LogFile
from reference.supervisor import logs
from reference.supervisor.logs import LogFiles, Rotation, cut_front, log_paths, numbered, put_aside

#: Writes numbered lines to standard output until it has written as many as it was told.
WRITER = "import os\nfor n in range(int(os.environ['COUNT'])): os.write(1, b'line %d\\n' % n)"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log in a folder whose file system can take the front of a file out."""
    path = tmp_path / "web-proxy-stdout.log"
    path.write_bytes(b"x" * 20000)
    try:
        cut_front(path, keep=1)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("the file system here cannot take the front of a file out")
    numbered(path, 1).unlink()
    path.unlink()
    return path


def everything(path: Path, keep: int = 1000) -> bytes:
    """What was put aside, oldest first, and what is in the file now."""
    aside = [numbered(path, number) for number in range(keep, 0, -1)]
    return b"".join(file.read_bytes() for file in (*aside, path) if file.exists())


def test_the_front_of_a_log_is_taken_out_while_a_program_writes_to_it(log: Path) -> None:
    count, cuts = 60_000, 0
    with log.open("ab") as file:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER], stdout=file, env={**os.environ, "COUNT": str(count)}
        )
    while writer.poll() is None:
        if log.stat().st_size >= 8192:
            cut_front(log, keep=1000)
            cuts += 1
    assert writer.returncode == 0
    assert cuts > 3
    assert log.stat().st_size < 60_000 * 5
    assert everything(log) == b"".join(b"line %d\n" % n for n in range(count))
    assert stat.S_IMODE(numbered(log, 1).stat().st_mode) == 0o600


def test_of_the_logs_put_aside_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for number in range(5):
        path.write_text(str(number))
        put_aside(path, keep=3)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "a.log.1": "4",
        "a.log.2": "3",
        "a.log.3": "2",
    }


def test_a_log_that_its_writer_looks_after_is_left_alone(log: Path) -> None:
    log.write_bytes(b"x" * 20000)
    with log.open("ab") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        cut_front(log, keep=3)
    assert log.stat().st_size == 20000
    assert not numbered(log, 1).exists()


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"x" * 20000)
    link = tmp_path / "a.log"
    link.symlink_to(precious)
    with pytest.raises(OSError, match="symbolic"):
        cut_front(link, keep=1)
    assert precious.stat().st_size == 20000


def test_where_it_cannot_be_done_nothing_changes_and_the_log_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def cannot(descriptor: int, length: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(logs, "_collapse", cannot)
    files = LogFiles(tmp_path, Rotation(limit=4096, keep=2))
    path, _ = log_paths(tmp_path, "web-proxy")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 20000)
    for full in files.full("web-proxy") * 2:
        files.cut(full)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.stat().st_size == 20000
    assert len([r for r in caplog.records if "cannot take the front" in r.getMessage()]) == 1
    files.before_start("web-proxy")
    assert [file.name for file in path.parent.iterdir()] == [f"{path.name}.1"]


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """What the agent gives a proxy as standard output."""
    opened = os.open(tmp_path / "out.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    yield opened
    os.close(opened)


def test_the_proxy_puts_its_own_log_aside_and_no_line_is_lost(tmp_path: Path, descriptor: int) -> None:
    path = tmp_path / "out.log"
    log = Log(level="INFO", output=LogFile(descriptor, str(path), limit=4096, keep=1000))
    threads = [
        threading.Thread(target=lambda name=name: [log.info(f"{name} {n}") for n in range(2000)])
        for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = re.findall(r"\[INFO\] (\w) (\d+)\n", everything(path).decode())
    assert sorted(lines) == sorted((name, str(n)) for name in "abcd" for n in range(2000))
    # While one thread moves on the others write to the old file: how large it becomes is not settled here.
    assert numbered(path, 1).exists()


def test_the_proxy_keeps_its_log_and_the_files_put_aside_small(tmp_path: Path, descriptor: int) -> None:
    path = tmp_path / "out.log"
    log = Log(level="INFO", output=LogFile(descriptor, str(path), limit=4096, keep=3))
    for n in range(1000):
        log.info(str(n))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "out.log",
        *(f"out.log.{n}" for n in (1, 2, 3)),
    ]
    for file in tmp_path.iterdir():
        assert file.stat().st_size < 4096 + 100
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_proxy_moves_on_when_somebody_else_renames_its_log(
    tmp_path: Path, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference.proxy.logfile._LOOK_SECONDS", 0.0)
    path = tmp_path / "out.log"
    output = LogFile(descriptor, str(path), limit=1 << 20, keep=1)
    output.write(b"one\n")
    path.rename(tmp_path / "rotated")
    output.write(b"two\n")
    assert (tmp_path / "rotated").read_bytes() == b"one\n"
    assert path.read_bytes() == b"two\n"


def test_the_agent_leaves_alone_what_the_proxy_looks_after(log: Path) -> None:
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        LogFile(opened, str(log), limit=1 << 20, keep=1).write(b"x" * 20000)
        cut_front(log, keep=1)
        assert log.stat().st_size == 20000
    finally:
        os.close(opened)
