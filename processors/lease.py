"""The lease: of several followers of a network one publishes, and Redis says which.

The token is the incarnation, the upper half of every sequence. Who takes the lease raises it, and with that everybody before
is fenced off: each write below happens only while the writer's token is the newest one, so a leader that was paused for
minutes finds out at its next renewal and can not move the ledger meanwhile. What it may still put on Kafka is older than the
first rewind of its successor (see `streams.publish`).

The key of the lease expires; that is only how a standby learns that the leader is gone. Being wrong about it costs a change of
the leader, never a figure.

Redis may come back without its last second, as an older copy, or empty, while Kafka kept everything. What was published is then
known to the leader alone: it holds a copy of its ledger, and writes it down again as soon as it finds another run of the server,
or no trace of itself. It does so last: a ledger that is there vouches for whatever else Redis has to know. A standby gives it
time for that. Whoever finds such a ledger without its leader believes it only below finality, where no later rewind can have
changed it, and publishes the rest again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, cast

import structlog
from redis.asyncio import Redis

from processors.faults import faults
from processors.script import RUN_ID
from streams.chain import FINALITY_EPOCHS, Published
from streams.errors import StoreFault, Superseded

log = structlog.get_logger(__name__)

LEASE_SECONDS = 6.0
"""How long a leader may be silent. A standby takes over within this and `POLL_SECONDS`."""
RENEW_SECONDS = 1.5
POLL_SECONDS = 0.5
DOUBT_SECONDS = 2 * RENEW_SECONDS
"""How long a leader has to write down its ledger again before somebody takes the lease over a doubtful one."""
KEPT_TIPS = 2000
"""Tipsets on the ledger: more than twice finality."""


_ACQUIRE = (
    RUN_ID
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return {'held'} end
local last, by = redis.call('GET', KEYS[2]) or '0', redis.call('GET', KEYS[5])
local writer, under = (by or ''):match('^(%d+) (%x+)$')
local known = writer == last
local settled = known and under == run
if not settled and tonumber(ARGV[3]) < (by and 2 or 1) then return {'doubtful'} end
if not known then
  redis.call('DEL', KEYS[4])
elseif not settled then
  local top = redis.call('ZREVRANGE', KEYS[4], 0, 0, 'WITHSCORES')
  if top[2] then redis.call('ZREMRANGEBYSCORE', KEYS[4], '(' .. top[2] - ARGV[4], '+inf') end
end
local token = string.format('%.0f', math.max(tonumber(last) + 1, tonumber(ARGV[1])))
redis.call('SET', KEYS[2], token)
redis.call('SET', KEYS[5], token .. ' ' .. run)
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
return {'granted', token, known and 1 or 0, settled and 1 or 0, run}
"""
)

_FENCED = (
    RUN_ID
    + """
local newest = redis.call('GET', KEYS[2]) or '0'
if tonumber(newest) > tonumber(ARGV[1]) then return 0 end
if newest ~= ARGV[1] or run ~= ARGV[2] or redis.call('GET', KEYS[5]) ~= newest .. ' ' .. run then return -1 end
local what = ARGV[3]
if what == 'renew' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
elseif what == 'release' then
  redis.call('DEL', KEYS[1])
elseif what == 'reserve' then
  local top = math.max(tonumber(redis.call('GET', KEYS[3]) or -1), tonumber(ARGV[4]))
  redis.call('SET', KEYS[3], string.format('%.0f', top))
elseif what == 'rewound' then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '(' .. ARGV[4], '+inf')
elseif what == 'published' then
  for i = 5, #ARGV, 2 do redis.call('ZADD', KEYS[4], ARGV[i], ARGV[i + 1]) end
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - tonumber(ARGV[4]))
end
return 1
"""
)

_WRITE_AGAIN = (
    RUN_ID
    + """
if tonumber(redis.call('GET', KEYS[2]) or '0') > tonumber(ARGV[1]) then return false end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local top = math.max(tonumber(redis.call('GET', KEYS[3]) or -1), tonumber(ARGV[3]))
redis.call('SET', KEYS[3], string.format('%.0f', top))
redis.call('DEL', KEYS[4])
for i = 4, #ARGV, 2 do redis.call('ZADD', KEYS[4], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[5], ARGV[1] .. ' ' .. run)
return run
"""
)


class Granted(NamedTuple):
    """The lease is ours.

    Attributes:
        token: the incarnation.
        known: whether the ledger tells what was published before; not where something else than a leader did it.
        settled: whether it is as its last writer left it; else what is not final has been taken off, and `reserved` may be too low.
    """

    token: int
    known: bool
    settled: bool


class Lease:
    """The lease and the ledger of one network.

    Args:
        redis: a client.
        network: name of the network.
        restore: called before the ledger has to be written again: other things that Redis knew may be gone as well.

    Every method raises StoreFault where Redis is away or refuses; all but `acquire` and `tips` raise Superseded once somebody
    else holds the lease.
    """

    def __init__(self, redis: Redis, network: str, restore: Callable[[], Awaitable[None]] | None = None) -> None:
        self._redis = cast("Any", redis)
        self._restore = restore
        prefix = f"pulse:{{{network}}}:"
        # `incarnation` and `reserved` are the store's own: whoever follows without a lease moves them as well, and so fences us.
        self._keys = [prefix + name for name in ("lease", "incarnation", "reserved", "published", "published_by")]
        self._token: int | None = None
        self._run = b""
        self._tips: list[Published] = []
        self._reserved = -1
        self._doubtful_since: float | None = None

    async def acquire(self, now_seconds: int, doubted_epochs: int = FINALITY_EPOCHS, *, standing_by: bool = False) -> Granted | None:
        """Take the lease if nobody has it; `now_seconds` (Unix time) keeps tokens growing where Redis was emptied.

        Of a doubtful ledger the newest `doubted_epochs` are taken off. It is taken only after `DOUBT_SECONDS` of asking; where
        there is none at all, at once, unless we are `standing_by`, since then there was a leader.
        """
        waited = self._doubtful_since is not None and time.monotonic() - self._doubtful_since >= DOUBT_SECONDS
        daring = 2 if waited else 0 if standing_by else 1
        outcome, *answer = await self._eval(_ACQUIRE, now_seconds, int(LEASE_SECONDS * 1000), daring, doubted_epochs)
        if outcome == b"doubtful":
            self._doubtful_since = self._doubtful_since or time.monotonic()
        else:
            self._doubtful_since = None
        if outcome != b"granted":
            return None
        token, known, settled, self._run = answer
        self._token = int(token)
        self._tips = list(await self.tips())
        return Granted(self._token, bool(known), bool(settled))

    @property
    def doubtful(self) -> bool:
        """Whether the ledger was doubtful when the lease was asked for last."""
        return self._doubtful_since is not None

    async def renew(self) -> None:
        """We are alive."""
        await self._fenced("renew", int(LEASE_SECONDS * 1000))

    async def release(self) -> None:
        """Let a standby take over at once."""
        await self._fenced("release")

    async def reserve(self, top: int) -> None:
        """Heights up to `top` may be published."""
        self._reserved = max(self._reserved, top)
        await self._fenced("reserve", top)

    async def rewound(self, height: int) -> None:
        """Nothing above `height` counts as published."""
        self._tips = [tip for tip in self._tips if tip.height <= height]
        await self._fenced("rewound", height)

    async def published(self, tips: Sequence[Published]) -> None:
        """These are published for good."""
        # Ours first: a Redis that comes back without it gets it from there.
        self._tips = sorted({*self._tips, *tips}, key=lambda tip: tip.height)[-KEPT_TIPS:]
        await self._fenced("published", KEPT_TIPS, *_flat(tips))

    async def tips(self) -> tuple[Published, ...]:
        """What is published, lowest first."""
        with faults():
            found = await self._redis.zrange(self._keys[3], 0, -1, withscores=True)
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
        while (done := await self._eval(_FENCED, self._token, self._run, what, *arguments)) < 0:
            log.warning("Redis is not what it was, writing the ledger again", tipsets=len(self._tips), incarnation=self._token)
            if self._restore is not None:
                await self._restore()
            run = await self._eval(_WRITE_AGAIN, self._token, int(LEASE_SECONDS * 1000), self._reserved, *_flat(self._tips))
            if run is None:
                break
            self._run = run
        if done <= 0:
            raise Superseded(f"another follower took over from incarnation {self._token}")

    async def _eval(self, script: str, *arguments: object) -> Any:
        with faults():
            return await self._redis.eval(script, len(self._keys), *self._keys, *arguments)


def _flat(tips: Sequence[Published]) -> list[int | str]:
    return [part for tip in tips for part in (tip.height, tip.hash)]
