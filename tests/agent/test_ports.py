"""Ports of managed proxies."""

from __future__ import annotations

import socket

import pytest

from reference.agent.ports import PortsExhausted, can_bind, choose_port
from tests.agent.defining import managed, proxied, state


def test_every_port_of_the_inclusive_range_is_used_before_none_is_left() -> None:
    """MP-PORT-001, MP-API-008."""
    taken: set[int] = set()
    for _ in range(10):
        taken.add(choose_port(low=24400, high=24409, taken=taken, is_free=lambda port: True))
    assert taken == set(range(24400, 24410))
    with pytest.raises(PortsExhausted) as caught:
        choose_port(low=24400, high=24409, taken=taken, is_free=lambda port: True)
    assert str(caught.value) == (
        "no port provided for proxy bind_port and none  left in the allocated range [24400, 24409]"
    )


def test_a_range_that_is_switched_off_gives_none() -> None:
    """MP-PORT-006."""
    with pytest.raises(PortsExhausted, match=r"\[-1, -1\]"):
        choose_port(low=-1, high=-1, taken=(), is_free=lambda port: True)


def test_the_choice_is_random() -> None:
    choices = {choose_port(low=20000, high=20255, taken=(), is_free=lambda port: True) for _ in range(50)}
    assert len(choices) > 10


def test_a_port_in_use_on_the_machine_is_passed_over() -> None:
    """Unlike MP-PORT-004, which asks nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not can_bind("127.0.0.1", port)
        with pytest.raises(PortsExhausted):
            choose_port(
                low=port, high=port, taken=(), is_free=lambda candidate: can_bind("127.0.0.1", candidate)
            )
    assert can_bind("127.0.0.1", port)


def test_many_registrations_get_many_ports() -> None:
    local = state()
    for number in range(200):
        local.register(proxied(f"s{number}"), from_file=True)
    ports = {managed(local, f"s{number}-proxy").service.port for number in range(200)}
    assert len(ports) == 200


def test_the_port_of_a_removed_proxy_is_free_again() -> None:
    """MP-PORT-009."""
    local = state(min_port=24400, max_port=24400)
    local.register(proxied("one"), from_file=False)
    with pytest.raises(PortsExhausted):
        local.register(proxied("two"), from_file=False)
    local.deregister("one")
    local.register(proxied("two"), from_file=False)
    assert managed(local, "two-proxy").service.port == 24400
