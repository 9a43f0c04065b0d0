"""Where the data folders are: inside the package once installed, at the top of the checkout before."""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).parent / "data"
_CHECKOUT = Path(__file__).parent.parent


def path(*parts: str) -> Path:
    """The path of a data file or folder, such as ``path("fixtures", "redis.json")``.

    Raises :class:`FileNotFoundError` naming the path when the installation lacks it.
    """
    for root in (_INSTALLED, _CHECKOUT):
        candidate = root.joinpath(*parts)
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{'/'.join(parts)} is not part of this installation; reinstall proxyproof")
