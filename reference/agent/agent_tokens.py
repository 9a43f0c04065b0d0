"""The tokens of the agent itself: whom it is when it acts on its own, and whom a request is that shows none.

They come from the configuration, and over HTTP in the life of the agent. Those of HTTP outlive it in a file of the
data directory where that is switched on (``acl.enable_token_persistence``), and win over the configuration then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec.structs import fields, replace

from reference.catalog.documents import StorageError
from reference.config.model import AgentTokens
from reference.files import LinuxFiles, write_atomically

_log = logging.getLogger("agent")

#: In the data directory, mode 0600.
FILE_NAME = "acl-tokens.json"


#: How the API calls them, in version 1.4 and before.
NAMES: Mapping[str, str] = {
    **{each.name: each.name for each in fields(AgentTokens)},
    "acl_token": "default",
    "acl_agent_token": "agent",
    "acl_agent_master_token": "agent_master",
    "acl_replication_token": "replication",
}


class TokenStore:
    """The tokens in force. ``path`` is where those of HTTP are kept, None where they are not."""

    def __init__(self, configured: AgentTokens, *, path: Path | None) -> None:
        self._path = path
        self._listeners: list[Callable[[], None]] = []
        self._over_http = AgentTokens() if path is None else _read(path)
        self.configure(configured)

    @property
    def current(self) -> AgentTokens:
        """The tokens in force."""
        return self._current

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each change."""
        self._listeners.append(listener)

    def configure(self, configured: AgentTokens) -> None:
        """Take what the configuration says, now or in a reload: only what is kept wins over it."""
        kept = AgentTokens() if self._path is None else self._over_http
        chosen = {}
        for each in fields(AgentTokens):
            given, own = getattr(configured, each.name), getattr(kept, each.name)
            if own and given:
                _log.warning(
                    '"%s" token present in both the configuration and persisted token store, '
                    "using the persisted token",
                    each.name,
                )
            chosen[each.name] = own or given
        self._current = AgentTokens(**chosen)
        self._tell()

    def update(self, name: str, token: str) -> None:
        """Change one of the tokens; an empty one takes it away.

        Raises :class:`~reference.catalog.documents.StorageError` when it cannot be kept, and changes nothing then.
        """
        over_http = replace(self._over_http, **{name: token})
        if self._path is not None:
            _write(self._path, over_http)
        self._over_http = over_http
        self._current = replace(self._current, **{name: token})
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _read(path: Path) -> AgentTokens:
    try:
        return msgspec.json.decode(path.read_bytes(), type=AgentTokens)
    except FileNotFoundError:
        return AgentTokens()
    except (OSError, msgspec.MsgspecError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        _log.warning("unable to load persisted tokens: %s cannot be used: %s", path, why)
        return AgentTokens()


def _write(path: Path, tokens: AgentTokens) -> None:
    given = {each.name: value for each in fields(tokens) if (value := getattr(tokens, each.name))}
    try:
        write_atomically(LinuxFiles(), path, msgspec.json.encode(given))
    except OSError as error:
        raise StorageError(
            f"Failed to persist tokens - {path}: {error.strerror}. Make room and set its permissions right."
        ) from error
