"""A whole recording through the pipeline, in this process; the command itself is tried in `tests/end_to_end`."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from processors import run
from processors.run import export, replay, stored
from processors.store import NETWORKS, Store
from processors.windows import parse_all
from streams.errors import RecordingError, UsageError
from streams.settings import Settings, load
from tests.end_to_end.product import BUNDLED, check, free_port
from tests.node.lines import asked, block, notice, subscribed, text
from tests.node.world import World
from tests.recount import Recount


def settings(redis_socket: str, recording: str = "devnet", **flags: object) -> Settings:
    """Those of a fast replay."""
    given = {"listen": "127.0.0.1:0", "replay_pace": 5000, "windows": "20e,120e,400e", "redis_url": f"unix://{redis_socket}"}
    return load({**given, "nodes": [f"replay:{recording}"], **flags})


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_replay_ends_in_the_recount(redis: Redis, redis_socket: str) -> None:
    """At any pace nothing is missed; a second one on the same Redis undoes the first and ends the same."""
    recount = Recount(BUNDLED, lambda _: "unknown", native=True)
    for pace in (5000, 1000):
        (snapshot,) = await replay(settings(redis_socket, replay_pace=pace))
        assert snapshot == (await Store(redis, "testing").snapshot())
        await check(Store(redis, "testing"), recount)


async def test_a_replay_ends_with_all_that_the_recording_tells(redis: Redis, redis_socket: str, tmp_path: Path) -> None:
    """Tipsets below the first head that is announced, too, however fast it runs; heads of a node with eth methods alone here."""
    world = World()
    world.advance(0, 0, 2, 0)
    known = [tip for tip in reversed(list(world.head.ancestors())) if tip.height]
    whole = {tip: {**block(tip), "baseFeePerGas": "0x64", "transactions": []} for tip in known}
    chain = asked(0, "eth_chainId", [], result="0x53a")
    answers = [asked(0, "eth_getBlockByHash", [tip.hash, True], result=whole[tip]) for tip in known]
    answers += [asked(0, "eth_getBlockReceipts", [tip.hash], result=[]) for tip in known]
    file = tmp_path / "heads.jsonl"
    file.write_bytes(text(chain, *answers, *(subscribed(second, whole[tip]) for second, tip in enumerate(known[2:]))))
    (snapshot,) = await replay(settings(redis_socket, str(file)))
    window = snapshot.streams["tipsets"].windows["20e"]
    assert (window.processed, window.null) == (4, 2)


async def test_a_recording_without_its_end(redis_socket: str, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads without the answers about them: it says so and ends, instead of waiting for what is not there."""
    monkeypatch.setattr(run, "ENDING_SECONDS", 0.5)
    world = World()
    heads = [world.grow() for _ in range(3)]
    lines = [notice(second, ("current" if second == 0 else "apply", tip)) for second, tip in enumerate(heads)]
    file = tmp_path / "heads.jsonl"
    chain = {"t": 0, "kind": "rpc", "method": "eth_chainId", "params": [], "result": "0x13a"}
    file.write_bytes(text(chain, *lines))
    with pytest.raises(RecordingError, match=f"its head is at height {heads[-1].height}"):
        await replay(settings(redis_socket, str(file)))


async def test_what_is_stored_is_read_by_network(redis: Redis, redis_socket: str) -> None:
    """Every network of a Redis, in order; none is no error."""
    assert await stored(settings(redis_socket)) == []
    for network in ("two", "one"):
        await Store(redis, network).configure(parse_all(["20e"]))
    assert [snapshot.network for snapshot in await stored(settings(redis_socket))] == ["one", "two"]


async def test_a_network_of_another_release_keeps_nobody_from_the_others(redis: Redis, redis_socket: str) -> None:
    """Nor does one that is not asked for; where there is no other, it is told."""
    await redis.sadd(NETWORKS, "old")
    await redis.set("pulse:{old}:config", b"\x93\x63\x01\x90")
    with pytest.raises(UsageError, match="schema 99"):
        await stored(settings(redis_socket))
    await Store(redis, "one").configure(parse_all(["20e"]))
    await Store(redis, "two").configure(parse_all(["20e"]))
    assert [snapshot.network for snapshot in await stored(settings(redis_socket))] == ["one", "two"]
    assert [snapshot.network for snapshot in await stored(settings(redis_socket, network="two"))] == ["two"]


async def test_export_serves_what_others_store(redis: Redis, redis_socket: str) -> None:
    """Redis is up, and nobody claims an endpoint."""
    await Store(redis, "one").configure(parse_all(["20e"]))
    port = free_port()
    exporting = asyncio.create_task(export(settings(redis_socket, listen=f"127.0.0.1:{port}")))
    async with asyncio.timeout(10), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
                    found = await response.text()
                break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)
    exporting.cancel()
    assert "pulse_redis_up 1" in found
    assert "pulse_endpoint_up" not in found
    with pytest.raises(asyncio.CancelledError):
        await exporting


async def test_nothing_listens_where_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A usage error before anything else is begun."""
    monkeypatch.setattr("processors.parts.REDIS_START_SECONDS", 0.1)
    with pytest.raises(UsageError, match=r"no Redis answers at unix:///nowhere/redis\.sock"):
        await replay(settings("/nowhere/redis.sock"))
