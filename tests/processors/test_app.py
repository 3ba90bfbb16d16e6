"""The agents, fed in process, with Faust as it is."""

import asyncio
from pathlib import Path

import pytest

from processors.app import AHEAD_RECORDS, CHANNEL_RECORDS, LocalAgents
from streams.records import LogsRecord, Record, Rewind
from tests.processors.strategies import NETWORK, rewind, tipset

LOGS = LogsRecord(network=NETWORK, sequence=9, height=9, parent_height=8, hash="0x" + "00" * 32, noticed_at=0.0)


async def test_each_stream_is_handled_in_order() -> None:
    """Every record comes once, those of a stream in the order in which they were put; a rewind goes with its stream."""
    seen: list[Record] = []

    async def handle(record: Record) -> None:
        seen.append(record)

    agents = LocalAgents(handle)
    put: list[Record] = [tipset(1, 0, 1), LOGS, rewind(0, 1, 2), tipset(2, 0, 3)]
    async with agents.running():
        for record in put:
            await agents.put(record)
        await agents.drained()
    assert [record for record in seen if not isinstance(record, LogsRecord)] == [put[0], put[2], put[3]]
    assert [record for record in seen if isinstance(record, LogsRecord)] == [LOGS]


async def test_the_next_are_begun_while_one_waits() -> None:
    """So many of a stream and no more, and nothing is finished before what came before it."""
    begun: list[int] = []
    go_on = asyncio.Event()

    async def handle(record: Record) -> None:
        begun.append(record.height)
        if record.height == 1:
            await go_on.wait()

    agents = LocalAgents(handle)
    async with agents.running():
        for height in range(1, 10):
            await agents.put(tipset(height, height - 1, height))
        await asyncio.sleep(0.1)
        assert begun == list(range(1, AHEAD_RECORDS + 1))
        go_on.set()
        await asyncio.wait_for(agents.drained(), 1)
    assert begun == list(range(1, 10))


async def test_drained_waits_for_the_handler() -> None:
    """A record counts as done when its handler has returned, not when it was taken."""
    go_on = asyncio.Event()

    async def handle(_: Record) -> None:
        await go_on.wait()

    agents = LocalAgents(handle)
    async with agents.running():
        await agents.drained()
        await agents.put(LOGS)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(agents.drained(), 0.1)
        go_on.set()
        await asyncio.wait_for(agents.drained(), 1)


async def test_a_full_channel_makes_the_follower_wait() -> None:
    """Memory is bounded: what is ahead of a slow handler is held back where it comes from."""
    go_on = asyncio.Event()

    async def handle(_: Record) -> None:
        await go_on.wait()

    agents = LocalAgents(handle)
    taken = 0

    async def feed() -> None:
        nonlocal taken
        for height in range(3 * CHANNEL_RECORDS):
            await agents.put(Rewind(network=NETWORK, sequence=height, stream="logs", height=height, top=height))
            taken += 1

    async with agents.running():
        feeding = asyncio.create_task(feed())
        await asyncio.sleep(0.1)
        assert CHANNEL_RECORDS <= taken < 2 * CHANNEL_RECORDS
        go_on.set()
        await feeding
        await agents.drained()


async def test_a_bug_in_the_handler_is_not_swallowed() -> None:
    """Faust would drop the record and go on; `failed` raises what was raised."""

    async def handle(_: Record) -> None:
        raise ZeroDivisionError("a bug")

    agents = LocalAgents(handle)
    async with agents.running():
        watching = asyncio.create_task(agents.failed())
        await agents.put(LOGS)
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await asyncio.wait_for(watching, 5)


async def test_nothing_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust's tables are not used, so there is no folder of theirs."""
    monkeypatch.chdir(tmp_path)

    async def handle(_: Record) -> None:
        return

    async with LocalAgents(handle).running():
        pass
    assert list(tmp_path.iterdir()) == []
