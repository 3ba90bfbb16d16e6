"""How far a consumer group has come on each partition, kept beside what it has written: in Redis.

Kafka keeps the group's offsets too, but a Redis that comes back without its last second, as an older copy or empty does not hold
what those offsets say is done. A place is written after the records before it are applied, so in any state that Redis may come
back to, all that is before a place has been applied. Workers start from there, or from where Kafka says if that is lower (an
operator may have set it back), and from the beginning where either says nothing. Registers make the repetition harmless.

A place counts for the run of the server that its records were applied on: a worker that has not noticed yet that Redis came back
from before can not move a place, and finds out by that.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast
from uuid import uuid4

import structlog
from redis.asyncio import Redis

from processors.faults import faults
from processors.script import RUN_ID
from streams import topics
from streams.errors import StoreFault

log = structlog.get_logger(__name__)

Partition: TypeAlias = tuple[str, int]
"""A topic and a number."""

_OPEN = (
    RUN_ID
    + """
redis.call('HSETNX', KEYS[1], 'born', ARGV[1])
return {run .. ' ' .. redis.call('HGET', KEYS[1], 'born'), redis.call('HGETALL', KEYS[1])}
"""
)
_KEEP = (
    RUN_ID
    + """
if run .. ' ' .. (redis.call('HGET', KEYS[1], 'born') or '') ~= ARGV[1] then return 0 end
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""
)


class Places:
    """The places of one group, as one member sees them in one run of Redis.

    Args:
        redis: the server that the records are applied to.
        group: the consumer group.
        prefix: of the topics.
    """

    def __init__(self, redis: Redis, group: str, prefix: str) -> None:
        self._redis = cast("Any", redis)
        self._group = group
        self._prefix = prefix
        self._origins: dict[str, bytes] = {}
        self._moved = False

    async def starts(self, committed: Mapping[Partition, int | None]) -> dict[Partition, int]:
        """Where to start on partitions, given what Kafka knows. While Redis is away that is all there is; `keep` finds out."""
        known: dict[Partition, int] = {}
        networks = {topics.network_of(self._prefix, topic) for topic, _ in committed} - {None}
        try:
            for network in networks:
                known |= await self._open(str(network))
        except StoreFault as fault:
            log.warning("Redis is away, starting where Kafka says", reason=str(fault))
            self._moved = True
            return {partition: offset or 0 for partition, offset in committed.items()}
        return {partition: min(known.get(partition, 0), offset or 0) for partition, offset in committed.items()}

    async def keep(self, done: Mapping[Partition, int]) -> bool:
        """All records before these offsets are applied. False where Redis is not what it was: start again, with other `Places`.

        Raises:
            StoreFault: Redis is away or refuses.
        """
        if self._moved:
            return False
        for network, origin in self._origins.items():
            own = {one: offset for one, offset in done.items() if topics.network_of(self._prefix, one[0]) == network}
            fields = [part for (topic, number), offset in own.items() for part in (f"{topic}/{number}", offset)]
            with faults():
                kept = await self._redis.eval(_KEEP, 1, self._key(network), origin, *fields)
            if not kept:
                return False
        return True

    async def _open(self, network: str) -> dict[Partition, int]:
        with faults():
            origin, flat = await self._redis.eval(_OPEN, 1, self._key(network), uuid4().hex)
        self._moved = self._moved or self._origins.setdefault(network, origin) != origin
        names = [name.decode().rpartition("/") for name in flat[::2]]
        return {(topic, int(number)): int(place) for (topic, _, number), place in zip(names, flat[1::2], strict=True) if topic}

    def _key(self, network: str) -> str:
        return f"pulse:{{{network}}}:places:{self._group}.{self._prefix}"
