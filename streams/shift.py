"""Block times of a recording as if it happened now: each tipset bears the time at which the replay announces it."""

from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Raw

from streams.recording import Recording, Topic
from streams.wire import HeadChange, read

EPOCH_SECONDS = 30


class Shift:
    """Rewrites the timestamps in frames and answers.

    A recording that runs faster than the chain did would soon lie in the future with its own times, and one from last year would
    look halted. So a tipset gets the moment of its first announcement; those from before get 30 s an epoch less.

    Args:
        recording: whose blocks are rewritten.
        pace: how many seconds of it pass in one second.
        started_at: the Unix time at which the replay starts.
    """

    def __init__(self, recording: Recording, pace: float, started_at: float) -> None:
        self._times: dict[int, int] = {}
        self._start = int(started_at)
        for frame in recording.frames:
            if frame.topic == "heads":
                for change in read(frame.value, list[HeadChange], "ChainNotify"):
                    self._times.setdefault(change.val.height, int(started_at + frame.seconds / pace))
        if not self._times:
            for head in recording.heads:
                self._times.setdefault(recording.links[head.tip].height, int(started_at + head.seconds / pace))
        self._heights = sorted(self._times)
        for above, height in pairwise(reversed(self._heights)):
            # A fork may fill a height after a higher one was announced: time does not run backwards up the chain.
            self._times[height] = min(self._times[height], self._times[above])

        self._dated: dict[str, Callable[[dict[str, Any]], None]] = {
            "eth_getBlockByHash": self._block,
            "eth_getBlockByNumber": self._block,
            "Filecoin.ChainHead": self._tipset,
            "Filecoin.ChainGetTipSet": self._tipset,
            "Filecoin.ChainGetTipSetByHeight": self._tipset,
            "Filecoin.ChainGetTipSetAfterHeight": self._tipset,
            "Filecoin.ChainGetPath": self._change,
        }

    def _at(self, height: int) -> int:
        if height in self._times:
            return self._times[height]
        place = bisect_left(self._heights, height)
        if place:
            return self._times[self._heights[place - 1]]
        return self._start - EPOCH_SECONDS * (self._heights[0] - height)

    def frame(self, topic: Topic, value: Raw) -> Raw:
        """The value of a frame with its times shifted."""
        if topic == "logs":
            return value
        told = msgspec.json.decode(value)
        for change in told if topic == "heads" else ():
            self._change(change)
        if topic == "newHeads":
            self._block(told)
        return Raw(msgspec.json.encode(told))

    def answer(self, method: str, result: Raw) -> Raw:
        """The result of a call with its times shifted."""
        if method not in self._dated:
            return result
        told = msgspec.json.decode(result)
        for one in told if isinstance(told, list) else (told,):
            self._dated[method](one)
        return Raw(msgspec.json.encode(told))

    def _block(self, block: dict[str, Any]) -> None:
        block["timestamp"] = hex(self._at(int(block["number"], 16)))

    def _tipset(self, tipset: dict[str, Any]) -> None:
        for block in tipset["Blocks"]:
            block["Timestamp"] = self._at(block["Height"])

    def _change(self, change: dict[str, Any]) -> None:
        self._tipset(change["Val"])
