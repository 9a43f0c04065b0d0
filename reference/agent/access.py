"""Access control as the agent was told to have it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from pathlib import Path

from reference.access.authorizer import Level, Resource
from reference.access.control import AccessControl, Enforced
from reference.access.register import AccessRegister
from reference.access.tokens import ProxyGrant
from reference.agent.agent_tokens import FILE_NAME, TokenStore
from reference.catalog.documents import Documents
from reference.catalog.index import IndexClock
from reference.catalog.model import Service
from reference.catalog.watch import Watch
from reference.config.model import AccessOptions, AgentConfig

_log = logging.getLogger("acl")


def token_store(options: AccessOptions, *, directory: Path | None) -> TokenStore:
    """The agent's own tokens; ``directory`` is where those of HTTP are kept, if they are to be kept."""
    keeps = options.enabled and options.keeps_tokens and directory is not None
    return TokenStore(options.tokens, path=directory / FILE_NAME if directory is not None and keeps else None)


def access_control(
    config: AgentConfig,
    documents: Documents,
    *,
    index: IndexClock,
    watch: Watch,
    tokens: TokenStore,
    grant: Callable[[str], ProxyGrant | None],
) -> AccessControl:
    """Switched off, or with the stored tokens and policies and those that have to be there.

    Raises :class:`~reference.catalog.documents.StorageError`.
    """
    options = config.access
    if not options.enabled:
        return AccessControl()
    register = AccessRegister(documents, index=index, watch=watch)
    if options.master and not _is_uuid(options.master):
        _log.warning("Configuring a non-UUID master token is deprecated")
    register.begin(master=options.master)
    return Enforced(
        register,
        allows_by_default=options.allows_by_default,
        node=config.node_name,
        datacenter=config.datacenter,
        tokens=lambda: tokens.current,
        grant=grant,
    )


def registration_rule(access: AccessControl, token_of: Callable[[str], str]) -> Callable[[Service], bool]:
    """Whether a service of this agent may be shown to the mesh: whether its own token allows to register it.

    ``token_of`` gives that token by the id of a service; the agent's default token stands for a missing one. A proxy
    is found as an instance of its service, so its registration takes the right to both names.
    """

    def may_show(service: Service) -> bool:
        if not access.enabled:
            return True
        authorizer = access.of_service(token_of(service.id))
        names = (
            [service.name]
            if service.destination is None
            else [service.name, service.destination.service_name]
        )
        return all(authorizer.allows(Resource.SERVICE, name, Level.WRITE) for name in names)

    return may_show


def on_access_change(access: AccessControl, tokens: TokenStore, sync: Callable[[], None]) -> None:
    """Have ``sync`` called once soon after each change of what tokens allow, or several at once."""
    scheduled = False

    def run() -> None:
        nonlocal scheduled
        scheduled = False
        sync()

    def schedule() -> None:
        nonlocal scheduled
        if not scheduled:
            scheduled = True
            asyncio.get_running_loop().call_soon(run)

    tokens.on_change(schedule)
    if isinstance(access, Enforced):
        access.register.on_change(schedule)


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
