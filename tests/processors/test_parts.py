"""The parts that commands are put together from."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from websockets.asyncio.client import connect

from processors import parts
from processors.exporter import Exporter
from processors.parts import connected_redis, group_of_tasks, node_addresses, serve_http
from processors.readings import Snapshot
from streams.errors import StoreFault, UsageError
from streams.settings import load


async def test_the_first_error_of_a_group_is_raised_as_itself() -> None:
    """Out of groups in groups, and the other tasks are cancelled."""
    ended = []

    async def fail() -> None:
        raise StoreFault("away")

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def inner() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            await asyncio.sleep(0)
            group.create_task(fail())

    async def outer() -> None:
        async with group_of_tasks() as group:
            group.create_task(wait())
            group.create_task(inner())

    with pytest.raises(StoreFault, match="away"):
        await outer()
    assert ended == [True, True]


async def test_a_configured_redis_is_used(redis: Redis, redis_socket: str) -> None:
    """The client answers, with bytes."""
    await redis.set("a", "b")
    async with connected_redis(load({"redis_url": f"unix://{redis_socket}"})) as client:
        assert await client.get("a") == b"b"


async def test_without_one_a_private_redis_is_started(tmp_path: Path) -> None:
    """It keeps its data under `data_dir` and ends with the block."""
    async with connected_redis(load({"data_dir": str(tmp_path)})) as client:
        await client.set("a", "b")
    async with connected_redis(load({"data_dir": str(tmp_path)})) as client:
        assert await client.get("a") == b"b"


async def test_a_redis_that_comes_up_late_is_waited_for(redis_socket: str, tmp_path: Path) -> None:
    """Both may be started at once."""
    late = tmp_path / "late.sock"

    async def come_up() -> None:
        await asyncio.sleep(0.3)
        late.symlink_to(redis_socket)

    async with asyncio.TaskGroup() as group:
        group.create_task(come_up())
        async with connected_redis(load({"redis_url": f"unix://{late}"})) as client:
            assert await client.ping()


async def test_a_password_in_the_url_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The complaint names the server, not how to get in."""
    monkeypatch.setattr(parts, "REDIS_START_SECONDS", 0.0)
    with pytest.raises(UsageError) as caught:
        async with connected_redis(load({"redis_url": "redis://me:planted@127.0.0.1:1/2"})):
            pass
    assert "redis://***@127.0.0.1:1/2" in str(caught.value)
    assert "planted" not in str(caught.value)


async def test_a_recording_gets_a_node_of_its_own() -> None:
    """Real nodes keep their URL and token; the recording is served at its first head until it is let go."""
    settings = load({"nodes": ["own=ws://127.0.0.1:1/rpc/v1", "replay:devnet"], "replay_pace": 1000})
    async with AsyncExitStack() as stack:
        addresses, (node,) = await node_addresses(settings, stack, hold=True)
        assert addresses["own"].url == "ws://127.0.0.1:1/rpc/v1"
        async with connect(addresses["node2"].url) as client:
            await client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}))
            assert json.loads(await client.recv())["result"] == "0x13a"
        first = node.recording.heads[0]
        await asyncio.sleep(0.05)
        assert node.now < node.recording.heads[1].seconds
        assert node.recording.head_at(node.now) == first


async def test_an_address_that_is_taken_is_a_usage_error() -> None:
    """With what is wrong in the system's words."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load({"listen": f"127.0.0.1:{taken.getsockname()[1]}"})
        async with AsyncExitStack() as stack:
            with pytest.raises(UsageError, match="Address already in use"):
                await serve_http(settings, Exporter(_nothing, registry=CollectorRegistry()), stack)


async def test_a_host_that_is_not_ours_is_a_usage_error() -> None:
    """So is a name that nobody knows."""
    async with AsyncExitStack() as stack:
        with pytest.raises(UsageError, match=r"^listen: nowhere\.invalid:0 can not be had"):
            await serve_http(load({"listen": "nowhere.invalid:0"}), Exporter(_nothing, registry=CollectorRegistry()), stack)


async def _nothing() -> list[Snapshot]:
    return []
