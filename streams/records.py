"""The records: all that the processors ever learn of the chain.

A record is self-contained: it can be stored, sent again, reordered and replayed years later, and it needs no node to be
understood. It names the heights that it speaks for; `sequence` says which of two records about one height is younger.

Amounts are integers in attoFIL; they do not fit 64 bits, and JSON (unlike MessagePack) carries integers of any size.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Struct

from streams.errors import RecordFault

VERSION = 1

Stream: TypeAlias = Literal["tipsets", "logs", "state"]
STREAMS: tuple[Stream, ...] = ("tipsets", "logs", "state")
COUNTED_STREAMS: tuple[Stream, ...] = ("tipsets", "logs")
"""The streams with a record for every tipset: they decide where to go on after a restart, and what coverage is."""

Address: TypeAlias = str
"""`0x` and 40 lower-case hex digits; an actor without such a form is its masked id, `0xff` + 11 zero bytes + id."""

Hash: TypeAlias = str
"""`0x` and 64 lower-case hex digits."""

NETWORK = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What a network may be called: its name is a label of every figure, and part of keys and topics."""

Height = Annotated[int, msgspec.Meta(ge=0, le=2**48)]


class Child(Struct, frozen=True):
    """A contract was announced by a factory: `factory` emitted an event whose first topic is `topic0`."""

    factory: Address
    topic0: Hash


class Contract(Struct, frozen=True, omit_defaults=True):
    """What the node's code at an address tells about its class; fetched once per contract by the follower.

    `selectors` and `topics` are those of `streams.evidence` that stand in the code (of the implementation, for a proxy);
    `interfaces` are the ERC-165 ids that `supportsInterface` confirmed. `child_of` is what a factory announced, `created_by` the
    contract that a trace saw creating this one.
    """

    address: Address
    code_hash: Hash
    implementation: Address | None = None
    selectors: tuple[str, ...] = ()
    topics: tuple[Hash, ...] = ()
    interfaces: tuple[str, ...] = ()
    child_of: Child | None = None
    created_by: Address | None = None


class Creation(Struct, frozen=True, array_like=True):
    """A contract that a tipset made. `message` is the place of the message in the record; `creator` is its sender or, for an
    `internal` creation, the contract that called for it. `code_hash` is None where there is no code any more.
    """

    address: Address
    creator: Address
    code_hash: Hash | None
    message: int
    internal: bool


class InnerBurn(Struct, frozen=True, array_like=True):
    """FIL that reached f099 by calls inside the message at the place `message` of the record, not by the message itself."""

    message: int
    value_attofil: int


class Message(Struct, frozen=True, array_like=True, gc=False):
    """One message of a tipset, with what its receipt says.

    `receiver` is None for a creation; `created` is the contract that a successful creation made. `gas_fee_cap` and
    `gas_premium` are attoFIL per unit of gas. `selector` is the first four bytes of the input as hex, `""` if shorter.
    """

    hash: Hash
    sender: Address
    receiver: Address | None
    creates: bool
    created: Address | None
    succeeded: bool
    gas_used: int
    gas_limit: int
    gas_fee_cap: int
    gas_premium: int
    value_attofil: int
    selector: str


class Log(Struct, frozen=True, array_like=True, gc=False):
    """One event of a receipt; `index` is its place in the receipts of the tipset, `transaction` the message's."""

    index: int
    transaction: int
    emitter: Address
    topics: tuple[Hash, ...]
    data: str


class Rail(Struct, frozen=True, array_like=True):
    """A rail of Filecoin Pay that is paid on: its number (as a topic), what token it pays in (the zero address: FIL), and who pays."""

    contract: Address
    number: Hash
    token: Address
    payer: Address


class TipsetRecord(Struct, frozen=True, tag="tipset", kw_only=True):
    """`height` holds this tipset; the heights between `parent_height` and it are null rounds.

    `parent_height` is None where the parent was not seen: then the record speaks for `height` alone. `contracts` has the
    evidence of every receiver or created address that has EVM code, so a receiver that is not listed is no contract.
    `burnt_rise_attofil` is how much the balance of f099 rose by executing this tipset, None where the node can not say.
    `noticed_at` is the Unix time at which the node first announced the tipset, 0 where it was filled in afterwards. `traced` says
    that the node told what ran inside of the messages: without it, `creations` are those of the receipts alone, and `inner_burns`
    are not known. Records of before there were creations have None for them.
    """

    version: int = VERSION
    network: str
    sequence: int
    height: Height
    parent_height: Height | None
    hash: Hash
    parent_hash: Hash
    timestamp_seconds: int
    noticed_at: float
    base_fee_attofil: int
    messages: tuple[Message, ...] = ()
    contracts: tuple[Contract, ...] = ()
    burnt_rise_attofil: int | None = None
    incomplete: bool = False
    creations: tuple[Creation, ...] | None = None
    inner_burns: tuple[InnerBurn, ...] = ()
    traced: bool = False


class LogsRecord(Struct, frozen=True, tag="logs", kw_only=True):
    """The events of one tipset, grouped; same heights and meaning as `TipsetRecord`, `contracts` for every emitter.

    `rails` are those that payments name, as far as a node told.
    """

    version: int = VERSION
    network: str
    sequence: int
    height: Height
    parent_height: Height | None
    hash: Hash
    noticed_at: float
    logs: tuple[Log, ...] = ()
    contracts: tuple[Contract, ...] = ()
    rails: tuple[Rail, ...] = ()


class StateRecord(Struct, frozen=True, tag="state", kw_only=True):
    """What was read of the state after one tipset; only tipsets at which something was due have such a record.

    `samples` are integers by name (amounts in attoFIL, others as `streams.sampling` lists them); `failed` names the probes that
    gave none. Heights as in `LogsRecord`.
    """

    version: int = VERSION
    network: str
    sequence: int
    height: Height
    parent_height: Height | None
    hash: Hash
    noticed_at: float
    timestamp_seconds: int
    samples: dict[str, int] = {}
    failed: tuple[str, ...] = ()


class Rewind(Struct, frozen=True, tag="rewind", kw_only=True):
    """Every height in `(height, top]` of `stream` is empty: not processed, not null."""

    version: int = VERSION
    network: str
    sequence: int
    stream: Stream
    height: int
    top: Height


Record: TypeAlias = TipsetRecord | LogsRecord | StateRecord | Rewind

_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()


class _Envelope(Struct, frozen=True):
    version: int = 0


_envelope = msgspec.json.Decoder(_Envelope)
_NOT_A_RECORD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def encode(record: Record) -> bytes:
    """The record as one line of JSON."""
    return _encoder.encode(record)


def decode(data: bytes) -> Record:
    """The record in `data`.

    Raises:
        RecordFault: not a record, or one of another version than this code's.
    """
    try:
        record = _decoder.decode(data)
    except _NOT_A_RECORD as error:
        raise RecordFault(_newer(_version(data)) or f"not a record: {error}") from error
    if fault := _newer(record.version):
        raise RecordFault(fault)
    return record


def _version(data: bytes) -> int:
    """The version in `data`, if it tells one: a newer record may have another shape."""
    try:
        return _envelope.decode(data).version
    except _NOT_A_RECORD:
        return 0


def _newer(version: int) -> str | None:
    return f"record of version {version}: this release reads up to {VERSION}, upgrade the workers first" if version > VERSION else None


def stream_of(record: Record) -> Stream:
    """The stream (and so the topic) that a record belongs to."""
    match record:
        case TipsetRecord():
            return "tipsets"
        case LogsRecord():
            return "logs"
        case StateRecord():
            return "state"
        case Rewind():
            return record.stream
