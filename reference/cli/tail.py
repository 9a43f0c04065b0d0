"""The end of a log that is put aside now and then, and what is added to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from reference.supervisor.logs import numbered

_CHUNK = 1 << 16


def last_lines(path: Path, count: int) -> bytes:
    """The last ``count`` lines of a log; those before its beginning are taken from what was put aside."""
    text, number = b"", 0
    file = path
    while count > 0 and text.count(b"\n") <= count:
        try:
            text = file.read_bytes() + text
        except FileNotFoundError:
            if number > 0:
                break
        number += 1
        file = numbered(path, number)
    lines = text.splitlines(keepends=True)
    return b"".join(lines[-count:]) if count > 0 else b""


class Follower:
    """Reads what is added to a log, and goes on when the log, or its front, is put aside. Begins at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._aside = _inode(numbered(path, 1))
        self._open()
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def added(self) -> Iterator[bytes]:
        """Everything since the last time."""
        if self._file is None:
            self._open()
        if self._file is None:
            return
        aside, renamed = _inode(numbered(self._path, 1)), self._renamed()
        if aside != self._aside and not renamed:
            # Its front was taken out: what was read up to here is that much nearer to the beginning now.
            moved = numbered(self._path, 1).stat().st_size
            self._file.seek(max(0, self._file.tell() - moved))
        self._aside = aside
        yield from iter(lambda: self._read(), b"")
        if renamed:
            self._file.close()
            self._open()
            yield from iter(lambda: self._read(), b"")

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            self._file.close()

    def _read(self) -> bytes:
        return b"" if self._file is None else self._file.read(_CHUNK)

    def _open(self) -> None:
        try:
            self._file = self._path.open("rb", buffering=0)
        except FileNotFoundError:
            self._file = None

    def _renamed(self) -> bool:
        assert self._file is not None
        return _inode(self._path) not in (None, os.fstat(self._file.fileno()).st_ino)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
