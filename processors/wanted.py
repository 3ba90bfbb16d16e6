"""What commands ask of the follower about the past, and what it says of it: small keys in Redis."""

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

from processors.faults import faults

SILENT_SECONDS = 15.0
"""After how long without a word a follower is taken for gone."""

_LOWER = """
local found = tonumber(redis.call('GET', KEYS[1]))
if not found or tonumber(ARGV[1]) < found then redis.call('SET', KEYS[1], ARGV[1]) end
"""
_REACHED = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Progress(NamedTuple):
    """What the follower last said.

    Attributes:
        seen_at: when, a Unix time.
        tip: its newest height.
        out_of_reach: the height that no node tells, nor any below it.
        passed_over: heights that no node tells though it tells of those below.
    """

    seen_at: float
    tip: int
    out_of_reach: int | None
    passed_over: frozenset[int] = frozenset()


class Wanted:
    """The wishes of one network. Every method raises StoreFault where Redis is away or refuses."""

    def __init__(self, redis: Redis, network: str) -> None:
        self._redis = cast("Any", redis)
        prefix = f"pulse:{{{network}}}:"
        self._floor, self._again, self._progress = prefix + "wanted", prefix + "again", prefix + "progress"

    async def want(self, floor: int) -> None:
        """Fill down to `floor`; a lower one that is wanted already stays."""
        with faults():
            await self._redis.eval(_LOWER, 1, self._floor, floor)

    async def floor(self) -> int | None:
        """The lowest height that is wanted, None if nobody asked."""
        with faults():
            found = await self._redis.get(self._floor)
        return None if found is None else int(found)

    async def reached(self, floor: int) -> None:
        """The wish is done, if it still is this one."""
        with faults():
            await self._redis.eval(_REACHED, 1, self._floor, floor)

    async def want_again(self, heights: Iterable[int]) -> None:
        """Fetch and write these heights again."""
        with faults():
            await self._redis.sadd(self._again, *heights)

    async def again(self) -> frozenset[int]:
        """The heights to be written again."""
        with faults():
            return frozenset(int(height) for height in await self._redis.smembers(self._again))

    async def written(self, heights: Iterable[int]) -> None:
        """These heights were written again."""
        if heights := list(heights):
            with faults():
                await self._redis.srem(self._again, *heights)

    async def tell(self, progress: Progress) -> None:
        """Say that somebody follows, and how far it got."""
        reach = "" if progress.out_of_reach is None else progress.out_of_reach
        with faults():
            await self._redis.hset(
                self._progress,
                mapping={
                    "seen_at": progress.seen_at,
                    "tip": progress.tip,
                    "out_of_reach": reach,
                    "passed_over": " ".join(map(str, progress.passed_over)),
                },
            )

    async def progress(self) -> Progress | None:
        """What the follower last said, None if there never was one."""
        with faults():
            found = await self._redis.hgetall(self._progress)
        if not found:
            return None
        reach = found[b"out_of_reach"]
        passed = frozenset(int(height) for height in found.get(b"passed_over", b"").split())
        return Progress(float(found[b"seen_at"]), int(found[b"tip"]), int(reach) if reach else None, passed)
