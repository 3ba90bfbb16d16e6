"""The ledger in Redis, as a publisher uses it."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from processors import lease
from processors.follow import RedisLedger
from processors.store import Store
from processors.windows import parse_all
from streams.chain import Published
from streams.contents import Learnt
from streams.errors import Superseded
from streams.metrics import ProcessMetrics
from streams.publish import RESERVED_EPOCHS
from streams.records import Contract

CONTRACT = Contract(address="0x" + "11" * 20, code_hash="0x" + "22" * 32)


def ledger(redis: Redis) -> RedisLedger:
    return RedisLedger(redis, parse_all(["20e"]), ProcessMetrics(CollectorRegistry()))


async def test_it_tells_where_to_go_on(redis: Redis) -> None:
    """The next one finds what was published and reserved, with a larger incarnation."""
    first = ledger(redis)
    began = await first.open("testing", 1337)
    assert (began.published, began.reserved) == ((), None)
    await first.reserve(300)
    await first.published([Published(1, "0x01"), Published(2, "0x02"), Published(3, "0x03")])
    await first.rewound(2)
    await first.close()
    position = await ledger(redis).open("testing", 1337)
    assert position.published == (Published(1, "0x01"), Published(2, "0x02"))
    assert position.reserved == 300
    assert position.incarnation > began.incarnation


async def test_a_second_one_stands_by(redis: Redis) -> None:
    """`open` waits for as long as another one leads, and returns soon after that gives up."""
    first, second = ledger(redis), ledger(redis)
    await first.open("testing", 1337)
    opening = asyncio.create_task(second.open("testing", 1337))
    await asyncio.sleep(0.7)
    assert not opening.done()
    await first.close()
    async with asyncio.timeout(5):
        await opening
    with pytest.raises(Superseded):
        await first.reserve(1)
    with pytest.raises(Superseded):
        await first.hold()


async def test_the_exporter_learns_of_the_network(redis: Redis) -> None:
    """The chain id is a fact beside the figures, and the windows are configured before the first record."""
    one = ledger(redis)
    await one.open("testing", 1337)
    assert one.store is not None
    snapshot = await one.store.snapshot()
    assert snapshot.latest["chain_id"] == "1337"
    assert set(snapshot.streams["tipsets"].windows) == {"20e"}


async def test_an_emptied_redis_is_equipped_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, the chain id and contracts come back with the ledger; the leader stays the same."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    one = ledger(redis)
    await Store(redis, "testing").save_contracts([CONTRACT])
    began = await one.open("testing", 1337)
    await one.published([Published(1, "0x01")])
    holding = asyncio.create_task(one.hold())
    await redis.flushall()
    store = Store(redis, "testing")
    async with asyncio.timeout(5):
        while not await store.load_contracts():
            await asyncio.sleep(0.01)
    snapshot = await store.snapshot()
    assert snapshot.latest["chain_id"] == "1337"
    assert set(snapshot.streams["tipsets"].windows) == {"20e"}
    assert await store.load_contracts() == {CONTRACT.address: CONTRACT}
    holding.cancel()
    await one.close()
    position = await ledger(redis).open("testing", 1337)
    assert (position.incarnation, position.published) == (began.incarnation + 1, (Published(1, "0x01"),))


async def test_a_ledger_that_was_written_again_vouches_for_the_contracts(redis: Redis) -> None:
    """Whichever write finds out that Redis lost them: a leader that dies right after it has left them, too."""
    first = ledger(redis)
    await first.open("testing", 1337)
    await first.keep(Learnt([CONTRACT], []))
    await redis.flushall()
    await first.published([Published(1, "0x01")])
    await first.close()
    position = await ledger(redis).open("testing", 1337)
    assert position.published == (Published(1, "0x01"),)
    assert position.memory.contracts == {CONTRACT.address: CONTRACT}


async def test_a_doubtful_ledger_is_published_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """From below finality on, and up to more than what Redis remembers to be reserved; never further than a node is asked back."""
    monkeypatch.setattr(lease, "DOUBT_SECONDS", 0.0)
    first = ledger(redis)
    await first.open("testing", 1337)
    await first.reserve(300)
    await first.published([Published(1, "0x01"), Published(240, "0x02"), Published(250, "0x03")])
    await first.close()
    token = int(await redis.get("pulse:{testing}:incarnation") or 0)
    await redis.set("pulse:{testing}:published_by", f"{token} {'0' * 40}")
    position = await RedisLedger(redis, parse_all(["20e"]), ProcessMetrics(CollectorRegistry()), look_back_epochs=20).open("testing", 1337)
    assert position.published == (Published(1, "0x01"), Published(240, "0x02"))
    assert position.reserved == 300 + RESERVED_EPOCHS
