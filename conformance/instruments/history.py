"""What a check did and saw, as JSON lines: one event per line, in order, secrets removed.

Every event has ``at`` (seconds since the check began), ``kind`` and the fields of its kind. Redaction works
twice: by place (a key, header or query parameter that carries a secret; a PEM private key) and by value (whatever
:meth:`History.hide` was told, such as the token found in a proxy's environment).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REDACTED = "[redacted]"

_SECRET_KEY = re.compile(r"token|secret|private_?key|password", re.IGNORECASE)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_SECRET_IN_TEXT = re.compile(
    r"""((?:x-consul-token|[a-z_]*token|secretid|private_?key(?:pem)?)["']?\s*[:=]\s*["']?)([^\s"'&,}]+)""",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """``text`` without private keys and the values of ``token=…`` and the like."""
    return _SECRET_IN_TEXT.sub(rf"\1{REDACTED}", _PRIVATE_KEY.sub(REDACTED, text))


class History:
    """Appends events to a file (or keeps them in memory alone when ``path`` is ``None``). Thread-safe."""

    def __init__(self, path: Path | None = None) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._secrets: set[str] = set()
        self._essence: Mapping[str, Any] = {}
        self._repeats = 0
        self._file = path.open("a", encoding="utf-8") if path else None
        self.path = path

    def hide(self, secret: str) -> None:
        """From now on ``secret`` is redacted wherever it stands. Short strings are ignored: they are no secrets."""
        if len(secret) >= 8:
            with self._lock:
                self._secrets.add(secret)

    def record(self, kind: str, **fields: Any) -> None:
        """Append one event. Values that are not JSON are written as their ``str``.

        An event that differs from the one before in ``took`` alone is counted instead of written: waits poll.
        """
        at = round(time.monotonic() - self._began, 4)
        event = json.loads(json.dumps({"kind": kind, **self.redact(fields)}, default=str))
        essence = {key: value for key, value in event.items() if key != "took"}
        with self._lock:
            if essence == self._essence:
                self._repeats += 1
                return
            self._write_repeats(at)
            self._essence = essence
            self._write({"at": at, **event})

    def _write_repeats(self, at: float) -> None:
        if self._repeats:
            self._write({"at": at, "kind": "repeated", "times": self._repeats})
        self._repeats = 0

    def _write(self, event: Mapping[str, Any]) -> None:
        if self._file and not self._file.closed:
            self._file.write(json.dumps(event, ensure_ascii=False) + "\n")
            self._file.flush()

    def redact(self, value: Any, *, key: str = "") -> Any:
        """A copy of ``value`` without its secrets; mappings, sequences and strings are searched."""
        if isinstance(value, Mapping):
            return {name: self.redact(item, key=str(name)) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.redact(item, key=key) for item in value]
        if isinstance(value, str):
            if value and _SECRET_KEY.search(key):
                return REDACTED
            return self.redact_text(value)
        return value

    def redact_text(self, text: str) -> str:
        """``text`` without what looks like a secret, and without the secrets that were named."""
        text = without_secrets(text)
        with self._lock:
            secrets = sorted(self._secrets, key=len, reverse=True)
        for secret in secrets:
            text = text.replace(secret, REDACTED)
        return text

    def close(self) -> None:
        """Close the file; later events are dropped."""
        with self._lock:
            self._write_repeats(round(time.monotonic() - self._began, 4))
            if self._file:
                self._file.close()
