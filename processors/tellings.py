"""How published tipsets were told, in Redis: what a follower that was started again compares its second reads with.

What lies so deep that it is not read again any more is dropped with the next one that is saved.
"""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from processors.faults import faults
from streams.contents import Told
from streams.records import Hash
from streams.rereads import TOLD_EPOCHS

_SAVE = """
for place = 2, #ARGV, 3 do
  redis.call('HSET', KEYS[1], ARGV[place + 1], ARGV[place + 2])
  redis.call('ZADD', KEYS[2], ARGV[place], ARGV[place + 1])
end
for _, deep in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[1])) do
  redis.call('HDEL', KEYS[1], deep)
  redis.call('ZREM', KEYS[2], deep)
end
"""
"""Keys: tellings by hash, heights of hashes. Arguments: the lowest height that is kept; height, hash and telling of each."""

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Told)


class Tellings:
    """Those of one network.

    Args:
        redis: a client that answers with bytes.
        prefix: of the network's keys.

    Every method raises StoreFault where Redis is away or refuses.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = cast("Any", redis)
        self._keys = [prefix + "told", prefix + "told:heights"]

    async def save(self, told: Sequence[Told]) -> None:
        """Keep these, in place of what was kept of the same tipsets before."""
        if told:
            lowest = max(one.height for one in told) - TOLD_EPOCHS
            with faults():
                parts = [part for one in told for part in (one.height, one.hash, _encode(one))]
                await self._redis.eval(_SAVE, len(self._keys), *self._keys, lowest, *parts)

    async def load(self) -> dict[Hash, Told]:
        """All that are kept, by hash; what this release can not read is left out."""
        with faults():
            found = await self._redis.hgetall(self._keys[0])
        told: dict[Hash, Told] = {}
        for block, value in found.items():
            try:
                told[block.decode()] = _decoder.decode(value)
            except msgspec.MsgspecError:
                continue
        return told
