"""The listening check: where it looks, what it says, and how soon."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from reference.agent.check_runs import CheckSettings
from reference.agent.checks import HealthChecks
from reference.agent.looking import look_tcp
from reference.agent.proxies import check_target
from reference.agent.services import LocalState
from reference.catalog.model import Check, Status
from tests.agent.defining import managed, proxied, service, state
from tests.ports import free_port
from tests.waiting import DEADLINE


class Board:
    """Collects results, and lets a test wait for one."""

    def __init__(self) -> None:
        self.results: asyncio.Queue[Check | None] = asyncio.Queue()

    def put_check(self, check: Check) -> None:
        self.results.put_nowait(check)

    def remove_check(self, check_id: str) -> None:
        self.results.put_nowait(None)

    async def next(self) -> Check | None:
        async with asyncio.timeout(DEADLINE):
            return await self.results.get()

    async def until(self, status: Status) -> Check:
        while True:
            check = await self.next()
            assert check is not None
            if check.status is status and check.output:
                return check


@contextlib.asynccontextmanager
async def checking(local: LocalState, **settings: Any) -> AsyncIterator[tuple[HealthChecks, Board]]:
    board = Board()
    checks = HealthChecks(local, board=board, settings=CheckSettings(**settings))
    local.attach(checks)
    try:
        yield checks, board
    finally:
        await checks.close()


def test_a_proxy_is_critical_until_it_listens() -> None:
    """MP-CAT-006, MP-CAT-007."""

    async def scenario() -> None:
        port = free_port()
        local = state()
        local.register(proxied(config={"bind_port": port}), from_file=True)
        async with checking(local, proxy_notes="note") as (checks, board):
            first = await board.next()
            assert first is not None
            assert (first.id, first.name) == ("service:web-proxy", "Connect Proxy Listening")
            assert (first.status, first.output, first.notes) == (Status.CRITICAL, "", "note")
            refused = await board.until(Status.CRITICAL)
            assert refused.output == f"dial tcp 127.0.0.1:{port}: connect: connection refused"
            with socket.create_server(("127.0.0.1", port)):
                checks.look_now("web-proxy")
                passing = await board.until(Status.PASSING)
            assert passing.output == f"TCP connect 127.0.0.1:{port}: Success"
            assert checks.records() == {"service:web-proxy": passing}

    asyncio.run(scenario())


def test_a_proxy_that_comes_up_by_itself_is_found_long_before_the_interval_is_over() -> None:
    async def scenario() -> None:
        port = free_port()
        local = state()
        local.register(proxied(config={"bind_port": port}), from_file=True)
        async with checking(local, proxy_interval=3600.0) as (_, board):
            await board.until(Status.CRITICAL)
            with socket.create_server(("127.0.0.1", port)):
                await board.until(Status.PASSING)

    asyncio.run(scenario())


def test_a_started_proxy_that_died_is_noticed() -> None:
    async def scenario() -> None:
        local = state()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            local.register(proxied(config={"bind_port": listener.getsockname()[1]}), from_file=True)
            async with checking(local) as (checks, board):
                await board.until(Status.PASSING)
                listener.close()
                checks.look_now("web-proxy")
                await board.until(Status.CRITICAL)

    asyncio.run(scenario())


def test_a_proxy_that_moved_is_looked_for_where_it_is() -> None:
    async def scenario() -> None:
        local = state()
        local.register(proxied(config={"bind_port": free_port()}), from_file=True)
        async with checking(local) as (_, board):
            await board.until(Status.CRITICAL)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                local.register(proxied(config={"bind_port": listener.getsockname()[1]}), from_file=True)
                await board.until(Status.PASSING)

    asyncio.run(scenario())


def test_a_removed_proxy_has_no_check() -> None:
    async def scenario() -> None:
        local = state()
        local.register(proxied(), from_file=True)
        async with checking(local) as (checks, board):
            local.deregister("web")
            while await board.next() is not None:
                pass
            assert checks.records() == {}
            assert checks.of_service("web-proxy") == ()

    asyncio.run(scenario())


def test_a_check_can_be_switched_off() -> None:
    """MP-CAT-009: also later."""

    async def scenario() -> None:
        local = state()
        local.register(proxied(config={"disable_tcp_check": True}), from_file=True)
        async with checking(local) as (checks, _):
            assert checks.records() == {}
            local.register(proxied(), from_file=True)
            assert set(checks.records()) == {"service:web-proxy"}
            local.register(proxied(config={"disable_tcp_check": True}), from_file=True)
            assert checks.records() == {}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("config", "address"),
    [
        ({}, "127.0.0.1"),
        ({"bind_address": "127.0.0.9"}, "127.0.0.9"),
        ({"bind_address": "0.0.0.0"}, "127.0.0.1"),
        ({"bind_address": "[::]"}, "::1"),
        ({"bind_address": "[::1]"}, "::1"),
        ({"bind_address": "0.0.0.0", "tcp_check_address": "127.0.0.7"}, "127.0.0.7"),
    ],
)
def test_where_a_check_looks(config: dict[str, str], address: str) -> None:
    """MP-CAT-008."""
    local = state()
    local.register(proxied(config={**config, "bind_port": 24401}), from_file=True)
    assert check_target(local.effective_config(managed(local))) == (address, 24401)


def test_an_address_of_version_6_is_shown_in_brackets() -> None:
    async def scenario() -> None:
        _, output = await look_tcp("::1", free_port(), seconds=5)
        assert output.startswith(("dial tcp [::1]:", "TCP connect [::1]:"))

    asyncio.run(scenario())


def test_services_without_proxy_have_no_check() -> None:
    async def scenario() -> None:
        local = state()
        local.register(service(), from_file=True)
        async with checking(local) as (checks, _):
            assert checks.records() == {}

    asyncio.run(scenario())
