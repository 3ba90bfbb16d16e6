"""The lease: of several followers of a network one publishes, and Redis says which.

The token is the incarnation, the upper half of every sequence. Who takes the lease raises it, and with that everybody before
is fenced off: each write below happens only while the writer's token is the newest one, so a leader that was paused for
minutes finds out at its next renewal and can not move the ledger meanwhile. What it may still put on Kafka is older than the
first rewind of its successor (see `streams.publish`).

The key of the lease expires; that is only how a standby learns that the leader is gone. Being wrong about it costs a change of
the leader, never a figure.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.chain import Published
from streams.errors import StoreFault, Superseded

log = structlog.get_logger(__name__)

LEASE_SECONDS = 6.0
"""How long a leader may be silent. A standby takes over within this and `POLL_SECONDS`."""
RENEW_SECONDS = 1.5
POLL_SECONDS = 0.5
KEPT_TIPS = 2000
"""Tipsets on the ledger: more than twice finality."""

_ACQUIRE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return {} end
local last = redis.call('GET', KEYS[2]) or '0'
local token = string.format('%.0f', math.max(tonumber(last) + 1, tonumber(ARGV[1])))
local known = redis.call('GET', KEYS[5]) == last
if not known then redis.call('DEL', KEYS[4]) end
redis.call('SET', KEYS[2], token)
redis.call('SET', KEYS[5], token)
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
return {token, known and 1 or 0}
"""

_FENCED = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local what = ARGV[2]
if what == 'renew' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
elseif what == 'release' then
  redis.call('DEL', KEYS[1])
elseif what == 'reserve' then
  local top = math.max(tonumber(redis.call('GET', KEYS[3]) or -1), tonumber(ARGV[3]))
  redis.call('SET', KEYS[3], string.format('%.0f', top))
elseif what == 'rewound' then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '(' .. ARGV[3], '+inf')
elseif what == 'published' then
  for i = 4, #ARGV, 2 do redis.call('ZADD', KEYS[4], ARGV[i], ARGV[i + 1]) end
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - tonumber(ARGV[3]))
end
return 1
"""


class Granted(NamedTuple):
    """The lease is ours.

    Attributes:
        token: the incarnation.
        known: whether the ledger tells all that was published before; not where something else than a leader did it.
    """

    token: int
    known: bool


class Lease:
    """The lease and the ledger of one network.

    Every method raises StoreFault where Redis is away or refuses; all but `acquire` and `tips` raise Superseded once somebody
    else holds the lease.
    """

    def __init__(self, redis: Redis, network: str) -> None:
        self._redis = cast("Any", redis)
        prefix = f"pulse:{{{network}}}:"
        # `incarnation` and `reserved` are the store's own: whoever follows without a lease moves them as well, and so fences us.
        self._keys = [prefix + name for name in ("lease", "incarnation", "reserved", "published", "published_by")]
        self._token: int | None = None

    async def acquire(self, now_seconds: int) -> Granted | None:
        """Take the lease if nobody has it; `now_seconds` (Unix time) keeps tokens growing where Redis was emptied."""
        answer = await self._eval(_ACQUIRE, now_seconds, int(LEASE_SECONDS * 1000))
        if not answer:
            return None
        self._token = int(answer[0])
        return Granted(self._token, bool(answer[1]))

    async def renew(self) -> None:
        """We are alive."""
        await self._fenced("renew", int(LEASE_SECONDS * 1000))

    async def release(self) -> None:
        """Let a standby take over at once."""
        await self._fenced("release")

    async def reserve(self, top: int) -> None:
        """Heights up to `top` may be published."""
        await self._fenced("reserve", top)

    async def rewound(self, height: int) -> None:
        """Nothing above `height` counts as published."""
        await self._fenced("rewound", height)

    async def published(self, tips: Sequence[Published]) -> None:
        """These are published for good."""
        await self._fenced("published", KEPT_TIPS, *(part for tip in tips for part in (tip.height, tip.hash)))

    async def tips(self) -> tuple[Published, ...]:
        """What is published, lowest first."""
        try:
            found = await self._redis.zrange(self._keys[3], 0, -1, withscores=True)
        except (RedisError, OSError) as error:
            raise StoreFault(f"Redis is away: {error}") from error
        return tuple(Published(int(height), block.decode()) for block, height in found)

    async def keep(self) -> None:
        """Renew until cancelled. While Redis is away nobody else can take over, so that is no reason to stop.

        Raises:
            Superseded: somebody else took over.
        """
        while True:
            try:
                await self.renew()
            except StoreFault as fault:
                log.warning("the lease can not be renewed, trying again", reason=str(fault))
            await asyncio.sleep(RENEW_SECONDS)

    async def _fenced(self, what: str, *arguments: object) -> None:
        if not await self._eval(_FENCED, self._token, what, *arguments):
            raise Superseded(f"another follower took over from incarnation {self._token}")

    async def _eval(self, script: str, *arguments: object) -> Any:
        try:
            return await self._redis.eval(script, len(self._keys), *self._keys, *arguments)
        except (RedisError, OSError) as error:
            raise StoreFault(f"Redis is away: {error}") from error
