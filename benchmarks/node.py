"""A node in a process of its own, that remembers when it said what.

`node` starts it; `python -m benchmarks.node` is it. It prints where it listens, and `followed` when somebody has asked for the
receipts of its first head. Until it reads `go` it stays there; when its input ends it prints what it remembers.
"""

import argparse
import asyncio
import math
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct

from streams.chain import Link
from streams.recording import Frame, load
from streams.records import Hash
from streams.replay import ReplayNode
from streams.wire import EthHeader, HeadChange, read

PACE = 50.0
FIRST_HEAD_SECONDS = 0.03
BY_HASH = ("eth_getBlockByHash", "eth_getBlockReceipts")
"""Questions that carry the hash of the tipset that they are about."""


class Memory(Struct):
    """Monotonic times, which all processes of a machine share.

    Attributes:
        announced: when a tipset was first announced as executed.
        answered: when a question of `BY_HASH` about a tipset was first answered: method, hash, time.
    """

    announced: dict[Hash, float]
    answered: list[tuple[str, Hash, float]]


class Node:
    """The other end of a node's process."""

    def __init__(self, process: Process, url: str, seconds: float) -> None:
        self.url = url
        self.seconds = seconds
        """How long it will take from `go_on` to the last frame."""
        self._process = process

    async def followed(self) -> None:
        """Wait until somebody follows."""
        assert self._process.stdout is not None
        await self._process.stdout.readline()

    def go_on(self) -> None:
        """Let the recording run."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    async def memory(self) -> Memory:
        """End it, and take what it remembers."""
        said, _ = await self._process.communicate(b"")
        return msgspec.json.decode(said, type=Memory)


@asynccontextmanager
async def node(pace: float = PACE, until: float | None = None) -> AsyncIterator[Node]:
    """A process that serves the bundled recording, up to `until` seconds of it."""
    flags = ("--pace", str(pace), *(("--until", str(until)) if until is not None else ()))
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.node", *flags, stdin=PIPE, stdout=PIPE, limit=2**24)
    try:
        assert process.stdout is not None
        url, seconds = (await process.stdout.readline()).decode().split()
        yield Node(process, url, float(seconds))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class _Witness:
    """Looks at what a node sends."""

    def __init__(self) -> None:
        self.frames: list[tuple[Frame, float]] = []
        self.answers: dict[tuple[str, Hash], float] = {}

    def stage(self, frame: Frame) -> Iterator[Frame]:
        """Sees each frame just before it is sent; only afterwards is it read."""
        self.frames.append((frame, time.monotonic()))
        yield frame

    def distort(self, method: str, params: list[Any], answer: bytes) -> bytes:
        """Sees each answer when it is ready."""
        if method in BY_HASH and (method, params[0]) not in self.answers:
            if not self.answers:
                _say("followed")
            self.answers[method, params[0]] = time.monotonic()
        return answer

    def memory(self) -> Memory:
        """Read what was seen."""
        announced: dict[Hash, float] = {}
        for frame, seen_at in self.frames:
            for block in _executed(frame):
                announced.setdefault(block, seen_at)
        return Memory(announced, [(method, block, at) for (method, block), at in self.answers.items()])


def _executed(frame: Frame) -> list[Hash]:
    """The tipsets that can be asked for from this frame on."""
    match frame.topic:
        case "heads":
            changes = read(frame.value, list[HeadChange], "ChainNotify")
            return [Link.of_tipset(change.val).parent_hash for change in changes if change.type != "revert"]
        case "newHeads":
            return [read(frame.value, EthHeader, "newHeads").hash.lower()]
        case "logs":
            return []


async def _serve(pace: float, until: float) -> None:
    witness = _Witness()
    recording = load("devnet")
    served = ReplayNode(recording, pace=pace, until=FIRST_HEAD_SECONDS, shift_to_now=True)
    served.faults.stage, served.faults.distort = witness.stage, witness.distort
    async with served:
        _say(served.url, min(until, recording.frames[-1].seconds) / pace)
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line.strip() == "go":
                served.halt_at(until)
    _say(msgspec.json.encode(witness.memory()).decode())


def _say(*words: object) -> None:
    print(*words, flush=True)


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pace", type=float, default=PACE)
    parser.add_argument("--until", type=float, default=math.inf)
    given = parser.parse_args()
    asyncio.run(_serve(given.pace, given.until))


if __name__ == "__main__":
    main()
