"""Worlds and processes for the end-to-end tests of the proxy.

Each such test runs against the stand-in; with ``PROXYPROOF_CONSUL=/path/to/consul`` also against that agent, which
is how the stand-in is verified.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.running import Household
from tests.proxy.standin import StandIn
from tests.proxy.worlds import Consul, World


@pytest.fixture(params=["standin", "consul"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "standin":
        standin = StandIn()
        yield standin
        standin.kill()
        return
    binary = os.environ.get("PROXYPROOF_CONSUL")
    if not binary:
        pytest.skip("PROXYPROOF_CONSUL names no agent")
    consul = Consul(binary, tmp_path)
    yield consul
    consul.close()


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """For what only the stand-in can be made to do."""
    world = StandIn()
    yield world
    world.kill()


@pytest.fixture
def household(world: World) -> Iterator[Household]:
    """``web`` with an upstream ``echo``: two proxies of ours, an application behind the second."""
    with Household(world) as home:
        yield home
