"""The simulated disk loses what a real one may lose, and keeps what a real one must keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from reference.files import write_atomically
from reference.supervisor.simulation.disk import Disk, SimulatedFiles

FOLDER = Path("/data")
FILE = FOLDER / "file"


def files(disk: Disk) -> SimulatedFiles:
    made = SimulatedFiles(disk, lambda: None)
    made.make_directory(FOLDER)
    return made


def written(disk: Disk, content: bytes, *, sync: bool, sync_directory: bool) -> None:
    port = files(disk)
    descriptor = port.create(FILE)
    port.write(descriptor, content)
    if sync:
        port.sync(descriptor)
    port.close(descriptor)
    if sync_directory:
        port.sync_directory(FOLDER)


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_what_was_replaced_atomically_is_there_whatever_is_lost(kept: float) -> None:
    disk = Disk()
    for content in (b"old", b"new"):
        write_atomically(files(disk), FILE, content)
    disk.lose_power(kept)
    assert disk.content(FILE) == b"new"
    assert disk.names(FOLDER) == [FILE]


def test_a_name_that_was_not_synced_may_be_lost() -> None:
    disk = Disk()
    written(disk, b"content", sync=True, sync_directory=False)
    disk.lose_power(0.0)
    with pytest.raises(FileNotFoundError):
        disk.content(FILE)


def test_bytes_that_were_not_synced_may_be_lost_in_part() -> None:
    disk = Disk()
    written(disk, b"content!", sync=False, sync_directory=True)
    disk.lose_power(0.5)
    assert disk.content(FILE) == b"cont"


def test_a_renaming_is_done_or_not_done() -> None:
    for kept in (0.0, 0.4, 0.6, 1.0):
        disk = Disk()
        written(disk, b"old", sync=True, sync_directory=True)
        port = files(disk)
        descriptor = port.create(FOLDER / "other")
        port.write(descriptor, b"new")
        port.sync(descriptor)
        port.replace(FOLDER / "other", FILE)
        disk.lose_power(kept)
        assert disk.content(FILE) in (b"old", b"new")


def test_a_full_disk_takes_a_part_and_says_so() -> None:
    disk = Disk(full=True)
    with pytest.raises(OSError, match="No space left on device"):
        written(disk, b"content!", sync=True, sync_directory=True)
    disk.full = False
    written(disk, b"content!", sync=True, sync_directory=True)
    assert disk.content(FILE) == b"content!"


def test_a_lock_is_gone_with_its_holder() -> None:
    disk = Disk()
    first, second = files(disk), files(disk)
    first.lock(FOLDER / "lock")
    with pytest.raises(BlockingIOError):
        second.lock(FOLDER / "lock")
    first.abandon()
    second.lock(FOLDER / "lock")
