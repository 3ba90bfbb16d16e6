"""From a node's notice to Redis: the product's own parts on a node that replays the bundled recording."""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from benchmarks.measure import Report, Value, percentile
from benchmarks.node import BY_HASH, PACE, Memory, Node, node
from processors.embedded import embedded_redis
from processors.registry import Registry
from processors.sink import LocalSink
from processors.windows import parse_all
from streams.connections import Address, Connections
from streams.follower import Follower
from streams.metrics import ProcessMetrics
from streams.observe import Observer
from streams.records import Hash, Record, TipsetRecord

WINDOWS = ("1h", "24h", "7d", "30d")
AIM_SECONDS = 0.25
SETTLING_SECONDS = 0.3


class _Request(msgspec.Struct):
    method: str
    params: list[Any]


class _Follower(Follower):
    """Remembers what it asked, and when."""

    def __init__(self, name: str) -> None:
        super().__init__([name])
        self.asked: list[tuple[bytes, float]] = []

    def requests(self) -> list[tuple[str, bytes]]:
        """What to send."""
        frames, now = super().requests(), time.monotonic()
        self.asked += [(frame, now) for _, frame in frames]
        return frames

    def questions(self) -> dict[tuple[str, Hash], float]:
        """When each question of `BY_HASH` was first handed to the websocket."""
        found: dict[tuple[str, Hash], float] = {}
        for frame, asked_at in self.asked:
            request = msgspec.json.decode(frame, type=_Request)
            if request.method in BY_HASH:
                found.setdefault((request.method, request.params[0]), asked_at)
        return found


class _Sink(LocalSink):
    """Remembers when the record of a tipset was first in Redis."""

    def __init__(self, redis: Redis, metrics: ProcessMetrics) -> None:
        super().__init__(redis, parse_all(WINDOWS), Registry.load(None), metrics)
        self.visible: dict[Hash, float] = {}

    async def _process(self, value: bytes | Record) -> None:
        await super()._process(value)
        if isinstance(value, TipsetRecord):
            self.visible.setdefault(value.hash, time.monotonic())


async def latency(pace: float = PACE, until: float | None = None) -> Report:
    """Every tipset that was announced while we followed."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pulse-"))
        server = await stack.enter_async_context(embedded_redis(Path(folder)))
        redis = await stack.enter_async_context(Redis.from_url(server.url))
        recorded = await stack.enter_async_context(node(pace, until))
        metrics, follower = ProcessMetrics(CollectorRegistry()), _Follower("recorded")
        sink = _Sink(redis, metrics)
        await stack.enter_async_context(sink.agents.running())
        connections = Connections(follower, {"recorded": Address(recorded.url)}, sink, Observer(follower, metrics))
        following = asyncio.create_task(connections.run())
        started = await _replayed(recorded, follower, sink)
        following.cancel()
        await asyncio.wait([following])
        memory = await recorded.memory()
    rows = _rows({block: at for block, at in sink.visible.items() if memory.announced.get(block, 0) > started}, follower, memory)
    notes = (
        f"aim: p99 of what is beyond the node's answers at most {1000 * AIM_SECONDS:.0f} ms; other processes share the machine",
        "the node's answers: from the hand-over of the questions for block and receipts until the node has both ready, within the latency;",
        "its answers to all other questions about the tipset (balance of f099, native receipts, code) count as ours",
    )
    title = f"From a node's notice to Redis, {pace:g} times the recording's pace, milliseconds"
    return Report("latency", title, rows, notes)


async def _replayed(recorded: Node, follower: Follower, sink: _Sink) -> float:
    """Let the recording run to its end and everything of it be done; when it went on from the first head."""
    await recorded.followed()
    while not sink.visible:  # noqa: ASYNC110 (nobody tells of the first record)
        await asyncio.sleep(0.01)
    started = time.monotonic()
    recorded.go_on()
    await asyncio.sleep(recorded.seconds)
    taken = -1
    while not follower.caught_up or taken != sink.taken:
        taken = sink.taken
        await asyncio.sleep(SETTLING_SECONDS)
    await sink.agents.drained()
    return started


def _rows(visible: dict[Hash, float], follower: _Follower, memory: Memory) -> list[dict[str, Value]]:
    asked = follower.questions()
    answered = {(method, block): at for method, block, at in memory.answered}
    whole, theirs, ours = [], [], []
    for block, seen_at in visible.items():
        noticed_at = memory.announced[block]
        spans = [(asked[key], answered[key]) for method in BY_HASH if (key := (method, block)) in asked and key in answered]
        whole.append(seen_at - noticed_at)
        theirs.append(_covered([(max(start, noticed_at), min(end, seen_at)) for start, end in spans]))
        ours.append(whole[-1] - theirs[-1])
    figures = {"notice to Redis": whole, "of it the node's answers": theirs, "beyond the node's answers": ours}
    return [
        {
            "figure": name,
            "tipsets": len(values),
            **{f"p{percent}_milliseconds": 1000 * percentile(values, percent) for percent in (50, 90, 99)},
            "max_milliseconds": 1000 * max(values),
        }
        for name, values in figures.items()
    ]


def _covered(spans: list[tuple[float, float]]) -> float:
    """How much time lies in at least one of these."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return covered
