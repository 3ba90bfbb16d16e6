"""A chain that grows as a test says, and nodes that answer about it in plain calls: no network, no clock.

Every tipset has one message that calls a contract and one transfer to f099, so records are never empty and f099 reconciles.
"""

import base64
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from streams.wire import Cid, tipset_hash

CONTRACT = "0x" + "c0" * 20
PLAIN = "0x" + "aa" * 20
BURNT = "0xff00000000000000000000000000000000000063"
CODE = "0x6001600155"
LOG = {"address": CONTRACT, "topics": ["0x" + "11" * 32], "data": "0x"}
GAS_LIMIT, GAS_USED, BASE_FEE = 1200, 1000, 100
GAS_BURN = GAS_USED * BASE_FEE + BASE_FEE * 20
"""1,200 - 1,100 is 100 too much; 200 * 100 // 1,000 of it is burnt."""
SENT = 7
RISE = 2 * GAS_BURN + SENT


def cid(text: str) -> dict[str, str]:
    """A content identifier for a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return {"/": "b" + base64.b32encode(b"\x01\x71\xa0\xe4" + digest).decode().lower().rstrip("=")}


@dataclass(frozen=True, eq=False)
class Tip:
    """A tipset of the world."""

    height: int
    parent: "Tip | None"
    salt: int
    count: int
    """How many tipsets there are up to this one."""

    @cached_property
    def key(self) -> list[dict[str, str]]:
        """Its tipset key: one block."""
        return [cid(f"{self.height} {self.salt}")]

    @cached_property
    def hash(self) -> str:
        """Its eth hash."""
        return tipset_hash([Cid(one["/"]) for one in self.key])

    def ancestors(self) -> Iterator["Tip"]:
        """This tipset and all below it, downwards."""
        tip: Tip | None = self
        while tip is not None:
            yield tip
            tip = tip.parent

    @cached_property
    def burnt(self) -> int:
        """The balance of f099 before this tipset runs."""
        return RISE * self.count


@dataclass(slots=True)
class World:
    """All tipsets ever made, and which one is the head."""

    head: Tip = field(default_factory=lambda: Tip(0, None, 0, 1))
    by_hash: dict[str, Tip] = field(default_factory=dict)
    salts: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.by_hash[self.head.hash] = self.head

    def grow(self, nulls: int = 0, *, on: Tip | None = None) -> Tip:
        """A new tipset on `on` (the head), after so many null rounds."""
        parent = on or self.head
        tip = Tip(parent.height + 1 + nulls, parent, next(self.salts), parent.count + 1)
        self.by_hash[tip.hash] = tip
        return tip

    def advance(self, *nulls: int) -> None:
        """Grow the head, one tipset for each number of null rounds."""
        for count in nulls:
            self.head = self.grow(count)

    def below(self, depth: int) -> Tip:
        """The ancestor of the head `depth` tipsets down, the first tipset at most."""
        tips = list(self.head.ancestors())
        return tips[min(depth, len(tips) - 1)]

    def canonical(self) -> dict[int, str]:
        """The executed tipsets of the head's chain: hashes by height."""
        return {tip.height: tip.hash for tip in list(self.head.ancestors())[1:]}


class TooWideError(Exception):
    """More heights than the node tells logs of at once."""


class Node:
    """One node's view of a world: answers questions, and tells of new heads."""

    def __init__(self, world: World, *, native: bool = True, chain_id: int = 314) -> None:
        self.world = world
        self.native = native
        self.chain_id = chain_id
        self.head: Tip = world.head
        self.incomplete_reads = 0
        self.look_back_epochs: int | None = None
        self.log_range_epochs = 100
        self.lost_logs_of: str | None = None
        self.traces = True

    def answer(self, frame: bytes) -> list[bytes]:
        """The frames that this question brings: the answer, and what a subscription sends at once."""
        asked = json.loads(frame)
        method, params = asked["method"], asked["params"]
        if method.startswith("Filecoin.") and not self.native:
            return [self._error(asked["id"], -32601, f"method '{method}' not found")]
        try:
            self._check_look_back(params)
            result = getattr(self, "_" + method.replace("Filecoin.", "").lower())(*params)
        except TooWideError:
            return [self._error(asked["id"], -32005, "block range exceeds the maximum")]
        except (AttributeError, KeyError) as error:
            return [self._error(asked["id"], -32000, f"no answer: {error}")]
        frames = [json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()]
        if method == "Filecoin.ChainNotify":
            frames.append(self.notice([("current", self.head)]))
        return frames

    def _check_look_back(self, params: list[Any]) -> None:
        """Refuse what lies too far below the head, as public nodes do."""
        if self.look_back_epochs is None or not params:
            return
        tip = self.world.by_hash.get(params[0]) if isinstance(params[0], str) else None
        if isinstance(params[0], list):
            tip = self._by_key(params[0])
        if tip is not None and tip.height < self.head.height - self.look_back_epochs:
            raise KeyError("bad tipset height: lookbacks are disallowed")

    def see(self, head: Tip) -> list[bytes]:
        """The node's head becomes `head`: what it tells its subscribers."""
        old, new = list(self.head.ancestors()), list(head.ancestors())
        shared = set(old) & set(new)
        reverts = [tip for tip in old if tip not in shared]
        applies = [tip for tip in new if tip not in shared][::-1]
        self.head = head
        frames = [self._log(tip.parent, removed=True) for tip in reverts if tip.parent is not None]
        for tip in applies:
            if tip.parent is not None:
                frames += [self._new_head(tip.parent), self._log(tip.parent, removed=False)]
        if self.native:
            frames.append(self.notice([("revert", tip) for tip in reverts] + [("apply", tip) for tip in applies]))
        return frames

    def notice(self, changes: list[tuple[str, Tip]]) -> bytes:
        """A ChainNotify frame."""
        steps = [{"Type": kind, "Val": self._tipset(tip)} for kind, tip in changes]
        return json.dumps({"jsonrpc": "2.0", "method": "xrpc.ch.val", "params": [1, steps]}).encode()

    def _new_head(self, tip: Tip) -> bytes:
        params = {"subscription": "0x" + "01" * 32, "result": self._header(tip)}
        return json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}).encode()

    def _log(self, tip: Tip, *, removed: bool) -> bytes:
        log = {**LOG, "blockHash": tip.hash, "transactionHash": self._transaction(tip, 0)["hash"], "removed": removed, "logIndex": "0x0"}
        params = {"subscription": "0x" + "02" * 32, "result": log}
        return json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}).encode()

    @staticmethod
    def _error(number: int, code: int, message: str) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}).encode()

    @staticmethod
    def _tipset(tip: Tip) -> dict[str, Any]:
        parents = tip.parent.key if tip.parent is not None else []
        block = {"Parents": parents, "Height": tip.height, "Timestamp": tip.height * 30}
        return {"Cids": tip.key, "Blocks": [block], "Height": tip.height}

    @staticmethod
    def _header(tip: Tip) -> dict[str, Any]:
        return {
            "hash": tip.hash,
            "parentHash": tip.parent.hash if tip.parent is not None else "0x" + "0" * 64,
            "number": hex(tip.height),
            "timestamp": hex(tip.height * 30),
            "baseFeePerGas": hex(BASE_FEE),
        }

    def _by_key(self, key: list[dict[str, str]]) -> Tip:
        return self.world.by_hash[tipset_hash([Cid(one["/"]) for one in key])] if key else self.head

    def _by_block(self, block: dict[str, str]) -> Tip:
        return self._by_key([block])

    def _at(self, height: int, head: Tip) -> Tip | None:
        return next((tip for tip in head.ancestors() if tip.height == height), None)

    def _chainnotify(self) -> int:
        return 1

    def _statenetworkname(self) -> str:
        return "testworld"

    def _eth_chainid(self) -> str:
        return hex(self.chain_id)

    def _eth_subscribe(self, kind: str, _filter: object = None) -> str:
        return "0x" + ("01" if kind == "newHeads" else "02") * 32

    def _chaingettipset(self, key: list[dict[str, str]]) -> dict[str, Any]:
        return self._tipset(self._by_key(key))

    def _chaingettipsetafterheight(self, height: int, key: list[dict[str, str]]) -> dict[str, Any]:
        above = [tip for tip in self._by_key(key).ancestors() if tip.height >= height]
        if not above:
            raise KeyError(height)
        return self._tipset(above[-1])

    def _eth_getblockbynumber(self, number: str, _full: bool) -> dict[str, Any]:
        if number == "latest":
            assert self.head.parent is not None
            return self._header(self.head.parent)
        tip = self._at(int(number, 16), self.head)
        if tip is None:
            raise KeyError(number)
        return self._header(tip)

    def _eth_getblockbyhash(self, block: str, _full: bool) -> dict[str, Any]:
        tip = self.world.by_hash[block]
        return {**self._header(tip), "transactions": [self._transaction(tip, place) for place in range(2)]}

    @staticmethod
    def _transaction(tip: Tip, place: int) -> dict[str, Any]:
        return {
            "hash": "0x" + hashlib.sha256(f"{tip.hash} {place}".encode()).hexdigest(),
            "from": f"0x{tip.height % 7:040x}",
            "to": (CONTRACT, BURNT)[place],
            "value": hex((0, SENT)[place]),
            "gas": hex(GAS_LIMIT),
            "maxFeePerGas": hex(10**6),
            "maxPriorityFeePerGas": "0x1",
            "input": "0x12345678",
        }

    def _eth_getblockreceipts(self, block: str) -> list[dict[str, Any]]:
        tip = self.world.by_hash[block]
        receipts = []
        for place in range(2):
            logs = [LOG] if place == 0 and tip.hash != self.lost_logs_of else []
            receipts.append(
                {
                    "transactionHash": self._transaction(tip, place)["hash"],
                    "blockHash": tip.hash,
                    "blockNumber": hex(tip.height),
                    "gasUsed": hex(GAS_USED),
                    "status": "0x1",
                    "logs": logs,
                }
            )
        if self.incomplete_reads > 0:
            self.incomplete_reads -= 1
            receipts.pop()
        return receipts

    def _trace_block(self, number: str) -> list[dict[str, Any]]:
        if not self.traces:
            raise KeyError("trace_block")
        tip = self._at(int(number, 16), self.head)
        if tip is None:
            raise KeyError(number)
        traces = []
        for place in range(2):
            sent = self._transaction(tip, place)
            action = {"callType": "call", "from": sent["from"], "to": sent["to"], "value": sent["value"], "input": "0x"}
            head = {"type": "call", "traceAddress": [], "action": action, "result": {"gasUsed": "0x1", "output": "0x"}}
            traces.append({**head, "blockHash": tip.hash, "transactionHash": sent["hash"], "transactionPosition": place + 1})
        return traces

    def _eth_getlogs(self, wanted: dict[str, str]) -> list[dict[str, Any]]:
        low, high = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
        if high - low + 1 > self.log_range_epochs:
            raise TooWideError
        assert self.head.parent is not None
        tips = [tip for tip in self.head.parent.ancestors() if low <= tip.height <= high]
        return [{**LOG, "blockHash": tip.hash} for tip in tips]

    def _chaingetparentreceipts(self, block: dict[str, str]) -> list[dict[str, Any]]:
        assert self._by_block(block).parent is not None
        return [{"ExitCode": 0, "GasUsed": GAS_USED, "EventsRoot": None}] * 2

    def _stategetactor(self, _actor: str, key: list[dict[str, str]]) -> dict[str, Any]:
        return {"Balance": str(self._by_key(key).burnt), "DelegatedAddress": None}

    def _eth_getcode(self, address: str, _tag: str) -> str:
        return CODE if address == CONTRACT else "0x"

    def _eth_getstorageat(self, _address: str, _slot: str, _tag: str) -> str:
        return "0x" + "0" * 64

    def _eth_call(self, _call: object, _tag: str) -> str:
        return "0x"
