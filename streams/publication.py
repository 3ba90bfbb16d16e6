"""Records on their way out: numbered, built in the order of the chain, and queued until the shell takes them."""

from collections import deque
from collections.abc import Container

from streams.enrich import Assembled, build
from streams.memory import Memory
from streams.records import STREAMS, Hash, LogsRecord, Record, Rewind, StateRecord
from streams.sampler import Sampled

COUNTER_BITS = 32
"""A sequence is the incarnation of the follower, and this many bits that count its records."""


class Publication:
    """The numbers and the queue of one follower's records."""

    def __init__(self) -> None:
        self.queue: deque[Record] = deque()
        self._next_sequence = 0
        self._noticed_at: dict[Hash, float] = {}

    def resume(self, incarnation: int) -> None:
        """Number from here on; a later incarnation's numbers are all larger. What was queued before is forgotten."""
        self.queue.clear()
        self._next_sequence = incarnation << COUNTER_BITS

    def notice(self, block: Hash, now: float) -> None:
        """A node announced this tipset; the first time counts."""
        self._noticed_at.setdefault(block, now)

    def forget(self, known: Container[Hash]) -> None:
        """Forget the notices of tipsets that are not `known` any more."""
        self._noticed_at = {block: at for block, at in self._noticed_at.items() if block in known}

    def rewind(self, network: str, height: int, top: int) -> None:
        """Everything in `(height, top]` is empty, in every stream."""
        for stream in STREAMS:
            self.queue.append(Rewind(network=network, sequence=self._number(1), stream=stream, height=height, top=top))

    def publish(self, network: str, assembled: Assembled, memory: Memory, parent_height: int | None, now: float) -> LogsRecord:
        """Queue the records of a tipset; answers with its logs."""
        tipset, logs = build(
            assembled,
            memory,
            network=network,
            sequence=self._number(2),
            parent_height=parent_height,
            noticed_at=min(self._noticed_at.pop(assembled.link.hash, now), now),
        )
        self.queue += (tipset, logs)
        return logs

    def sample(self, network: str, sampled: Sampled) -> None:
        """Queue the record of what was read of the state after a tipset."""
        link = sampled.link
        self.queue.append(
            StateRecord(
                network=network,
                sequence=self._number(1),
                height=link.height,
                parent_height=sampled.parent_height,
                hash=link.hash,
                noticed_at=sampled.noticed_at,
                timestamp_seconds=link.timestamp_seconds,
                samples=sampled.samples,
                failed=tuple(sorted(sampled.failed)),
            )
        )

    def _number(self, count: int) -> int:
        number, self._next_sequence = self._next_sequence, self._next_sequence + count
        return number
