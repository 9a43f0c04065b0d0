"""``python tests/faulty NAME ARGUMENT ...``: ``proxyproof ARGUMENT ...``, with the fault NAME in it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parents[2]))
    import proxyproof.__main__ as honest

    fault = importlib.import_module(f"tests.faulty.{sys.argv[1]}")
    fault.install()
    # The agent derives the default proxy command from how it was started: the proxies shall be honest.
    sys.argv = [str(Path(honest.__file__)), *sys.argv[2:]]
    return honest.main()


if __name__ == "__main__":
    sys.exit(main())
