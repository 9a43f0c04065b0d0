"""Files that are either the old or the new one, whatever happens in between.

:class:`Files` is the port: the few calls that everything lasting goes through, so that the same code runs on a
simulated disk, which loses what was not synced. :class:`LinuxFiles` is that port on this machine.
:func:`write_atomically` and :func:`remove` are what the agent and its supervisor use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Protocol

#: What a file is called while it is being written; leftovers of a crash are recognised by it.
TEMPORARY = ".tmp"

_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700


class Files(Protocol):
    """A disk. Every method raises :class:`OSError` as the operating system does; descriptors are numbers."""

    def make_directory(self, path: Path) -> None:
        """Create a directory for its owner only, with its parents; an existing one is left as it is."""

    def entries(self, path: Path) -> list[Path]:
        """What is in a directory, by name."""

    def read(self, path: Path) -> bytes:
        """The content of a file, never through a symbolic link: somebody else may have chosen where it points."""

    def create(self, path: Path) -> int:
        """A new file of mode 0600, open for writing; what had the name before is removed, not written to."""

    def append(self, path: Path) -> int:
        """A file of mode 0600, open for writing at its end, and made if it is missing; no link is followed."""

    def lock(self, path: Path) -> int:
        """A file that nobody else locks until it is closed. Raises :class:`BlockingIOError` when it is locked."""

    def write(self, descriptor: int, content: bytes) -> None:
        """Write all of it; until it is synced a loss of power may take it back, or a part of it."""

    def sync(self, descriptor: int) -> None:
        """On return the content is on the disk."""

    def close(self, descriptor: int) -> None:
        """Give the descriptor back."""

    def replace(self, old: Path, new: Path) -> None:
        """Give a file another name, in one step; until the directory is synced a loss of power may undo it."""

    def unlink(self, path: Path) -> None:
        """Remove a name; until the directory is synced a loss of power may bring it back."""

    def sync_directory(self, path: Path) -> None:
        """On return the names in the directory are on the disk."""


def write_atomically(files: Files, path: Path, content: bytes) -> None:
    """Replace ``path`` with ``content``, mode 0600; on return it is on the disk. Raises :class:`OSError`.

    One writer at a time per path, which the agent's lock on its data directory sees to.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    descriptor = files.create(temporary)
    try:
        try:
            files.write(descriptor, content)
            files.sync(descriptor)
        finally:
            files.close(descriptor)
        files.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            files.unlink(temporary)
        raise
    files.sync_directory(path.parent)


def remove(files: Files, path: Path) -> None:
    """Remove ``path`` for good; a missing one is fine. Raises :class:`OSError`."""
    try:
        files.unlink(path)
    except FileNotFoundError:
        return
    files.sync_directory(path.parent)


class LinuxFiles:
    """The disk of this machine."""

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)

    def entries(self, path: Path) -> list[Path]:
        return sorted(path.iterdir())

    def read(self, path: Path) -> bytes:
        # A pipe in its place must not hold up the agent.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return file.read()

    def create(self, path: Path) -> int:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, _PRIVATE_FILE)

    def append(self, path: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, _PRIVATE_FILE)

    def lock(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def write(self, descriptor: int, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def replace(self, old: Path, new: Path) -> None:
        os.replace(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
