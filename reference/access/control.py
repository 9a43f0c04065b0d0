"""Access control of one agent: from the token of a request to what it may do.

========================  =====================================================================================
who shows                 may do
========================  =====================================================================================
no token                  what the agent's default token may do, else the anonymous one
the agent's master token  everything with this agent, and see all nodes: for emergencies
the token of a proxy      what :class:`ProxyAuthorizer` says
the secret of a token     what its policies say, and the default policy where they say nothing
another word              nothing: there is no such token
========================  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from reference.access import rules
from reference.access.authorizer import ALLOW_ALL, DENY_ALL, MANAGE_ALL, Authorizer, Level, Resource
from reference.access.model import ANONYMOUS_SECRET, Token
from reference.access.register import ROOTS, AccessRegister, UnknownToken
from reference.access.tokens import ProxyGrant, same_token
from reference.config.model import AgentTokens


class RootToken(Exception):
    """A word was shown as a token that names a default policy."""

    def __init__(self) -> None:
        super().__init__("Cannot resolve root ACL")


class AccessControl:
    """Access control that is switched off: everybody may do everything."""

    @property
    def enabled(self) -> bool:
        """Whether tokens are asked for at all (``acl.enabled``)."""
        return False

    @property
    def allows_by_default(self) -> bool:
        """What is decided about a connection that no intention is about (MP-INT-021)."""
        return True

    def authorizer(self, token: str) -> Authorizer:
        """What the bearer of ``token`` may do; who shows none has the empty one.

        Raises :class:`~reference.access.register.UnknownToken` and :class:`RootToken`.
        """
        return MANAGE_ALL

    def of_service(self, token: str) -> Authorizer:
        """What a service may do that was registered with ``token``: nothing where there is no such token any more."""
        return MANAGE_ALL


class ProxyAuthorizer(msgspec.Struct, frozen=True, kw_only=True):
    """What the token of a managed proxy opens: reading what it needs, and nothing else (MP-TOK-009).

    Of nodes and services it sees what the token of its service sees, which is how the original lets it find its
    upstreams, and in any case its own service, itself, and the intentions towards it. ``service`` is what the token of
    the service opens.
    """

    grant: ProxyGrant
    service: Authorizer

    def allows(self, resource: Resource, name: str, level: Level) -> bool:
        """See :class:`~reference.access.authorizer.Authorizer`."""
        if level is not Level.READ:
            return False
        own = self.grant.service.lower()
        match resource:
            case Resource.INTENTION:
                # It decides by them whom to let in, and has to hear of changes.
                return name.lower() in (own, "*")
            case Resource.SERVICE:
                mine = name.lower() in (own, self.grant.proxy.lower())
                return mine or self.service.allows(resource, name, level)
            case Resource.NODE:
                return self.service.allows(resource, name, level)
            case _:
                return False

    def reaches(self, service: str) -> bool:
        """Whether the proxy has to find those that speak for ``service``."""
        return service != "" and service.lower() in {*self.grant.upstreams, self.grant.service.lower()}

    def executes(self, query: str) -> bool:
        """Whether the proxy has to find those in the mesh that the prepared query ``query`` is about."""
        return query.lower() in self.grant.queries

    @property
    def allows_by_default(self) -> bool:
        """The default policy's answer."""
        return self.service.allows_by_default


class Enforced(AccessControl):
    """Access control that is switched on."""

    def __init__(
        self,
        register: AccessRegister,
        *,
        allows_by_default: bool,
        node: str,
        datacenter: str,
        tokens: Callable[[], AgentTokens],
        grant: Callable[[str], ProxyGrant | None],
    ) -> None:
        """``tokens`` gives the agent's own tokens, ``grant`` what the token of a managed proxy opens."""
        self.register = register
        self._default = ALLOW_ALL if allows_by_default else DENY_ALL
        self._datacenter = datacenter
        self._tokens = tokens
        self._grant = grant
        master = rules.Rules(
            exact={(Resource.AGENT, node): Level.WRITE}, prefix={(Resource.NODE, ""): Level.READ}
        )
        self._agent_master = rules.RuleAuthorizer(master, parent=DENY_ALL)
        self._known: dict[str, Authorizer] = {}
        register.on_change(self._known.clear)

    @property
    def enabled(self) -> bool:
        """See :class:`AccessControl`."""
        return True

    @property
    def allows_by_default(self) -> bool:
        """See :class:`AccessControl`."""
        return self._default.allows_by_default

    def authorizer(self, token: str) -> Authorizer:
        """See :class:`AccessControl`."""
        grant = self._grant(token) if token else None
        if grant is not None:
            return ProxyAuthorizer(grant=grant, service=self.of_service(grant.service_token))
        return self._bearer(token or self._tokens().default)

    def of_service(self, token: str) -> Authorizer:
        """See :class:`AccessControl`."""
        return self._bearer_or_nobody(token or self._tokens().default)

    def _bearer_or_nobody(self, secret: str) -> Authorizer:
        try:
            return self._bearer(secret)
        except (UnknownToken, RootToken):
            return DENY_ALL

    def _bearer(self, secret: str) -> Authorizer:
        secret = secret or ANONYMOUS_SECRET
        if secret in ROOTS:
            raise RootToken
        if same_token(secret, self._tokens().agent_master):
            return self._agent_master
        known = self._known.get(secret)
        if known is None:
            token = self.register.bearer(secret)
            if token is None:
                raise UnknownToken
            known = self._known[secret] = self._compiled(token)
        return known

    def _compiled(self, token: Token) -> Authorizer:
        linked = (self.register.policies.get(policy_id) for policy_id in token.policies)
        said = [
            rules.parse(policy.rules)
            for policy in linked
            if policy is not None and (not policy.datacenters or self._datacenter in policy.datacenters)
        ]
        if token.rules:
            said.append(rules.parse(token.rules, rules.Syntax.LEGACY))
        return rules.RuleAuthorizer(rules.merge(said), parent=self._default)
