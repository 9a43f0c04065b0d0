"""A service that its token does not allow to register runs, and the mesh does not find it."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from reference.access.control import Enforced
from reference.access.register import PolicyDraft
from reference.config.checks import CheckDefinition
from reference.config.model import AccessOptions, AgentTokens, ManagedProxy, ServiceDefinition
from tests.http.serving import Api, api, bear

DENYING = AccessOptions(enabled=True, allows_by_default=False)
READER = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'
WRITER = 'service_prefix "web" { policy = "write" }'


def service(token: str) -> ServiceDefinition:
    return ServiceDefinition(id="web1", name="web", port=80, token=token, proxy=ManagedProxy())


def found(agent: Api) -> set[str]:
    """The services in the catalog, and the services of the checks in it."""
    catalog = agent.backend.catalog
    names = {name for name in catalog.tags_by_name({}) if name != "consul"}
    checks = {check.check.value.service_name for check in catalog.checks()} - {""}
    assert checks <= names
    return names


@pytest.mark.parametrize(
    ("token", "default", "expected"),
    [
        ("writer", "", {"web", "web-proxy"}),
        ("", "writer", {"web", "web-proxy"}),
        ("reader", "writer", set()),
        ("", "", set()),
        ("no-such-token", "writer", set()),
    ],
    ids=["its own", "the default", "its own before the default", "none", "one that there is not"],
)
def test_the_token_of_the_service_counts_and_else_the_default(
    token: str, default: str, expected: set[str]
) -> None:
    async def scenario() -> None:
        access = AccessOptions(enabled=True, allows_by_default=False, tokens=AgentTokens(default=default))
        async with api(service(token), access=access, bearers={"reader": READER, "writer": WRITER}) as agent:
            assert found(agent) == expected
            assert agent.backend.state.service("web1-proxy") is not None

    asyncio.run(scenario())


def test_a_proxy_needs_its_own_name_too() -> None:
    """As in the original: it is an instance of its service, and a service itself."""

    async def scenario() -> None:
        exact = 'service "web" { policy = "write" }'
        async with api(service("exact"), access=DENYING, bearers={"exact": exact}) as agent:
            assert found(agent) == {"web"}

    asyncio.run(scenario())


def test_what_a_token_allows_is_looked_at_again_when_it_changes() -> None:
    async def scenario() -> None:
        async with api(service("later"), access=DENYING) as agent:
            access = agent.backend.access
            assert isinstance(access, Enforced)
            assert found(agent) == set()
            token = bear(access, "later", WRITER)
            await asyncio.sleep(0)
            assert found(agent) == {"web", "web-proxy"}
            (policy,) = token.policies
            access.register.update_policy(policy, PolicyDraft(name="of-later", rules=READER))
            await asyncio.sleep(0)
            assert found(agent) == set()
            agent.backend.tokens.update("default", "later")
            await asyncio.sleep(0)
            assert found(agent) == set(), "its own token counts, not the default one"

    asyncio.run(scenario())


def test_a_new_default_token_registers_what_waited_for_it() -> None:
    async def scenario() -> None:
        async with api(service(""), access=DENYING, bearers={"writer": WRITER}) as agent:
            assert found(agent) == set()
            agent.backend.tokens.update("default", "writer")
            await asyncio.sleep(0)
            assert found(agent) == {"web", "web-proxy"}

    asyncio.run(scenario())


def test_a_registration_with_a_better_token_shows_the_checks_too() -> None:
    async def scenario() -> None:
        definition = ServiceDefinition(
            id="web1", name="web", port=80, token="reader", checks=(CheckDefinition(name="c", ttl=60.0),)
        )
        bearers = {"reader": READER, "writer": WRITER}
        async with api(definition, access=DENYING, bearers=bearers) as agent:
            assert found(agent) == set()
            agent.backend.state.register(replace(definition, token="writer"), from_file=True)
            assert found(agent) == {"web"}
            checks = {check.check.value.service_id for check in agent.backend.catalog.checks()}
            assert "web1" in checks

    asyncio.run(scenario())
