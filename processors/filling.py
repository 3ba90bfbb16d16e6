"""Gives the follower the holes of the ledger to fill, the newest first: by itself at a start, and as commands wish."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog
from redis.asyncio import Redis

from processors.ledger import newest_hole
from processors.store import SURVIVE_REORG_EPOCHS, Store
from processors.wanted import Progress, Wanted
from processors.windows import parse, parse_all
from streams.errors import StoreFault
from streams.follower import Follower
from streams.history import History, Hole
from streams.settings import Settings

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
SETTLING_SECONDS = 15.0
"""How long what a walk published may take to its registers before it is taken for lost."""
OUT_OF_REACH_SECONDS = 600.0
"""How long heights are left alone that no node would tell of; those that were passed over, longer while there are other holes."""
MARGIN_EPOCHS = 30
"""Nothing so close to being forgotten is filled any more."""


def depth_of(settings: Settings) -> int:
    """How many epochs below the head are wanted without being asked for."""
    if settings.backfill == "off":
        return 0
    if settings.backfill == "auto":
        return min(longest_of(settings), settings.look_back_epochs)
    return min(parse(settings.backfill).epochs, longest_of(settings))


def longest_of(settings: Settings) -> int:
    """The longest window, in epochs."""
    return max(window.epochs for window in parse_all(settings.windows))


def kept_epochs(longest: int) -> int:
    """How far below the head anything is kept, in epochs, where that is the longest window."""
    return 2 * longest + SURVIVE_REORG_EPOCHS - MARGIN_EPOCHS


class Walks:
    """What is remembered of the walks of one follower: the last one given, what they passed over, and where no node would go further."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._given: Hole | None = None
        self._finished = 0
        self._finished_at = 0.0
        self._reach: tuple[int, float] | None = None
        self._passed_over: dict[int, float] = {}

    def ended(self, now: float) -> bool:
        """Whether a walk came to its end since this was asked last."""
        self._passed_over |= dict.fromkeys(self._history.take_passed_over(), now + OUT_OF_REACH_SECONDS)
        if (reached := self._history.take_out_of_reach()) is not None:
            self._reach = (reached, now + OUT_OF_REACH_SECONDS)
        elif self._reach is not None and now > self._reach[1]:
            self._reach = None
        if self._history.finished == self._finished:
            return False
        self._finished, self._finished_at = self._history.finished, now
        return True

    @property
    def out_of_reach(self) -> int | None:
        """The height that no node would tell of, left alone for a while with all below it."""
        return self._reach[0] if self._reach is not None else None

    @property
    def passed_over(self) -> frozenset[int]:
        """Heights that no node would tell of though it tells of those below, left alone for a while."""
        return frozenset(self._passed_over)

    def hope(self) -> None:
        """What was out of reach may be within it: somebody wishes for more, maybe of another node."""
        self._reach = None
        self._passed_over.clear()

    def nothing_else(self, now: float) -> None:
        """There is no other hole: what was passed over a while ago is tried again."""
        self._passed_over = {height: until for height, until in self._passed_over.items() if now <= until}

    def is_settling(self, hole: Hole, now: float) -> bool:
        """Whether this was just published and may still be on its way."""
        given = self._given
        if given is None or now > self._finished_at + SETTLING_SECONDS:
            return False
        return given.low <= hole.low and hole.above.height <= given.above.height

    def give(self, hole: Hole) -> None:
        """Begin a walk."""
        self._given = hole
        self._history.fill(hole)


class Filler:
    """Watches the ledger of what `follower` publishes; run it beside the connections.

    Args:
        follower: fills.
        redis: where the ledger and the wishes are.
        settings: how deep to fill by itself, and what is kept.
        store: the network's, once it is open.
        stir: makes the follower look at its new task at once.
    """

    def __init__(
        self, follower: Follower, redis: Redis, settings: Settings, store: Callable[[], Store | None], stir: Callable[[], None]
    ) -> None:
        self._follower = follower
        self._redis = redis
        self._depth, self._kept = depth_of(settings), kept_epochs(longest_of(settings))
        self._store = store
        self._stir = stir
        self._walks = Walks(follower.history)
        self._again: frozenset[int] = frozenset()
        self._wish: int | None = None
        self._nothing_left = asyncio.Event()

    async def run(self) -> None:
        """Give the follower hole after hole until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            with suppress(StoreFault):
                if (store := self._store()) is not None and self._follower.network is not None:
                    await self._look(store, Wanted(self._redis, self._follower.network))

    async def exhausted(self) -> None:
        """Wait until a look that begins after this finds nothing to fill that the nodes tell."""
        self._nothing_left.clear()
        await self._nothing_left.wait()

    async def _look(self, store: Store, wanted: Wanted) -> None:
        now, tip, walks = time.time(), self._follower.tip, self._walks
        if tip is None:
            return
        if walks.ended(now):
            await wanted.written(self._again)
        elif (below := self._follower.history.next_height) is not None and (done := {one for one in self._again if one > below}):
            await wanted.written(done)
            self._again -= done
        await wanted.tell(Progress(now, tip.height, walks.out_of_reach, walks.passed_over))
        history = self._follower.history
        if history.hole is not None or not self._follower.caught_up:
            return
        floor, again = await wanted.floor(), await wanted.again()
        if floor is not None and floor != self._wish:
            walks.hope()
        self._wish = floor
        hole = await newest_hole(store, self._floor(tip.height, floor, again), tip.height, again, walks.passed_over)
        if hole is None:
            walks.nothing_else(now)
            self._nothing_left.set()
        if hole is None and floor is not None:
            await wanted.reached(floor)
        if hole is not None and history.idle(now) and (again or not walks.is_settling(hole, now)):
            log.info("filling history", newest=hole.above.height, down_to=hole.low + 1)
            self._again = frozenset(height for height in again if hole.low < height <= hole.above.height)
            walks.give(hole)
            self._stir()

    def _floor(self, tip: int, wanted: int | None, again: frozenset[int]) -> int:
        """The lowest height to fill: what is wanted, kept, and not out of reach."""
        floor = min(tip - self._depth + 1, wanted if wanted is not None else tip, *again, tip)
        reached = self._walks.out_of_reach
        return max(floor, reached + 1 if reached is not None else 0, tip - self._kept, 0)
