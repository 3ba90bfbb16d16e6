"""The time of day, which never goes back.

A clock that is set back would make every deadline wait for as long. Then this one runs at half its pace until the wall clock has
caught up; where the wall clock is set forward, it follows at once.
"""

import time
from collections.abc import Callable

PACE = 0.5


class SteadyClock:
    """Call it for the Unix time in seconds.

    Args:
        wall: the time of day, which may jump.
        steady: seconds since whenever, which never go back.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._said = wall()
        self._at = steady()

    def __call__(self) -> float:
        """The Unix time, not less than before."""
        at = self._steady()
        passed, self._at = at - self._at, at
        self._said = max(self._wall(), self._said + PACE * passed)
        return self._said
