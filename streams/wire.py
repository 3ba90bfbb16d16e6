"""What a node says, typed: the fields of its answers and notices that are used here, and nothing else.

Decoding checks every shape, so nonsense ends as `NodeFault` at this border and never travels further. What comes by the hundred in
every tipset is left out of Python's search for cycles (`gc=False`): it can not be part of one. Its texts are checked together, by a
`_Shape`, since a pattern a field would take most of the time of a tipset.
"""

import base64
import hashlib
import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct, field

from streams.errors import NodeFault
from streams.records import NETWORK, Address, Hash

T = TypeVar("T")

_HASH = "0x[0-9a-fA-F]{64}"
_ADDRESS = "0x[0-9a-fA-F]{40}"
_DATA = "0x[0-9a-fA-F]*"
_HEIGHT = "0x[0-9a-fA-F]{1,12}"
_QUANTITY = "0x[0-9a-fA-F]{1,64}"
_GAS = "0x0*[0-9a-fA-F]{1,9}"
"""Units of gas of one message, below 2^36; a block has room for 10^10 (`BLOCK_GAS_LIMIT` of Lotus)."""
_FEE = "0x0*[0-9a-fA-F]{1,24}"
"""AttoFIL per unit of gas, below 2^96."""
_VALUE = "0x0*[0-9a-fA-F]{1,32}"
"""AttoFIL, below 2^128; all there will ever be is below 2^91, and no message with more is let into a block."""

HexHash = Annotated[str, Meta(pattern=rf"^{_HASH}\Z")]
HexAddress = Annotated[str, Meta(pattern=rf"^{_ADDRESS}\Z")]
HexData = Annotated[str, Meta(pattern=rf"^{_DATA}\Z")]
HexHeight = Annotated[str, Meta(pattern=rf"^{_HEIGHT}\Z")]
HexSeconds = HexHeight
Quantity = Annotated[str, Meta(pattern=rf"^{_QUANTITY}\Z")]
Fee = Annotated[str, Meta(pattern=rf"^{_FEE}\Z")]
NetworkName = Annotated[str, Meta(pattern=rf"^{NETWORK}\Z")]
Amount = Annotated[str, Meta(pattern=r"^-?[0-9]{1,40}\Z")]
Height = Annotated[int, Meta(ge=0, le=2**48)]

MOST_UNITS = 2**128
"""What no real amount of FIL or of a token reaches; who tells more is broken, or lies."""
MOST_TIPSET_GAS = 2**40
"""More gas than the blocks of one tipset have room for."""
MOST_TOPICS = 4
"""The EVM has no opcode for a log with more."""
MOST_CALL_DEPTH = 1025
"""The EVM and the FVM let calls go 1,024 deep."""

EAM: Address = "0xff0000000000000000000000000000000000000a"
"""f010, the Ethereum address manager: it creates contracts."""
BURNT_FUNDS: Address = "0xff00000000000000000000000000000000000063"
"""f099: its balance is all the FIL ever burnt."""

MASK = "0xff" + "00" * 11
"""How the `0x` form of an actor's id begins; 8 bytes of id follow."""
_FIRST_USER_ACTOR = 100


class _Shape:
    """What the texts of a struct may be, by field: one match for all of them."""

    def __init__(self, **patterns: str) -> None:
        self._patterns = patterns
        self._fits = re.compile(" ".join(patterns.values())).fullmatch

    def check(self, texts: str) -> None:
        """`texts` are those of a struct in the order of the fields, with spaces between, which no pattern takes.

        Raises:
            ValueError: one does not fit; msgspec adds where in the answer that is.
        """
        if self._fits(texts) is None:
            told = zip(self._patterns.items(), texts.split(" "), strict=False)
            odd = next(
                (f"{name} is {text[:80]!r}" for (name, pattern), text in told if not re.fullmatch(pattern, text)), "a text has spaces"
            )
            raise ValueError(odd)


def _or_none(pattern: str) -> str:
    """Of a text that may be missing, in its `repr`: so a text that says "None" is not taken for none."""
    return f"(?:'{pattern}'|None)"


class Cid(Struct, frozen=True, gc=False):
    """A content identifier as Lotus writes it."""

    text: Annotated[str, Meta(pattern=r"^b[a-z2-7]{1,200}\Z")] = field(name="/")


class BlockHeader(Struct, frozen=True, rename="pascal"):
    """The fields of a Filecoin block header that give its place in the chain."""

    parents: Annotated[list[Cid], Meta(max_length=1000)]
    height: Height
    timestamp: Height = 0


class Tipset(Struct, frozen=True, rename="pascal"):
    """`Filecoin.ChainGetTipSet` and the values of `Filecoin.ChainNotify`."""

    cids: Annotated[list[Cid], Meta(min_length=1, max_length=1000)]
    blocks: Annotated[list[BlockHeader], Meta(min_length=1, max_length=1000)]
    height: Height


class HeadChange(Struct, frozen=True, rename="pascal"):
    """One step of a `ChainNotify` notice: `current`, `apply` or `revert`."""

    type: str
    val: Tipset


_TRANSACTION = _Shape(
    hash=_HASH,
    sender=_ADDRESS,
    gas=_GAS,
    to=_or_none(_ADDRESS),
    value=_VALUE,
    input=_DATA,
    max_fee_per_gas=_or_none(_FEE),
    max_priority_fee_per_gas=_or_none(_FEE),
    gas_price=_or_none(_FEE),
)


class Transaction(Struct, frozen=True, rename="camel", gc=False):
    """A message in its eth form (`eth_getBlockByHash(hash, true)`)."""

    hash: str
    sender: str = field(name="from")
    gas: str
    to: str | None = None
    value: str = "0x0"
    input: str = "0x"
    max_fee_per_gas: str | None = None
    max_priority_fee_per_gas: str | None = None
    gas_price: str | None = None

    def __post_init__(self) -> None:
        prices = f"{self.max_fee_per_gas!r} {self.max_priority_fee_per_gas!r} {self.gas_price!r}"
        _TRANSACTION.check(f"{self.hash} {self.sender} {self.gas} {self.to!r} {self.value} {self.input} {prices}")

    @property
    def gas_fee_cap(self) -> int:
        """In attoFIL per unit of gas; a legacy transaction has one price for all."""
        return int(self.max_fee_per_gas or self.gas_price or "0x0", 16)

    @property
    def gas_premium(self) -> int:
        """In attoFIL per unit of gas."""
        return int(self.max_priority_fee_per_gas or self.gas_price or "0x0", 16)


class EthBlock(Struct, frozen=True, rename="camel"):
    """A tipset in its eth form, with its messages."""

    hash: HexHash
    parent_hash: HexHash
    number: HexHeight
    timestamp: HexSeconds
    base_fee_per_gas: Fee
    transactions: list[Transaction]


class EthHeader(Struct, frozen=True, rename="camel"):
    """What `newHeads` announces, and a block of which only the place is of interest."""

    hash: HexHash
    parent_hash: HexHash
    number: HexHeight
    timestamp: HexSeconds = "0x0"


_Topic = Annotated[str, Meta(min_length=66, max_length=66)]
_LOG = _Shape(address=_ADDRESS, data=_DATA, topics=f"(?:{_HASH}(?:,{_HASH})*)?")


class ReceiptLog(Struct, frozen=True, rename="camel", gc=False):
    """An event of a receipt. Its own index is not trusted: streamed ones are always 0."""

    address: str
    topics: Annotated[tuple[_Topic, ...], Meta(max_length=MOST_TOPICS)] = ()
    data: str = "0x"

    def __post_init__(self) -> None:
        _LOG.check(f"{self.address} {self.data} {','.join(self.topics)}")


class StreamedLog(ReceiptLog, frozen=True, rename="camel", kw_only=True):
    """An event of an `eth_subscribe logs` notice."""

    block_hash: HexHash
    transaction_hash: HexHash
    removed: bool = False


_RECEIPT = _Shape(
    transaction_hash=_HASH,
    block_hash=_HASH,
    block_number=_HEIGHT,
    gas_used=_GAS,
    status=_QUANTITY,
    contract_address=_or_none(_ADDRESS),
)


class Receipt(Struct, frozen=True, rename="camel", gc=False):
    """An element of `eth_getBlockReceipts`."""

    transaction_hash: str
    block_hash: str
    block_number: str
    gas_used: str
    status: str
    logs: tuple[ReceiptLog, ...]
    contract_address: str | None = None

    def __post_init__(self) -> None:
        place = f"{self.transaction_hash} {self.block_hash} {self.block_number}"
        _RECEIPT.check(f"{place} {self.gas_used} {self.status} {self.contract_address!r}")

    @property
    def succeeded(self) -> bool:
        """Whether the message did what it was sent for."""
        return int(self.status, 16) == 1

    @property
    def created(self) -> Address | None:
        """The contract that the message made."""
        return self.contract_address.lower() if self.contract_address is not None and self.succeeded else None


class NativeReceipt(Struct, frozen=True, rename="pascal", gc=False):
    """An element of `Filecoin.ChainGetParentReceipts`."""

    exit_code: Annotated[int, Meta(ge=-(2**62), le=2**62)]
    gas_used: Annotated[int, Meta(ge=0, le=MOST_TIPSET_GAS)]
    events_root: Cid | None = None
    answer: str | None = field(name="Return", default=None)
    """What the actor returned, as base64."""


class EventEntry(Struct, frozen=True, rename="pascal"):
    """One key of a native event; EVM logs have the keys t1 to t4 and d."""

    key: str


class NativeEvent(Struct, frozen=True, rename="pascal"):
    """An element of `Filecoin.ChainGetEvents`."""

    entries: list[EventEntry]


class TraceAction(Struct, frozen=True, rename="camel"):
    """What a trace did: `init` of creations, `call_type` and `to` of calls."""

    sender: str = field(name="from", default="")
    to: str | None = None
    value: Quantity | None = None
    call_type: str = ""
    init: str = ""


class TraceResult(Struct, frozen=True, rename="camel"):
    """What came of it: the `address` of a creation."""

    address: HexAddress | None = None


class Trace(Struct, frozen=True, rename="camel"):
    """An element of `trace_block`: one call or creation inside a message."""

    type: str
    trace_address: Annotated[tuple[Annotated[int, Meta(ge=0, le=2**32)], ...], Meta(max_length=MOST_CALL_DEPTH)]
    transaction_hash: HexHash
    block_hash: HexHash
    action: TraceAction
    result: TraceResult | None = None
    error: str | None = None


class Actor(Struct, frozen=True, rename="pascal"):
    """`Filecoin.StateGetActor`."""

    balance: Amount
    delegated_address: str | None = None
    code: Cid | None = None


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def read(raw: Raw | bytes, shape: type[T], what: str) -> T:
    """`raw` as a `shape`.

    Raises:
        NodeFault: it is of another shape; the message names `what` was asked.
    """
    decoder = _decoders.get(shape)
    if decoder is None:
        decoder = _decoders[shape] = msgspec.json.Decoder(shape)
    try:
        return decoder.decode(raw)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NodeFault(f"{what}: the answer has another shape ({error})") from error


def tipset_hash(cids: list[Cid] | tuple[Cid, ...]) -> Hash:
    """The eth block hash of the tipset with this key: the blake2b-256 of the CBOR byte string of its block CIDs.

    Source: Lotus `types.TipSetKey.Cid` and `ethtypes.EthHashFromCid`.

    Raises:
        NodeFault: not base32.
    """
    try:
        key = b"".join(_base32(cid.text[1:]) for cid in cids)
    except ValueError as error:
        raise NodeFault(f"tipset key: {error}") from error
    return "0x" + hashlib.blake2b(_byte_string_head(len(key)) + key, digest_size=32).hexdigest()


def actor_id(address: Address) -> int | None:
    """The id in a masked address (`0xff` + 11 zero bytes + id), None for any other."""
    return int(address[len(MASK) :], 16) if address.startswith(MASK) else None


def may_have_eth_name(address: Address) -> bool:
    """Whether this masked id could be an EthAccount or a contract under its other name."""
    identifier = actor_id(address)
    return identifier is not None and identifier >= _FIRST_USER_ACTOR


def eth_name(delegated: str | None) -> Address | None:
    """The 0x form of an `f410…` address, None for any other."""
    match = re.fullmatch("[ft]410f([a-z2-7]{39})", delegated or "")
    return "0x" + _base32(match[1])[:20].hex() if match else None


def _byte_string_head(size: int) -> bytes:
    """How CBOR begins a string of so many bytes."""
    if size < 24:
        return bytes((0x40 + size,))
    if size < 1 << 8:
        return bytes((0x58, size))
    return b"\x59" + size.to_bytes(2, "big") if size < 1 << 16 else b"\x5a" + size.to_bytes(4, "big")


def _base32(text: str) -> bytes:
    return base64.b32decode(text.upper() + "=" * (-len(text) % 8))
