"""Leaves are made once, renewed between 60 and 90 percent of their life, and never given out after their end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch
from reference.mesh.authority import Authority
from reference.mesh.leaf import LeafCache, LeafNameError
from reference.mesh.storage import ForgetfulStorage

LIFE = timedelta(hours=72)


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def cache(time: Time, watch: Watch | None = None) -> LeafCache:
    index = IndexClock(start=10)
    authority = Authority.open(ForgetfulStorage(), datacenter="dc1", index=index, clock=time)
    return LeafCache(authority, index=index, watch=watch or Watch(), clock=time)


def test_a_leaf_is_made_once() -> None:
    leaves = cache(Time())
    first, first_hit = leaves.current("web")
    second, second_hit = leaves.current("web")
    assert second is first
    assert (first_hit, second_hit) == (False, True)


def test_services_have_leaves_of_their_own() -> None:
    leaves = cache(Time())
    assert leaves.current("web")[0].certificate != leaves.current("redis")[0].certificate


def test_the_moment_of_renewal_is_spread() -> None:
    """MP-CA-010."""
    leaves = cache(Time())
    all_leaves = [leaves.current(f"service-{number}")[0] for number in range(50)]
    shares = [(leaf.renew_at - leaf.valid_after) / LIFE for leaf in all_leaves]
    assert all(0.6 <= share <= 0.9 for share in shares)
    assert max(shares) - min(shares) > 0.1


def test_a_leaf_is_renewed_with_a_new_index() -> None:
    time = Time()
    leaves = cache(time)
    old, _ = leaves.current("web")
    time.now = old.renew_at
    new, hit = leaves.current("web")
    assert not hit
    assert new.index > old.index
    assert new.created == old.created
    assert new.serial != old.serial
    assert new.private_key != old.private_key


def test_an_expired_leaf_is_never_given_out() -> None:
    time = Time()
    leaves = cache(time)
    for _ in range(5):
        leaf, _ = leaves.current("web")
        assert leaf.valid_after <= time.now < leaf.valid_before
        time.now = leaf.valid_before + timedelta(days=30)


def test_leaves_that_nobody_asks_for_are_dropped() -> None:
    time = Time()
    leaves = cache(time)
    leaves.current("forgotten")
    time.now += 2 * LIFE
    leaves.current("web")
    leaf, hit = leaves.current("forgotten")
    assert not hit
    assert leaf.created == leaf.index


def test_a_waiting_reader_gets_the_renewed_leaf() -> None:
    """MP-INT-015: another reader's renewal wakes it."""
    time, watch = Time(), Watch()
    leaves = cache(time, watch)

    async def scenario() -> None:
        old, _ = leaves.current("web")
        waiting = asyncio.ensure_future(leaves.wait_for_newer("web", seconds=300))
        while not watch.waiting:
            await asyncio.sleep(0)
        time.now = old.renew_at
        new, _ = leaves.current("web")
        await asyncio.wait_for(waiting, 30)
        assert new.index > old.index

    asyncio.run(scenario())


def test_a_waiting_reader_comes_back_at_the_moment_of_renewal() -> None:
    time = Time()
    leaves = cache(time)

    async def scenario() -> None:
        old, _ = leaves.current("web")
        time.now = old.renew_at - timedelta(milliseconds=10)
        await asyncio.wait_for(leaves.wait_for_newer("web", seconds=300), 30)

    asyncio.run(scenario())


def test_a_reader_who_begins_to_wait_at_the_moment_of_renewal_looks_again() -> None:
    """The moment passed after it had read the old leaf: the new one must not be slept through."""
    time = Time()
    leaves = cache(time)

    async def scenario() -> None:
        old, _ = leaves.current("web")
        time.now = old.renew_at
        await asyncio.wait_for(leaves.wait_for_newer("web", seconds=300), 30)
        assert leaves.current("web")[0].index > old.index

    asyncio.run(scenario())


def test_a_name_is_needed() -> None:
    with pytest.raises(LeafNameError):
        cache(Time()).current("")


def test_keys_are_not_shown() -> None:
    leaf, _ = cache(Time()).current("web")
    assert "PRIVATE KEY" not in repr(leaf)
