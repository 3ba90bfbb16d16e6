"""One endpoint's JSON-RPC session, without the wire: numbers requests, matches answers, types the notices."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from streams.errors import Oversize, Refusal
from streams.wire import EthHeader, HeadChange, StreamedLog, read

MAX_FRAME_BYTES = 32 * 2**20
"""A block of 10,000 messages with its receipts is about 20 MiB."""
OVERSIZE = f"a frame of more than {MAX_FRAME_BYTES} bytes"

SHOWN_LETTERS = 200

NULL_ROUND = 12
"""Lotus: the requested epoch had no tipset."""
RANGE_TOO_WIDE = -32005
NO_SUCH_METHOD = -32601
_LIMITS = (429, RANGE_TOO_WIDE)
"""-32005 is "limit exceeded" (EIP-1474) where no range was asked for."""
_LIMITED = re.compile(r"too many requests|rate limit|limit exceeded|(status|code|error|http)\W*429\b", re.IGNORECASE)
"""The bare number is no limit: it may be a height."""
_PASSING = (502, 503, 504)
"""HTTP statuses that gateways pass on as codes."""


@dataclass(frozen=True, slots=True)
class Call:
    """A question to the node; after `patience_seconds` it counts as refused, without them a missing answer ends the whole fetch."""

    method: str
    params: tuple[Any, ...] = ()
    patience_seconds: float | None = None


class RpcError(Struct, frozen=True):
    """The error object of a JSON-RPC answer."""

    code: int = 0
    message: str = ""

    @property
    def shown(self) -> str:
        """As much of the message as fits a line, in whole words: half of a token that a node says back would not be known as one."""
        message = self.message if len(self.message) <= SHOWN_LETTERS else self.message[:SHOWN_LETTERS].rpartition(" ")[0]
        return message or "error"

    @property
    def limited(self) -> bool:
        """Whether the node wants to be asked less: it says nothing of what it was asked."""
        return self.code in _LIMITS or _LIMITED.search(self.message) is not None

    @property
    def passing(self) -> bool:
        """Whether it may answer the next time: it limits how much it is asked, or what is behind it does not answer."""
        waits = any(one in self.message.lower() for one in ("try again", "timeout", "timed out"))
        return self.limited or self.code in _PASSING or waits

    @property
    def unserved(self) -> bool:
        """Whether the node does not offer the method at all, so that asking again is no use."""
        text = self.message.lower()
        refusals = ("not supported", "not allowed", "not available", "not whitelisted", "forbidden", "unauthorized", "missing permission")
        return self.code == NO_SUCH_METHOD or any(one in text for one in refusals)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a call: one of `result` and `error`."""

    call: Call
    result: Raw | None = None
    error: RpcError | None = None
    oversize: bool = False
    """Whether the answer was too long to be read; then there is an error."""

    def required(self) -> Raw:
        """The result.

        Raises:
            Refusal: the node answered with an error, or with nothing.
            Oversize: the answer was too long.
        """
        if self.oversize:
            raise Oversize(f"{self.call.method}: the answer is {OVERSIZE}")
        if self.result is None:
            error = self.error or RpcError(message="no result")
            said = f"{self.call.method}: {error.shown} (code {error.code})"
            raise Refusal(said, busy=error.limited, passing=error.passing)
        return self.result


@dataclass(frozen=True, slots=True)
class HeadChanges:
    """A `ChainNotify` notice: what to revert and apply, in order."""

    changes: tuple[HeadChange, ...]


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """The node ended the `ChainNotify` channel (a slow reader, or a shutdown)."""


Notice: TypeAlias = HeadChanges | ChannelClosed | EthHeader | StreamedLog


_ABSENT, _NULL = Raw(), Raw(b"null")


class _Frame(Struct):
    id: int | str | None = None
    method: str = ""
    params: Raw = _NULL
    result: Raw = _ABSENT
    error: RpcError | None = None


class _Subscription(Struct):
    subscription: str
    result: Raw


class _LogMark(Struct, rename="camel"):
    transaction_hash: str | None = None


class Session:
    """The requests in flight on one connection, and its subscriptions by their ids."""

    def __init__(self) -> None:
        self._next_id = 1
        self._waiting: dict[int, Call] = {}

    def request(self, call: Call) -> tuple[int, bytes]:
        """The number and the frame of a new request."""
        number, self._next_id = self._next_id, self._next_id + 1
        self._waiting[number] = call
        return number, msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": call.method, "params": call.params})

    def forget(self, number: int) -> None:
        """Stop waiting for an answer; a late one is ignored."""
        self._waiting.pop(number, None)

    def receive(self, data: bytes | str) -> Iterator[tuple[int, Answer] | Notice]:
        """What a frame says: answers with their numbers, and notices. A batch is several.

        Raises:
            Oversize: the frame is too long.
            NodeFault: it is not JSON, or not JSON-RPC.
        """
        if len(data) > MAX_FRAME_BYTES:
            raise Oversize(f"the node sent {OVERSIZE}")
        raw = data.encode() if isinstance(data, str) else data
        frames = read(raw, list[_Frame], "frame") if raw.lstrip()[:1] == b"[" else [read(raw, _Frame, "frame")]
        for frame in frames:
            said = self._one(frame)
            if said is not None:
                yield said

    def _one(self, frame: _Frame) -> tuple[int, Answer] | Notice | None:
        match frame.method:
            case "xrpc.ch.val":
                _, changes = read(frame.params, tuple[int, tuple[HeadChange, ...]], "ChainNotify")
                return HeadChanges(changes)
            case "xrpc.ch.close":
                return ChannelClosed()
            case "eth_subscription":
                return self._subscribed(frame)
        if not isinstance(frame.id, int):
            return None
        call = self._waiting.pop(frame.id, None)
        if call is None:
            return None
        said = frame.error is None and frame.result not in (_ABSENT, _NULL)
        return frame.id, Answer(call, frame.result if said else None, frame.error)

    @staticmethod
    def _subscribed(frame: _Frame) -> Notice:
        result = read(frame.params, _Subscription, "eth_subscription").result
        # The node may notify before it has answered the subscription, so the kind is read off the value.
        if read(result, _LogMark, "eth_subscription").transaction_hash is not None:
            return read(result, StreamedLog, "eth_subscribe logs")
        return read(result, EthHeader, "eth_subscribe newHeads")
