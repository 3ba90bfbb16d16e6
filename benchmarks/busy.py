"""A chain as busy as one likes, and a node's answers about it: real JSON, put together from prebuilt pieces.

Everything about a height follows from the height, so a chain has no end and needs no memory. The bodies of tipsets come from a
few `Traffic` made; each tipset has its own place in the chain, senders and contracts.
"""

import base64
import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from benchmarks.answers import block, native_receipts, receipts
from benchmarks.synthetic import Size, Traffic
from streams.records import Address, Hash, LogsRecord, TipsetRecord
from streams.wire import Cid, tipset_hash

BODIES = 24
"""Different ones; more only take longer to make."""
BLOCKS = 5
"""Of a tipset."""
_CID = bytes.fromhex("0171a0e40220")
"""CIDv1, DAG-CBOR, blake2b-256."""
_PLACEHOLDER_HEIGHT = 0xBADC0FFEE
_PLACEHOLDER_SECONDS = 0xFACADE11
FIRST_SECONDS = 1_600_000_000
_HOT_CODE = b"\x60\x80\x60\x40\x52" * 1000
"""What the code of a contract is for the most part."""


class Template:
    """Text in which some hexadecimal words change: `words` in the order in which `filled` is given their values."""

    def __init__(self, text: bytes, words: Sequence[bytes]) -> None:
        place = {word: number for number, word in enumerate(words)}
        self._pieces = [b""]
        self._order: list[int] = []
        for piece in re.split(b"(0x[0-9a-f]+)", text):
            if piece in place:
                self._order.append(place[piece])
                self._pieces += (piece, b"")
            else:
                self._pieces[-1] += piece

    def filled(self, values: Sequence[bytes]) -> bytes:
        """The text with these in place of the words."""
        pieces = self._pieces.copy()
        pieces[1::2] = [values[number] for number in self._order]
        return b"".join(pieces)


class _Body:
    """The answers about a tipset, but for its place in the chain and who takes part."""

    def __init__(self, tipset: TipsetRecord, logs: LogsRecord) -> None:
        tipset = replace(tipset, height=_PLACEHOLDER_HEIGHT, timestamp_seconds=_PLACEHOLDER_SECONDS)
        contracts = {contract.address for contract in tipset.contracts}
        senders = {message.sender for message in tipset.messages if message.receiver in contracts}
        told = (tipset.hash, tipset.parent_hash, hex(_PLACEHOLDER_HEIGHT), hex(_PLACEHOLDER_SECONDS))
        words = [word.encode() for word in (*told, *sorted(senders), *sorted(contracts))]
        self.block = Template(msgspec.json.encode(block(tipset)), words)
        self.receipts = Template(msgspec.json.encode(receipts(tipset, logs)), words)
        self.natives = msgspec.json.encode(native_receipts(tipset, logs))


class BusyChain:
    """One chain, the same for the same arguments; its tipsets are made when they are asked for.

    Args:
        size: of its tipsets.
        fresh: every sender of a FEVM message is one that never sent before.
        events_at: how many logs single tipsets have, where it is another number.
        bodies: how many different tipsets are made.
    """

    def __init__(self, size: Size, *, fresh: bool = False, events_at: Mapping[int, int] | None = None, bodies: int = BODIES) -> None:
        self._size = size
        self._fresh = fresh
        self._traffic = Traffic(size)
        tipsets = list(islice(self._traffic.tipsets(), bodies))
        self._bodies = [_Body(tipset, self._traffic.logs(tipset)) for tipset in tipsets]
        self._unlike = {height: _Body(tipsets[0], self._traffic.logs(tipsets[0], events)) for height, events in (events_at or {}).items()}
        self._heights: dict[str, int] = {}
        """By hash and by the CID of each block."""

    def is_null(self, height: int) -> bool:
        """Whether nobody mined at this height."""
        return height > 1 and random.Random(height).random() < self._size.null_rounds

    def at_or_below(self, height: int) -> int:
        """The height of the newest tipset there."""
        while self.is_null(height):
            height -= 1
        return height

    def at_or_above(self, height: int) -> int:
        """The height of the oldest tipset there."""
        while self.is_null(height):
            height += 1
        return height

    def parent(self, height: int) -> int:
        """The height of the parent."""
        return self.at_or_below(height - 1)

    @lru_cache(maxsize=8192)  # noqa: B019 (a chain lives as long as its process)
    def key(self, height: int) -> tuple[Cid, ...]:
        """The blocks of the tipset."""
        digests = [hashlib.sha256(f"{height}/{place}".encode()).digest() for place in range(BLOCKS)]
        cids = tuple(Cid("b" + base64.b32encode(_CID + digest).decode().rstrip("=").lower()) for digest in digests)
        self._heights |= dict.fromkeys([tipset_hash(cids), *(cid.text for cid in cids)], height)
        return cids

    def hash(self, height: int) -> Hash:
        """The eth hash of the tipset."""
        return tipset_hash(self.key(height))

    def height_of(self, name: str) -> int:
        """The height of the tipset with this hash, or of this block; KeyError if nobody was told of it."""
        return self._heights[name]

    def native(self, height: int) -> dict[str, Any]:
        """The tipset as `Filecoin.ChainGetTipSet` tells it, but for what nobody reads of its blocks."""
        parents = self.key(self.parent(height)) if height else ()
        header = {"Miner": "f01000", "Parents": parents, "Height": height, "Timestamp": seconds_at(height), "ParentWeight": "0"}
        return {"Cids": self.key(height), "Blocks": [header] * BLOCKS, "Height": height}

    def block(self, height: int) -> bytes:
        """`eth_getBlockByHash`, with all messages."""
        return self._body(height).block.filled(self._values(height))

    def receipts(self, height: int) -> bytes:
        """`eth_getBlockReceipts`."""
        return self._body(height).receipts.filled(self._values(height))

    def natives(self, height: int) -> bytes:
        """`Filecoin.ChainGetParentReceipts` of a block on top."""
        return self._body(height).natives

    def code(self, address: Address) -> str:
        """`eth_getCode`."""
        contract = self._traffic.evidence.get(address)
        if contract is None:
            return "0x"
        answered = (b"\x80\x63" + bytes.fromhex(one[2:]) + b"\x14\x61\x00\x00\x57" for one in contract.selectors)
        return "0x" + (b"".join(answered) + _HOT_CODE).hex()

    def _body(self, height: int) -> _Body:
        return self._unlike.get(height) or self._bodies[height % len(self._bodies)]

    @lru_cache(maxsize=64)  # noqa: B019 (a chain lives as long as its process)
    def _values(self, height: int) -> list[bytes]:
        rng = random.Random(height)
        fresh = (f"0x{height + 1:020x}{place:020x}" for place in range(self._size.senders))
        senders = fresh if self._fresh else self._traffic.some_senders(rng)
        parent = self.hash(self.parent(height)) if height else "0x" + "00" * 32
        told = (self.hash(height), parent, hex(height), hex(seconds_at(height)))
        return [word.encode() for word in (*told, *senders, *self._traffic.some_contracts(rng))]


def seconds_at(height: int) -> int:
    """When the tipset was mined."""
    return FIRST_SECONDS + 30 * height
