"""What other nodes say of the same chain: compared at depth, asked to vouch for receipts, asked instead of a slow leader.

The leader's answers are what is counted. A witness changes nothing by itself: it confirms, or raises an event that an alert is
made of. Only where an operator wants a quorum does a tipset wait for it.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, TypeAlias, get_args

from streams.chain import Link
from streams.greeting import fetch_link_at
from streams.records import Hash
from streams.rpc import Call
from streams.tasks import Fetch
from streams.wire import Receipt, read

WAITING_TIPSETS = 256
"""How many tipsets wait to be compared by a witness that is behind or slow; the oldest go."""

Verdict: TypeAlias = Literal["same", "chain", "receipts", "unanswered"]
"""What a witness says of a tipset: the same, another tipset at its height, other receipts, or nothing."""
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def digest(receipts: Iterable[Receipt]) -> bytes:
    """What a tipset's receipts come to: transaction, gas used, status and number of logs of each, in any order."""
    lines = sorted(
        f"{one.transaction_hash.lower()} {int(one.gas_used, 16)} {one.succeeded} {one.created} {len(one.logs)}" for one in receipts
    )
    return blake2b("\n".join(lines).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Seen:
    """A tipset that was published, and the digest of its receipts."""

    height: int
    hash: Hash
    digest: bytes


@dataclass(frozen=True, slots=True)
class Vouched:
    """The digest of the receipts that a node tells of a tipset, None where it tells none."""

    block: Hash
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class Compared:
    """What a node says of a tipset that was published."""

    seen: Seen
    verdict: Verdict


def vouch(block: Hash) -> Fetch[Vouched]:
    """What a node vouches for.

    Raises:
        NodeFault: its answer can not be read.
    """
    (answer,) = yield (Call("eth_getBlockReceipts", (block,)),)
    receipts = None if answer.result is None else read(answer.result, list[Receipt], "eth_getBlockReceipts")
    return Vouched(block, None if receipts is None else digest(receipts))


def compare(seen: Seen) -> Fetch[Compared]:
    """Whether a node holds the same tipset at that height, with the same receipts.

    Raises:
        NodeFault: its answer can not be read.
    """
    link: Link | None = yield from fetch_link_at(seen.height, ())
    if link is None or (link.height, link.hash) != (seen.height, seen.hash):
        return Compared(seen, "chain")
    found = (yield from vouch(seen.hash)).digest
    if found is None:
        return Compared(seen, "unanswered")
    return Compared(seen, "same" if found == seen.digest else "receipts")


class Witnesses:
    """What is still to be compared, by endpoint.

    Args:
        depth_epochs: how deep a tipset must lie below what was published last, and below the witness's own head.
    """

    def __init__(self, depth_epochs: int) -> None:
        self._depth_epochs = depth_epochs
        self._recent: deque[Seen] = deque()
        self._due: dict[str, deque[Seen]] = {}

    def published(self, seen: Seen, witnesses: Iterable[str]) -> None:
        """A tipset is published; those that are deep enough by now are to be compared by these endpoints."""
        self._recent.append(seen)
        names = set(witnesses)
        for gone in self._due.keys() - names:
            del self._due[gone]
        while self._recent and self._recent[0].height <= seen.height - self._depth_epochs:
            deep = self._recent.popleft()
            for name in names:
                self._due.setdefault(name, deque(maxlen=WAITING_TIPSETS)).append(deep)

    def rewound(self, height: int) -> None:
        """Everything above `height` is undone."""
        self._recent = deque(one for one in self._recent if one.height <= height)
        self._due = {name: deque((one for one in due if one.height <= height), maxlen=WAITING_TIPSETS) for name, due in self._due.items()}

    def next(self, heads: Mapping[str, int]) -> list[tuple[str, Seen]]:
        """One tipset for each endpoint whose head is far enough above it; `heads` has the heights by endpoint."""
        ready = [(name, self._due[name]) for name, head in heads.items() if self._due.get(name)]
        return [(name, due.popleft()) for name, due in ready if due[0].height <= heads[name] - self._depth_epochs]
