"""Patience with Redis: what it does not take now is tried again for as long as it takes, and is told of once, not at each try.

Everybody in a process waits for the same Redis, so there is one `Told` for all of them.
"""

import math
import time
from collections.abc import AsyncIterator, Callable

import structlog
from tenacity import AsyncRetrying, AttemptManager, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from streams.errors import StoreFault, StoreRefusal

log = structlog.get_logger(__name__)

LONGEST_PAUSE_SECONDS = 5.0
REMIND_SECONDS = 300.0


class Told:
    """What was last said of Redis.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kind: type[StoreFault] | None = None
        self._said_at = 0.0
        self._since = 0.0
        self._succeeded_at = -math.inf

    @property
    def now(self) -> float:
        """The clock's seconds."""
        return self._clock()

    def failed(self, fault: StoreFault, begun: float = math.inf) -> None:
        """Say so, unless the same was said in the last `REMIND_SECONDS`, or what was `begun` then has succeeded for others since."""
        now = self._clock()
        if begun <= self._succeeded_at:
            return
        if self._kind is None:
            self._since = now
        if self._kind is not type(fault) or now - self._said_at >= REMIND_SECONDS:
            say = log.error if isinstance(fault, StoreRefusal) else log.warning
            say(str(fault), waiting_seconds=round(now - self._since), until="it works: nothing is lost meanwhile")
            self._kind, self._said_at = type(fault), now

    def succeeded(self) -> None:
        """Say that it works again, if it did not."""
        self._succeeded_at = self._clock()
        if self._kind is not None:
            log.info("Redis takes what it is given again", after_seconds=round(self._clock() - self._since))
            self._kind = None


_told = Told()


async def patiently(told: Told = _told) -> AsyncIterator[AttemptManager]:
    """Attempts until one does not end in a StoreFault; each goes into a `with`."""

    def failed(state: RetryCallState) -> None:
        fault = state.outcome.exception() if state.outcome is not None else None
        if isinstance(fault, StoreFault):
            told.failed(fault, begun)

    pauses = wait_exponential(multiplier=0.05, max=LONGEST_PAUSE_SECONDS) + wait_random(0, 0.1)
    async for attempt in AsyncRetrying(retry=retry_if_exception_type(StoreFault), wait=pauses, before_sleep=failed):
        begun = told.now
        yield attempt
    told.succeeded()
