"""A changed intention: in force for new connections at once, and for those that are established if so configured."""

from __future__ import annotations

import time

from tests.proxy.running import Household, exactly
from tests.proxy.test_live_changes import talk
from tests.proxy.test_who_may_come_in import deny, ended
from tests.proxy.worlds import World, ask
from tests.waiting import eventually

#: Much less than the half minute for which a verdict is good: the proxy was told, and did not come to ask again. That
#: it takes no second is what the suite measures, where a machine may be called too slow.
SOON = 15.0


def test_a_denied_peer_is_cut_at_once_and_a_new_one_refused(household: Household) -> None:
    with household.client() as old, household.peer(household.context_of("db")) as other:
        talk(old)
        other.sendall(b"other")
        assert exactly(other, 5) == b"other"
        number = deny(household.world, "web", "echo")
        began = time.monotonic()
        old.settimeout(30)
        assert ended(old)
        assert time.monotonic() - began < SOON
        with household.client() as new:
            assert ended(new, after=b"new")
        household.echo_proxy.wait_for(
            r"\[INFO\] connection from .* cut: spiffe://.*/svc/web is no longer authorized"
        )
        other.sendall(b"OTHER")  # whom the intention is not about, it spares
        assert exactly(other, 5) == b"OTHER"
        ask(household.world, "DELETE", f"/v1/connect/intentions/{number}")
        eventually(lambda: not refused(household), "the admission of whom nothing forbids any more")


def test_without_reauthorization_new_connections_alone_are_refused(world: World) -> None:
    with Household(world, config={"reauthorize_established": False}) as household, household.client() as old:
        talk(old)
        deny(household.world, "web", "echo")
        eventually(lambda: refused(household), "a refusal")
        talk(old)


def refused(household: Household) -> bool:
    with household.client() as new:
        return ended(new, after=b"new")


def test_the_agent_is_not_asked_again_until_an_intention_changes(world: World) -> None:
    with Household(world) as household:
        for _ in range(20):
            with household.client() as sock:
                talk(sock)
            time.sleep(0.05)
        if hasattr(world, "state"):
            assert len(world.state.authorized) <= 2  # the watch may have come into step after the first
