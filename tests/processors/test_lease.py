"""The lease in a real Redis, and two writers under it over registers."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from processors import lease
from processors.lease import Granted, Lease
from processors.store import Store
from streams.chain import Published
from streams.errors import Superseded
from tests.processors.writers import MOVES, Move, played


def tip(height: int) -> Published:
    return Published(height, f"0x{height:064x}")


async def test_one_has_it(redis: Redis) -> None:
    """Nobody else gets it until it is given back; each holder's token is larger than the one before."""
    first, second = Lease(redis, "testing"), Lease(redis, "testing")
    granted = await first.acquire(1000)
    assert granted == Granted(1000, known=False, settled=False)
    assert await second.acquire(1000) is None
    await first.release()
    assert await second.acquire(1000) == Granted(1001, known=True, settled=True)


async def test_it_expires(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that is silent loses it, and every further write of it is refused."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.05)
    first, second = Lease(redis, "testing"), Lease(redis, "testing")
    await first.acquire(1)
    await first.renew()
    await asyncio.sleep(0.1)
    await first.reserve(10)  # nobody took it: still ours
    assert await second.acquire(1) is not None
    for write in (first.renew(), first.release(), first.reserve(99), first.rewound(0), first.published([tip(1)])):
        with pytest.raises(Superseded):
            await write
    assert await Store(redis, "testing").reserved() == 10
    assert await second.tips() == ()


async def test_the_ledger_is_handed_on(redis: Redis) -> None:
    """What was published and not undone, in order, to whoever comes next."""
    first, second = Lease(redis, "testing"), Lease(redis, "testing")
    await first.acquire(1)
    await first.published([tip(1), tip(2), tip(12)])
    await first.rewound(2)
    await first.published([tip(3)])
    await first.release()
    await second.acquire(1)
    assert await second.tips() == (tip(1), tip(2), tip(3))


async def test_only_the_newest_tips_are_kept(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger does not grow."""
    monkeypatch.setattr(lease, "KEPT_TIPS", 3)
    one = Lease(redis, "testing")
    await one.acquire(1)
    await one.published([tip(height) for height in range(8)])
    assert await one.tips() == (tip(5), tip(6), tip(7))


async def test_whoever_follows_without_a_lease_fences(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that takes an incarnation of the store ends the lease, and the ledger is not believed after it."""
    monkeypatch.setattr(lease, "DOUBT_SECONDS", 0.0)
    first, second = Lease(redis, "testing"), Lease(redis, "testing")
    await first.acquire(1)
    await first.published([tip(1)])
    await Store(redis, "testing").next_incarnation(1)
    with pytest.raises(Superseded):
        await first.renew()
    await redis.delete("pulse:{testing}:lease")
    assert await second.acquire(1) is None
    assert second.doubtful
    granted = await second.acquire(1)
    assert granted is not None
    assert not granted.known
    assert await second.tips() == ()


async def test_a_leader_writes_its_ledger_again(redis: Redis) -> None:
    """After Redis was emptied, whichever of its writes finds out: tipsets, reservation and token are there as before."""
    finding_out: tuple[Callable[[Lease], Awaitable[None]], ...] = (
        lambda one: one.renew(),
        lambda one: one.published([tip(4)]),
        lambda one: one.rewound(4),
        lambda one: one.reserve(9),
    )
    for find_out in finding_out:
        await redis.flushall()
        one = Lease(redis, "testing")
        await one.acquire(1000)
        await one.reserve(9)
        await one.published([tip(1), tip(2), tip(5)])
        await one.rewound(2)
        await one.published([tip(4)])
        await redis.flushall()
        await find_out(one)
        assert await one.tips() == (tip(1), tip(2), tip(4))
        assert await Store(redis, "testing").reserved() == 9
        await one.release()
        assert await Lease(redis, "testing").acquire(1) == Granted(1001, known=True, settled=True)


async def test_it_says_that_the_ledger_is_to_be_written_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each time, so that other things can be put back; not where nothing happened."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    times = 0

    async def told() -> None:
        nonlocal times
        times += 1
        assert not await redis.exists("pulse:{testing}:published_by"), "the ledger comes last"

    one = Lease(redis, "testing", told)
    await one.acquire(1)
    keeping = asyncio.create_task(one.keep())
    await asyncio.sleep(0.1)
    assert times == 0
    for wanted in (1, 2):
        await redis.flushall()
        async with asyncio.timeout(5):
            while times < wanted:
                await asyncio.sleep(0.01)
    keeping.cancel()


async def older(redis: Redis) -> None:
    """As if the server had been started again since the ledger was written."""
    token = int(await redis.get("pulse:{testing}:incarnation") or 0)
    await redis.set("pulse:{testing}:published_by", f"{token} {'0' * 40}")


async def test_of_a_doubtful_ledger_only_what_is_final_is_believed(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the lease after Redis came back without the leader gives up the newest part, once the leader had its time."""
    first, second = Lease(redis, "testing"), Lease(redis, "testing")
    await first.acquire(1)
    await first.published([tip(1), tip(80), tip(100), tip(180)])
    await first.release()
    await older(redis)
    assert await second.acquire(1, 100) is None
    assert second.doubtful
    monkeypatch.setattr(lease, "DOUBT_SECONDS", 0.0)
    granted = await second.acquire(1, 100)
    assert granted is not None
    assert (granted.known, granted.settled) == (True, False)
    assert await second.tips() == (tip(1), tip(80))
    with pytest.raises(Superseded):
        await first.renew()


async def test_a_standby_leaves_a_living_leader_its_time(redis: Redis) -> None:
    """An emptied Redis is for the leader to fill again: a standby does not take the lease at once, a first start does."""
    standby = Lease(redis, "testing")
    assert await standby.acquire(1, standing_by=True) is None
    assert standby.doubtful
    assert await Lease(redis, "testing").acquire(1) is not None
    assert await standby.acquire(1, standing_by=True) is None
    assert not standby.doubtful


async def test_a_second_leader_wins_over_a_ledger_written_again(redis: Redis) -> None:
    """Who was superseded before it noticed that Redis is another one stays so."""
    first, second = Lease(redis, "testing"), Lease(redis, "testing")
    await first.acquire(1)
    await redis.flushall()
    await second.acquire(1000)
    with pytest.raises(Superseded):
        await first.published([tip(1)])
    assert await second.tips() == ()


@given(MOVES, st.randoms(use_true_random=False))
def test_two_writers_end_in_the_chain_of_the_last(moves: list[Move], rng: object) -> None:
    """Whoever is paused, fenced or behind at any point, in whatever order all of it arrives: the registers hold the leader's chain."""
    model, leader = played(moves)
    registers: dict[int, tuple[int, int | None]] = {}
    rng.shuffle(model.sent)  # type: ignore[attr-defined]
    for sequence, low, top, value in model.sent:
        for height in range(low + 1, top + 1):
            if height not in registers or registers[height][0] < sequence:
                registers[height] = sequence, value if height == top else None
    assert {height: value for height, (_, value) in sorted(registers.items()) if value is not None} == dict(leader.chain)
