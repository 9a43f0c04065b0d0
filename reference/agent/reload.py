"""Reading the configuration again, while everything runs: all of it is applied, or nothing.

Whatever can be refused is tried before anything is changed: the files, the definitions of services and checks with
the ports of their proxies, the certificate of HTTPS. Applying then changes what is different and leaves alone what is
not: an unchanged proxy keeps pid, token, port and connections (MP-LIFE-012). Definitions and the options in
:data:`~reference.config.schema.RELOADABLE` take effect at once, as in the original; others are named in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from reference.agent import log
from reference.agent.agent_tokens import TokenStore
from reference.agent.api import Listeners
from reference.agent.ports import PortsExhausted
from reference.agent.proxies import ProxyError
from reference.agent.services import KeeperError, LocalState, NotAllowed
from reference.agent.sockets import StartError
from reference.agent.tls import load_certificate, server_context
from reference.config import access
from reference.config.errors import ConfigError
from reference.config.load import LoadResult
from reference.config.schema import EFFECTIVE, RELOADABLE

_log = logging.getLogger("agent")


class ReloadFailed(Exception):
    """The configuration could not be read again, and nothing was changed; the text says why."""


class Reloader:
    """Applies the configuration as it is now. ``read`` reads it, ``current`` is what was read last."""

    def __init__(
        self,
        *,
        read: Callable[[], LoadResult],
        current: LoadResult,
        state: LocalState,
        tokens: TokenStore,
        listeners: Listeners,
    ) -> None:
        self._read = read
        self._current = current
        self._state = state
        self._tokens = tokens
        self._listeners = listeners

    def reload(self) -> None:
        """Raises :class:`ReloadFailed`, with everything as it was."""
        _log.info("Reloading configuration...")
        try:
            fresh = self._read()
            if self._listeners.tls is not None:
                # Tried on a context of its own: half a certificate would be one too many.
                server_context(fresh.config.tls)
            self._state.reconcile(fresh.config.services, fresh.config.checks)
        except (ConfigError, KeeperError, NotAllowed, ProxyError, PortsExhausted, StartError) as error:
            raise ReloadFailed(f"reload failed, nothing was changed: {error}") from error
        if self._listeners.tls is not None:
            load_certificate(self._listeners.tls, fresh.config.tls)
        self._tokens.configure(fresh.config.access.tokens)
        log.set_level(fresh.config.log_level)
        for option in _waiting(self._current, fresh):
            _log.warning("reload: option %s takes effect at the next start of the agent", option)
        self._current = fresh
        _log.info("reload: %d services are defined", len(fresh.config.services))


def _waiting(before: LoadResult, after: LoadResult) -> list[str]:
    """The options that have changed and wait for a restart, by name; never by value, which may be a secret."""
    names = before.options.keys() | after.options.keys()
    changed = {name for name in names if before.options.get(name) != after.options.get(name)}
    return sorted(
        name for name in (changed & (EFFECTIVE | access.EFFECTIVE)) - RELOADABLE if not _is_token(name)
    )


def _is_token(name: str) -> bool:
    """Whether the option is one of the agent's own tokens; the first one of all is made at the start alone."""
    known = {"acl.tokens.default", "acl.tokens.agent", "acl.tokens.agent_master"}
    return name in known or name in {access.BEFORE[each] for each in known}
