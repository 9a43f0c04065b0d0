"""Files of a data directory, one for each record, named by the MD5 of its id (MP-SNAP-006, MP-SNAP-007)."""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

from reference.agent.services import KeeperError
from reference.files import TEMPORARY, Files, remove, write_atomically

_log = logging.getLogger("agent")
_NAME = re.compile(r"[0-9a-f]{32}")


class PersistenceError(KeeperError):
    """The data directory cannot be used; the text says where, why, and what to do."""


class RecordFiles:
    """The files below ``root``. Each write is atomic; what cannot be done raises :class:`PersistenceError`."""

    def __init__(self, root: Path, disk: Files) -> None:
        self._root = root
        self.disk = disk

    def files(self, directory: Path) -> Iterator[tuple[Path, bytes]]:
        """The records of one directory that can be read, by name; the others are logged."""
        for path in self.entries(directory):
            try:
                yield path, self.disk.read(path)
            except OSError as error:
                _log.error("%s cannot be read and is left out: %s", path, error.strerror)

    def entries(self, directory: Path) -> Iterator[Path]:
        """The files of one directory; what a crash left of a write is removed."""
        try:
            entries = self.disk.entries(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self.trouble("read", error) from error
        for path in entries:
            if path.name.endswith(TEMPORARY):
                self.remove(path)
            elif _NAME.fullmatch(path.name):
                yield path

    def make_directory(self, path: Path) -> None:
        """Make a directory that is not always needed."""
        try:
            self.disk.make_directory(path)
        except OSError as error:
            raise self.trouble("written", error) from error

    def write(self, path: Path, content: bytes) -> None:
        """Replace a file; on return it is on the disk."""
        try:
            # Each start writes everything anew; most of it is there.
            if self.read(path) != content:
                write_atomically(self.disk, path, content)
        except OSError as error:
            raise self.trouble("written", error) from error

    def read(self, path: Path) -> bytes | None:
        """The content of a file, None when it cannot be had."""
        try:
            return self.disk.read(path)
        except OSError:
            return None

    def remove(self, path: Path) -> None:
        """Remove a file; a missing one is fine."""
        try:
            remove(self.disk, path)
        except OSError as error:
            raise self.trouble("written", error) from error

    def trouble(self, what: str, error: OSError) -> PersistenceError:
        """What to tell the user."""
        where = "" if error.filename is None else f" ({error.filename})"
        return PersistenceError(
            f"the data directory {self._root} cannot be {what}: {error.strerror}{where}. "
            "Check its owner, its mode and the free space, or name another with -data-dir."
        )

    def set_aside(self, path: Path, error: Exception) -> None:
        """Keep a file that cannot be understood under another name, and say so."""
        aside = path.with_name(f"{path.name}.corrupt-{uuid.uuid4()}")
        try:
            self.disk.replace(path, aside)
        except OSError as trouble:
            _log.error("%s cannot be understood (%s) nor moved away: %s", path, error, trouble.strerror)
        else:
            _log.error(
                "%s cannot be understood (%s), it is kept as %s; the rest is served", path, error, aside
            )


def file_name(record_id: str) -> str:
    """The name of the file of a record."""
    return hashlib.md5(record_id.encode(), usedforsecurity=False).hexdigest()
