"""A node of the simulated chain: what it answers, what it announces, and the ways in which it is wrong.

Every fault is one that a client can tell from the truth, now or once it reads again; a node that lies consistently is beyond
anybody with one node.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec

from streams.wire import Cid, tipset_hash
from tests.node.world import cid
from tests.simulation.chain import ACCOUNTS, CODES, Chain, Tip, class_of

_encode = msgspec.json.encode
_Asked = tuple[int, str, list[Any]]


class _Request(msgspec.Struct):
    id: int
    method: str
    params: list[Any] = []


class No(Exception):
    """The node answers with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Faults:
    """How often a node does what; probabilities per answer or notice."""

    error: float = 0.0
    too_many: float = 0.0
    nothing: float = 0.0
    drop: float = 0.0
    twice: float = 0.0
    slow: float = 0.0
    other_tipset: float = 0.0
    stale: float = 0.0
    garbage: float = 0.0
    late_logs: float = 0.0
    lost_notice: float = 0.0
    repeated_notice: float = 0.0

    @classmethod
    def drawn(cls, rng: random.Random) -> "Faults":
        """Some kinds of faults, seldom or often."""
        often = rng.choice([0.0, 0.01, 0.05, 0.15])
        return cls(**{one.name: often * rng.random() if rng.random() < 0.4 else 0.0 for one in fields(cls)})


@dataclass
class Node:
    """One node: its view of the chain, and how it misbehaves."""

    chain: Chain
    rng: random.Random
    native: bool
    faults: Faults
    null_rounds_answer_the_previous: bool = False
    look_back_epochs: int | None = None
    head: Tip = field(init=False)
    near_epochs: int = 0
    """How deep a tipset of a node with eth methods alone may lie and be told without its logs."""
    told_late: set[str] = field(default_factory=set)
    """The tipsets that it told so."""
    broken: float = 0.0
    """The share of tipsets whose receipts it refuses, the same ones each time."""
    down: bool = False
    mute: bool = False
    silent: bool = False
    late: dict[str, float] = field(default_factory=dict)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.head = self.chain.head

    def answer(self, frame: bytes) -> list[bytes]:
        """The frames that a question brings."""
        asked = msgspec.json.decode(frame, type=_Request)
        rng, faults = self.rng, self.faults
        if self.silent or rng.random() < faults.drop:
            return []
        if rng.random() < faults.garbage:
            return [rng.choice([b"{", b"[1]", b"\xff", b'{"id":1,"result":' + b"[" * 2000, b'{"method":"xrpc.ch.val","params":[1,[{}]]}'])]
        try:
            answer = self._frame(asked.id, self._answer(asked.method, asked.params))
        except No as no:
            answer = _encode({"jsonrpc": "2.0", "id": asked.id, "error": {"code": no.code, "message": str(no)}})
        frames = [answer] * (2 if rng.random() < faults.twice else 1)
        if asked.method == "Filecoin.ChainNotify" and self.native:
            frames.append(self.notice([("current", self.head)]))
        return frames

    @staticmethod
    def _frame(number: int, result: Any) -> bytes:
        return _encode({"jsonrpc": "2.0", "id": number, "result": result})

    def _answer(self, method: str, params: list[Any]) -> Any:
        rng, faults = self.rng, self.faults
        if method.startswith("Filecoin.") and not self.native:
            raise No(-32601, f"method '{method}' not found")
        greets = method in {"eth_chainId", "eth_subscribe", "Filecoin.ChainNotify", "Filecoin.StateNetworkName"}
        if not greets and rng.random() < faults.error:
            raise No(-32000, "something is wrong")
        if rng.random() < faults.too_many:
            raise No(rng.choice([429, -32005]), "too many requests")
        if not greets and rng.random() < faults.nothing:
            return None
        told = getattr(self, "_" + method.replace("Filecoin.", "").lower(), None)
        if told is None:
            raise No(-32601, f"method '{method}' not found")
        return told(*params)

    # What it announces

    def see(self, head: Tip) -> list[bytes]:
        """Its head becomes `head`: what it tells its subscribers."""
        reverts, applies = _way(self.head, head)
        self.head = head
        frames = [log for tip in reverts if tip.parent is not None for log in self._logs(tip.parent, removed=True)]
        for tip in applies:
            if tip.parent is not None:
                frames += [self._new_head(tip.parent), *self._logs(tip.parent, removed=False)]
        if self.native:
            frames.append(self.notice([("revert", tip) for tip in reverts] + [("apply", tip) for tip in applies]))
        if self.mute or self.silent:
            return []
        told = [one for one in frames if self.rng.random() >= self.faults.lost_notice]
        return [one for one in told for _ in range(2 if self.rng.random() < self.faults.repeated_notice else 1)]

    def notice(self, changes: Iterable[tuple[str, Tip]]) -> bytes:
        """A frame of ChainNotify."""
        steps = [{"Type": kind, "Val": tip.tipset} for kind, tip in changes]
        return _encode({"jsonrpc": "2.0", "method": "xrpc.ch.val", "params": [1, steps]})

    def _new_head(self, tip: Tip) -> bytes:
        return self._subscribed("01", tip.header)

    def _logs(self, tip: Tip, *, removed: bool) -> list[bytes]:
        return [
            self._subscribed("02", {**log, "blockHash": tip.hash, "transactionHash": receipt["transactionHash"], "removed": removed})
            for _, receipt in tip.messages
            for log in receipt["logs"]
        ]

    @staticmethod
    def _subscribed(subscription: str, result: Any) -> bytes:
        return _encode(
            {"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": "0x" + subscription * 32, "result": result}}
        )

    # What it answers

    def _tip(self, block: str) -> Tip:
        tip = self.chain.by_hash.get(block)
        if tip is None:
            raise No(-32000, "block not found")
        if self.rng.random() < self.faults.other_tipset and tip.parent is not None:
            return tip.parent
        return self._checked(tip)

    def _key(self, key: list[dict[str, str]]) -> Tip:
        tip = self.chain.by_hash.get(tipset_hash([Cid(one["/"]) for one in key])) if key else self.head
        if tip is None:
            raise No(-32000, "blockstore: block not found")
        return self._checked(tip)

    def _checked(self, tip: Tip) -> Tip:
        if self.look_back_epochs is not None and tip.height < self.head.height - self.look_back_epochs:
            raise No(-32000, "bad tipset height: lookbacks of more than that are disallowed")
        return tip

    def _chainnotify(self) -> int:
        return 1

    def _statenetworkname(self) -> str:
        return "mainnet"

    def _eth_chainid(self) -> str:
        return hex(314)

    def _eth_subscribe(self, kind: str, _filter: object = None) -> str:
        return "0x" + ("01" if kind == "newHeads" else "02") * 32

    def _chaingettipset(self, key: list[dict[str, str]]) -> dict[str, Any]:
        return self._key(key).tipset

    def _chaingettipsetafterheight(self, height: int, key: list[dict[str, str]]) -> dict[str, Any]:
        return self._checked(self._key(key).at(height)).tipset

    def _eth_getblockbynumber(self, number: str, _full: bool) -> dict[str, Any]:
        executed = self.head.parent or self.head
        if number == "latest":
            stale = executed.parent if self.rng.random() < self.faults.stale else None
            return (stale or executed).header
        height = int(number, 16)
        tip = executed.at(height)
        if height > executed.height:
            raise No(-32000, "requested a future epoch (beyond 'latest')")
        if tip.height == height:
            return self._checked(tip).header
        if not self.null_rounds_answer_the_previous:
            raise No(12, "requested epoch was a null round")
        return self._checked(tip.parent or tip).header

    def _eth_getblockbyhash(self, block: str, _full: bool) -> dict[str, Any]:
        tip = self._tip(block)
        return {**tip.header, "transactions": [transaction for transaction, _ in tip.messages]}

    def _eth_getblockreceipts(self, block: str) -> list[dict[str, Any]]:
        tip = self._tip(block)
        if self.broken and int(tip.hash[-6:], 16) < self.broken * 2**24:
            raise No(-32000, "failed to load events")
        near = self.head.height - tip.height <= self.near_epochs
        if (self.native or near) and self.rng.random() < self.faults.late_logs:
            self.late.setdefault(tip.hash, self.now + self.rng.choice([1.0, 3.0, 60.0] if self.native else [3.0, 60.0, 300.0]))
        if self.late.get(tip.hash, 0.0) > self.now:
            self.told_late.add(tip.hash)
            return [{**receipt, "logs": []} for _, receipt in tip.messages]
        return [receipt for _, receipt in tip.messages]

    def _eth_getlogs(self, wanted: dict[str, str]) -> list[dict[str, Any]]:
        low, high = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
        if high - low + 1 > 100:
            raise No(-32005, "block range exceeds the maximum")
        assert self.head.parent is not None
        tips = [tip for tip in self.head.parent.ancestors() if low <= tip.height <= high]
        return [{**log, "blockHash": tip.hash} for tip in tips for _, receipt in tip.messages for log in receipt["logs"]]

    def _chaingetparentreceipts(self, block: dict[str, str]) -> list[dict[str, Any]]:
        tip = self._key([block]).parent
        if tip is None:
            raise No(-32000, "no parent")
        return [
            {
                "ExitCode": 0,
                "GasUsed": int(receipt["gasUsed"], 16),
                "EventsRoot": cid(f"{tip.hash} {place}") if receipt["logs"] else None,
            }
            for place, (_, receipt) in enumerate(tip.messages)
        ]

    def _chaingetevents(self, _root: dict[str, str]) -> list[dict[str, Any]]:
        return [{"Entries": [{"Key": "t1"}]}]

    def _stategetactor(self, actor: str, key: list[dict[str, str]]) -> dict[str, Any]:
        balance = self._key(key).burnt if actor == "f099" else 5
        return {"Balance": str(balance), "DelegatedAddress": None}

    def _eth_getcode(self, address: str, at: str | dict[str, str]) -> str:
        if address in ACCOUNTS:
            return "0x"
        executed = (self.head.parent or self.head) if isinstance(at, str) else self._tip(at["blockHash"])
        return CODES[class_of(address)] if address in executed.made else "0x"

    def _eth_getstorageat(self, _address: str, _slot: str, _at: object) -> str:
        return "0x" + "0" * 64

    def _eth_call(self, _call: object, _at: object) -> str:
        return "0x"


def _way(old: Tip, new: Tip) -> tuple[list[Tip], list[Tip]]:
    """What is reverted (highest first) and applied (lowest first) from one head to another."""
    reverts, applies = [], []
    below, above = old, new
    while below is not above:
        if below.height >= above.height and below.parent is not None:
            reverts.append(below)
            below = below.parent
        else:
            assert above.parent is not None
            applies.append(above)
            above = above.parent
    return reverts, applies[::-1]
