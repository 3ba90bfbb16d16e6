"""What failed is asked again later: when, and how often it was tried."""

from collections.abc import Callable
from dataclasses import dataclass

from streams.tasks import Key

FIRST_PAUSE_SECONDS = 0.5


@dataclass(slots=True)
class _Retry:
    attempts: int
    at: float


class Retries:
    """The questions that wait to be asked again.

    Args:
        complaints: how often an answer that lacks something is asked for again before it is taken as it is.
        pause_seconds: the pause before the first of these; it doubles.
    """

    def __init__(self, complaints: int, pause_seconds: float) -> None:
        self._most_complaints = complaints
        self._pause_seconds = pause_seconds
        self._waiting: dict[Key, _Retry] = {}
        self._complaints: dict[Key, int] = {}

    def failed(self, key: Key, now: float) -> int:
        """The question failed; how many times in a row by now."""
        attempts = self._waiting[key].attempts + 1 if key in self._waiting else 1
        self._waiting[key] = _Retry(attempts, now + FIRST_PAUSE_SECONDS * 2 ** (attempts - 1))
        return attempts

    def complained(self, key: Key, now: float) -> bool:
        """The answer lacks something; whether it is to be asked for again."""
        complaints = self._complaints.get(key, 0)
        if complaints >= self._most_complaints:
            return False
        self._complaints[key] = complaints + 1
        self._waiting[key] = _Retry(0, now + self._pause_seconds * 2**complaints)
        return True

    def succeeded(self, key: Key) -> None:
        """The question was answered."""
        self._waiting.pop(key, None)

    def settled(self, key: Key) -> None:
        """The answer was taken, with or without a complaint."""
        self._complaints.pop(key, None)

    def due(self, key: Key, now: float) -> bool:
        """Whether the question may be asked now."""
        return key not in self._waiting or self._waiting[key].at <= now

    def wake_at(self, now: float) -> float | None:
        """When the next question may be asked again."""
        return min((one.at for one in self._waiting.values() if one.at > now), default=None)

    def keep(self, wanted: Callable[[Key], bool]) -> None:
        """Forget the questions that nobody has any more."""
        self._waiting = {key: one for key, one in self._waiting.items() if wanted(key)}
        self._complaints = {key: one for key, one in self._complaints.items() if wanted(key)}

    def clear(self) -> None:
        """The connection is another: everything may be asked at once."""
        self._waiting.clear()
