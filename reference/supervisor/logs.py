"""Log files of managed proxies: where they are, and how they stay small without losing a byte.

A proxy writes to its files itself, through descriptors in append mode that it has from its start; nothing stands
between that the end of the agent could break. So there are three ways to put a full log aside, and each keeps all:

- before a start nobody writes: the file gets another name;
- a program that looks after its own log, as the built-in proxy does, renames it and opens a new one. It holds a lock
  (``flock``) on the file meanwhile, and the agent leaves what is locked alone;
- of a file that somebody writes to, whole blocks at its front are copied to another file and then taken out
  (``FALLOC_FL_COLLAPSE_RANGE``), which the kernel does between two writes. The usual copy and truncate would lose
  what is written in between. File systems that cannot do it (it takes ext4 or XFS) keep the file until the next start.

Copies are ``<name>.log.1``, the newest, to ``.log.<n>``. A cut may fall within a line; the parts are complete
when put together.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from reference.files import TEMPORARY

_log = logging.getLogger("agent/proxy")

_COLLAPSE_RANGE = 0x08
_CHUNK = 1 << 20
#: Names have room for 255 bytes, and there are endings such as ``-stdout.log.12``.
_LONGEST_NAME = 200


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """``limit`` is the size in bytes from which a log is put aside, 0 for never; ``keep`` how many of those stay."""

    limit: int
    keep: int


def file_name(proxy_id: str) -> str:
    """The id as a file name: itself, unless it is very long, or holds a slash, a dot alone or the like."""
    name = (
        quote(proxy_id, safe=" !#$&'()+,;=@[]{}~^")
        if proxy_id.strip(".")
        else quote(proxy_id).replace(".", "%2E")
    )
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(proxy_id.encode()).hexdigest()
    return f"{name[: _LONGEST_NAME - len(digest) - 1]}-{digest}"


def log_paths(data_dir: Path, proxy_id: str) -> tuple[Path, Path]:
    """Standard output and standard error of a proxy (MP-LOG-001)."""
    folder, name = data_dir / "proxy" / "logs", file_name(proxy_id)
    return folder / f"{name}-stdout.log", folder / f"{name}-stderr.log"


class LogFiles:
    """The logs of one agent's proxies. Raises nothing: a log that cannot be put aside is a line in the agent's."""

    def __init__(self, data_dir: Path, rotation: Rotation) -> None:
        self._data_dir = data_dir
        self._rotation = rotation
        self._unable = False

    def full(self, proxy_id: str) -> tuple[Path, ...]:
        """Which of a proxy's logs have reached the limit."""
        limit = self._rotation.limit
        paths = log_paths(self._data_dir, proxy_id)
        return tuple(path for path in paths if limit and _size(path) >= limit)

    def is_any_full(self) -> bool:
        """Whether it is worth asking of each proxy: one look at the folder costs much less than that."""
        try:
            with os.scandir(self._data_dir / "proxy" / "logs") as found:
                return any(
                    entry.name.endswith(".log")
                    and entry.stat(follow_symlinks=False).st_size >= self._rotation.limit
                    for entry in found
                )
        except OSError:
            return False

    def before_start(self, proxy_id: str) -> None:
        """Put full logs aside while nobody writes to them."""
        for path in self.full(proxy_id):
            try:
                put_aside(path, keep=self._rotation.keep)
            except OSError as error:
                _log.warning("cannot put %s aside: %s; it grows on", path, error.strerror)

    def cut(self, path: Path) -> None:
        """Put the front of a full log aside while somebody writes to it. Takes as long as the copying takes."""
        if self._unable:
            return
        try:
            cut_front(path, keep=self._rotation.keep)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
                self._unable = True
                _log.warning(
                    "the file system of %s cannot take the front of a file out (ext4 and XFS can); logs of custom "
                    "proxies are put aside when these start",
                    path.parent,
                )
            else:
                _log.warning("cannot put the front of %s aside: %s; it grows on", path, error.strerror)


def put_aside(path: Path, *, keep: int) -> None:
    """Give ``path`` the name ``<path>.1``, which had ``.1`` the name ``.2``, and so on; the oldest is removed."""
    make_room(path, keep=keep)
    path.replace(numbered(path, 1))


def make_room(path: Path, *, keep: int) -> None:
    """Have nothing called ``<path>.1``."""
    last = next(n for n in range(1, keep + 1) if n == keep or not numbered(path, n).exists())
    for number in range(last - 1, 0, -1):
        numbered(path, number).replace(numbered(path, number + 1))
    with suppress(FileNotFoundError):
        numbered(path, 1).unlink()


def numbered(path: Path, number: int) -> Path:
    """The name of a log that was put aside; 1 is the newest."""
    return path.with_name(f"{path.name}.{number}")


def cut_front(path: Path, *, keep: int) -> None:
    """Move all whole blocks of a log to ``<path>.1``, without disturbing whoever appends to it.

    Does nothing where its writer holds a lock on it. Raises :class:`OSError`, ``EOPNOTSUPP`` where the file system
    cannot do it; then nothing was changed. An agent that is killed in between leaves bytes in both files.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        # The last block stays, even when it is whole: a range that reaches the end cannot be taken out.
        block = os.fstatvfs(descriptor).f_bsize
        length = (os.fstat(descriptor).st_size - 1) // block * block
        if length <= 0:
            return
        _probe_collapse(path.with_name(f".{path.name}{TEMPORARY}"), block)
        copy = path.with_name(f"{path.name}.1{TEMPORARY}")
        _copy(descriptor, copy, length)
        make_room(path, keep=keep)
        copy.replace(numbered(path, 1))
        _collapse(descriptor, length)
    finally:
        os.close(descriptor)


def _probe_collapse(path: Path, block: int) -> None:
    """Try it on a file of our own first: the copy must not be announced, and then not taken out."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.truncate(descriptor, 2 * block)
        _collapse(descriptor, block)
    finally:
        os.close(descriptor)
        path.unlink()


def _collapse(descriptor: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.fallocate(descriptor, _COLLAPSE_RANGE, ctypes.c_int64(0), ctypes.c_int64(length))
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _copy(source: int, target: Path, length: int) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        offset = 0
        while offset < length:
            sent = os.sendfile(descriptor, source, offset, min(_CHUNK, length - offset))
            if sent == 0:
                raise OSError(errno.EIO, "the log shrank while it was copied")
            offset += sent
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            target.unlink()
        raise
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_size
    except OSError:
        return 0
