"""The holes of the ledger given to the follower to fill: a model of `processors.filling`, with its order of questions."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol, TypeVar, cast

from processors.filling import POLL_SECONDS, Walks
from processors.ledger import newest_hole
from processors.store import Store
from streams.follower import Follower
from streams.history import Hole
from tests.simulation.store import ModelStore

T = TypeVar("T")


class World(Protocol):
    """What the filler sees of a history."""

    store: ModelStore
    fills: bool


def answered(question: Coroutine[Any, Any, T]) -> T:
    """What comes of a question that waits for nobody."""
    try:
        question.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    raise RuntimeError("the model of the store waits for nobody")


class Filling:
    """Watches the ledger for one follower.

    Args:
        follower: fills.
        world: where the ledger is, and whether anything is to be filled yet.
    """

    def __init__(self, follower: Follower, world: World) -> None:
        self._follower = follower
        self._world = world
        self._walks = Walks(follower.history)

    def run(self, clock: Callable[[], float], depth: int, stir: Callable[[], None]) -> Generator[float, None, None]:
        """Look at the ledger again and again, `depth` epochs down from the head; yields the seconds to sleep."""
        while True:
            yield POLL_SECONDS
            now = clock()
            self._walks.ended(now)
            hole = self._hole(now, depth) if self._world.fills else None
            if hole is not None and not self._walks.is_settling(hole, now):
                self._walks.give(hole)
                stir()

    def _hole(self, now: float, depth: int) -> Hole | None:
        tip = self._follower.tip
        if tip is None or not self._follower.caught_up or not self._follower.history.idle(now):
            return None
        reached = self._walks.out_of_reach
        floor = max(tip.height - depth + 1, 0, reached + 1 if reached is not None else 0)
        hole = answered(newest_hole(cast("Store", self._world.store), floor, tip.height, (), self._walks.passed_over))
        if hole is None:
            self._walks.nothing_else(now)
        return hole
