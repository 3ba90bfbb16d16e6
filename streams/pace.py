"""How fast a node is asked for what nobody is in a hurry for."""

SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0


class Pace:
    """How many questions may be on their way: halved when the node has too much, and raised slowly while it answers."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = max(most / 2, 1.0)
        self._pause_seconds = 0.0
        self.resume_at = 0.0

    @property
    def allowed(self) -> int:
        """Tasks at a time."""
        return int(self._allowed)

    def succeeded(self) -> None:
        """The node answered."""
        self._allowed = min(self._allowed + 1 / self._allowed, self._most)
        self._pause_seconds = 0.0

    def limited(self, now: float) -> None:
        """The node has too much to do; what was on its way together counts once."""
        if now < self.resume_at:
            return
        self._allowed = max(self._allowed / 2, 1.0)
        self._pause_seconds = min(max(2 * self._pause_seconds, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        self.resume_at = now + self._pause_seconds
