"""Where the time of this process goes: a timer looks at the stack some hundred times a second."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERVAL_SECONDS = 0.002
OTHER = "other"
PLACES = (
    ("/selectors.py", "waiting for the node and Redis"),
    ("/websockets/", "websocket"),
    ("/streams/wire.py", "JSON of the node"),
    ("/streams/rpc.py", "JSON of the node"),
    ("/streams/enrich.py", "enrich: sense, completeness, records"),
    ("/streams/probes.py", "enrich: names and contracts"),
    ("/streams/memory.py", "enrich: names and contracts"),
    ("/streams/evidence.py", "enrich: names and contracts"),
    ("/streams/creations.py", "enrich: sense, completeness, records"),
    ("/streams/", "follower, history, questions"),
    ("/processors/store.py", "store: packing, Redis client"),
    ("/processors/packing.py", "store: packing, Redis client"),
    ("/processors/script.py", "store: packing, Redis client"),
    ("/redis/", "store: packing, Redis client"),
    ("/hiredis/", "store: packing, Redis client"),
    ("/processors/", "fold and classify"),
    ("/faust/", "agents"),
    ("/mode/", "agents"),
    ("/asyncio/", "event loop, sockets"),
)
"""Where a frame belongs, by what its file is called; the innermost frame that belongs anywhere counts."""


class Shares:
    """By place: seconds, and seconds of the processor, which are fewer where others share it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self._seen_at = (0.0, 0.0)

    @contextmanager
    def watched(self) -> Iterator["Shares"]:
        """Look while the block runs; only in the main thread."""
        before = signal.signal(signal.SIGALRM, self._look)
        self._seen_at = time.perf_counter(), time.process_time()
        signal.setitimer(signal.ITIMER_REAL, INTERVAL_SECONDS, INTERVAL_SECONDS)
        try:
            yield self
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _look(self, _: int, frame: FrameType | None) -> None:
        # While a function of C runs nobody looks: what is seen at its end counts for all of the time since the last look.
        now, place = (time.perf_counter(), time.process_time()), _place(frame)
        for by_place, at, before in zip((self.seconds, self.cpu_seconds), now, self._seen_at, strict=True):
            by_place[place] = by_place.get(place, 0.0) + at - before
        self._seen_at = now


def _place(frame: FrameType | None) -> str:
    while frame is not None:
        name = frame.f_code.co_filename
        for part, place in PLACES:
            if part in name:
                return place
        frame = frame.f_back
    return OTHER
