"""What one read of a tipset amounts to: digests of its messages, receipts and logs, so that two reads can be compared, runs later too.

Only what the chain fixes is compared, as the node told it: what else a record has (evidence of contracts, the rise of f099, traces,
rails) is asked for besides, may not be told any more, and would differ without anybody having been wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from msgspec import Struct

from streams.enrich import Assembled
from streams.records import Contract, Hash
from streams.wire import Receipt, Transaction

DIGEST_BYTES = 16
MISSING = "missing"
"""In place of a receipt; one that is there and has no logs is another thing."""


class Content(Struct, frozen=True, array_like=True):
    """One read of a tipset.

    Attributes:
        messages: digest of the block: time, base fee and every message.
        receipts: digest of gas used, outcome and created contract of every message.
        logs: digest of the logs of every message, with their topics and data.
        log_count: how many logs these are.
        whole: whether nothing seemed to be missing.
    """

    messages: bytes
    receipts: bytes
    logs: bytes
    log_count: int
    whole: bool

    def differs(self, other: "Content") -> tuple[str, ...]:
        """The parts in which they differ; `completeness` where it is only that one of them complains."""
        parts = tuple(name for name in ("messages", "receipts", "logs") if getattr(self, name) != getattr(other, name))
        return parts or (("completeness",) if self.whole != other.whole else ())


UNSURE = Content(b"", b"", b"", -1, whole=False)
"""Of a tipset that was told in several ways: which of them is stored, only the store knows. Any read differs, and has more logs."""


class Told(Struct, frozen=True, array_like=True):
    """How a tipset was told as it was published: what a second read is compared with, in a later run as well.

    Attributes:
        height: of the tipset.
        hash: its own.
        parent_hash: of the tipset below.
        parent_height: where that is, None if it was not seen.
        teller: the node that told it.
        traced: whether what ran inside of its messages was told.
        content: what was told, `UNSURE` if it was told again in another way.
    """

    height: int
    hash: Hash
    parent_hash: Hash
    parent_height: int | None
    teller: str
    traced: bool
    content: Content


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the next run is to know: `contracts`, and how tipsets were `told` that are about to be published."""

    contracts: Sequence[Contract] = ()
    told: Sequence[Told] = ()

    def __bool__(self) -> bool:
        return bool(self.contracts or self.told)


def content(assembled: Assembled) -> Content:
    """What was read."""
    block = assembled.block
    found = [assembled.receipts.get(one.hash.lower()) for one in block.transactions]
    return Content(
        messages=_digest([f"{int(block.timestamp, 16)} {int(block.base_fee_per_gas, 16)}", *map(_message, block.transactions)]),
        receipts=_digest(f"{int(one.gas_used, 16)} {one.succeeded} {one.created}" if one is not None else MISSING for one in found),
        logs=_digest(_logs(one) if one is not None else MISSING for one in found),
        log_count=sum(len(one.logs) for one in found if one is not None),
        whole=assembled.complaint is None,
    )


def _message(one: Transaction) -> str:
    gas = f"{int(one.gas, 16)} {one.gas_fee_cap} {one.gas_premium}"
    return f"{one.hash} {one.sender} {one.to} {gas} {int(one.value, 16)} {one.input[:10]}"


def _logs(one: Receipt) -> str:
    return " ".join(f"{log.address},{','.join(log.topics)},{log.data}" for log in one.logs)


def _digest(lines: Iterable[str]) -> bytes:
    """Of hex and numbers, so that upper and lower case are the same."""
    return blake2b("\n".join(lines).lower().encode(), digest_size=DIGEST_BYTES).digest()
