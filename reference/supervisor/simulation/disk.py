"""A disk that keeps what was synced, and of the rest as much as bad luck leaves.

Bytes and names are two things, as on a real disk: ``sync`` makes the bytes of a file last, ``sync_directory`` its
name. Until then both are visible to every process, and a loss of power keeps of the names a beginning of what was
done to them, in order, and of the bytes a beginning, or nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(eq=False, slots=True)
class _Inode:
    content: bytes = b""
    durable: bytes = b""


@dataclass
class Disk:
    """What outlives every agent. ``full`` lets nothing more be written."""

    full: bool = False
    _names: dict[Path, _Inode] = field(default_factory=dict)
    _durable_names: dict[Path, _Inode] = field(default_factory=dict)
    #: What was done to names and is not on the disk yet, each step whole: ``None`` for a removal.
    _journal: list[Mapping[Path, _Inode | None]] = field(default_factory=list)
    _directories: set[Path] = field(default_factory=set)
    locks: dict[Path, object] = field(default_factory=dict)

    def names(self, directory: Path) -> list[Path]:
        if directory not in self._directories:
            raise _error(errno.ENOENT, directory)
        return sorted(path for path in self._names if path.parent == directory)

    def content(self, path: Path) -> bytes:
        return self.inode(path).content

    def inode(self, path: Path) -> _Inode:
        try:
            return self._names[path]
        except KeyError:
            raise _error(errno.ENOENT, path) from None

    def make_directory(self, path: Path) -> None:
        self._directories.add(path)

    def link(self, changes: Mapping[Path, _Inode | None]) -> None:
        """Have each path name this file from now on, or no file; all of it in one step."""
        for path, inode in changes.items():
            if inode is None:
                if self._names.pop(path, None) is None:
                    raise _error(errno.ENOENT, path)
            else:
                self._names[path] = inode
        self._journal.append(changes)

    def new(self, path: Path) -> _Inode:
        inode = _Inode()
        self.link({path: inode})
        return inode

    def sync_names(self) -> None:
        """All names are on the disk; journals are synced as a whole, whichever directory was meant."""
        self._keep(len(self._journal))

    def lose_power(self, kept: float) -> None:
        """Keep this share, from 0 to 1, of what was not synced: the first names, the beginnings of files."""
        self._keep(round(len(self._journal) * kept))
        self._names = dict(self._durable_names)
        self.locks.clear()
        for inode in self._names.values():
            if inode.content != inode.durable:
                inode.content = inode.content[: int(len(inode.content) * kept)]
                inode.durable = inode.content

    def put(self, path: Path, content: bytes) -> None:
        """What an operator, or an accident, leaves on the disk for good."""
        inode = self.new(path)
        inode.content = inode.durable = content
        self.sync_names()

    def remove(self, path: Path) -> None:
        """The same, the other way round; a missing file is fine."""
        if path in self._names:
            self.link({path: None})
            self.sync_names()

    def _keep(self, count: int) -> None:
        for changes in self._journal[:count]:
            for path, inode in changes.items():
                if inode is None:
                    self._durable_names.pop(path, None)
                else:
                    self._durable_names[path] = inode
        self._journal.clear()


class SimulatedFiles:
    """The disk as one agent sees it; ``call`` comes before each step, and is where the agent may die."""

    def __init__(self, disk: Disk, call: Callable[[], None]) -> None:
        self._disk = disk
        self._call = call
        self._open: dict[int, _Inode | Path] = {}
        self._next = 3

    def make_directory(self, path: Path) -> None:
        self._call()
        self._disk.make_directory(path)

    def entries(self, path: Path) -> list[Path]:
        self._call()
        return self._disk.names(path)

    def read(self, path: Path) -> bytes:
        self._call()
        return self._disk.content(path)

    def create(self, path: Path) -> int:
        self._call()
        return self._opened(self._disk.new(path))

    def truncate(self, path: Path) -> int:
        """An existing file, emptied where it is, or a new one: how files are written that nobody can rely on."""
        descriptor = self.append(path)
        inode = self._open[descriptor]
        assert isinstance(inode, _Inode)
        inode.content = b""
        return descriptor

    def append(self, path: Path) -> int:
        self._call()
        try:
            return self._opened(self._disk.inode(path))
        except FileNotFoundError:
            return self._opened(self._disk.new(path))

    def lock(self, path: Path) -> int:
        self._call()
        if path in self._disk.locks:
            raise _error(errno.EWOULDBLOCK, path)
        self._disk.locks[path] = self
        return self._opened(path)

    def write(self, descriptor: int, content: bytes) -> None:
        inode = self._open[descriptor]
        assert isinstance(inode, _Inode)
        # Two steps, since a full disk takes what fits, and a process may die in between.
        half = len(content) // 2
        for part in (content[:half], content[half:]):
            self._call()
            inode.content += part
            if self._disk.full:
                raise _error(errno.ENOSPC, None)

    def sync(self, descriptor: int) -> None:
        self._call()
        inode = self._open[descriptor]
        assert isinstance(inode, _Inode)
        inode.durable = inode.content

    def close(self, descriptor: int) -> None:
        self._call()
        closed = self._open.pop(descriptor)
        if isinstance(closed, Path):
            del self._disk.locks[closed]

    def replace(self, old: Path, new: Path) -> None:
        self._call()
        inode = self._disk.inode(old)
        self._disk.link({old: None, new: inode})

    def unlink(self, path: Path) -> None:
        self._call()
        self._disk.link({path: None})

    def sync_directory(self, path: Path) -> None:
        self._call()
        self._disk.sync_names()

    def abandon(self) -> None:
        """The process is gone: its descriptors close, its locks with them."""
        for path in [path for path, holder in self._disk.locks.items() if holder is self]:
            del self._disk.locks[path]
        self._open.clear()

    def _opened(self, inode: _Inode | Path) -> int:
        self._next += 1
        self._open[self._next] = inode
        return self._next


def _error(number: int, path: Path | None) -> OSError:
    """The same subclass and text that the operating system would give."""
    return OSError(number, os.strerror(number), *(() if path is None else (str(path),)))
