"""Files that are either the old or the new one, whatever happens in between."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

#: What a file is called while it is being written; leftovers of a crash are recognised by it.
TEMPORARY = ".tmp"


def make_private_directory(path: Path) -> None:
    """Create a directory for its owner only, with its parents; an existing one is left as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` with ``content``, mode 0600; on return it is on the disk. Raises :class:`OSError`."""
    temporary = path.with_name(f"{path.name}-{uuid.uuid4()}{TEMPORARY}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove ``path`` for good; a missing one is fine. Raises :class:`OSError`."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
