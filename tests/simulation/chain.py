"""A chain that grows as a seed says: tipsets with messages, logs and creations from a small vocabulary, and what they come to.

The right-hand side of every comparison is here: `expected` counts one tipset by the naive path (`tests.recount`), with nothing of
the product in between.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from streams.evidence import STANDARDS, selector_of
from streams.wire import Cid, tipset_hash
from tests.node.world import cid
from tests.recount import EAM, F099, message_burn

ACCOUNTS = [f"0x{number:040x}" for number in range(1, 8)]
MASKED = [f"0xff{number:038x}" for number in (1000, 1001)]
"""Actors without an eth name: miners, BLS accounts."""
TOKEN, PLAIN = "0x" + "c0" * 20, "0x" + "c1" * 20
CODES = {
    "token": "0x" + "".join(f"63{selector_of(one)[2:]}14" for shape in STANDARDS if shape.name == "ERC-20" for one in shape.functions),
    "unknown": "0x6001600155",
}
CLASSES = {TOKEN: "token", PLAIN: "unknown"}
REMEMBERED = 4
"""How many contracts that were made on the way are called later."""


def class_of(address: str) -> str:
    """The class of a contract, as its code shows it."""
    return CLASSES.get(address, "token" if int(address[-1], 16) % 2 else "unknown")


@dataclass(frozen=True, eq=False)
class Tip:
    """A tipset; `weight` bounds its messages."""

    seed: int
    height: int
    parent: "Tip | None"
    salt: int
    weight: int

    @cached_property
    def key(self) -> list[dict[str, str]]:
        """Its key: one block."""
        return [cid(f"{self.seed} {self.height} {self.salt}")]

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

    def at(self, height: int) -> "Tip":
        """The lowest ancestor at or above `height`."""
        tip = self
        while tip.parent is not None and tip.parent.height >= height:
            tip = tip.parent
        return tip

    @cached_property
    def base_fee(self) -> int:
        """In attoFIL per unit of gas."""
        return 100 + self.salt % 50

    @cached_property
    def contracts(self) -> tuple[str, ...]:
        """The contracts that may be called in it: made before it."""
        if self.parent is None:
            return (TOKEN, PLAIN)
        made = [receipt["contractAddress"] for _, receipt in self.parent.messages if receipt["contractAddress"]]
        return (TOKEN, PLAIN, *(*self.parent.contracts[2:], *made)[-REMEMBERED:])

    @cached_property
    def made(self) -> frozenset[str]:
        """Every contract that exists after it."""
        own = frozenset(receipt["contractAddress"] for _, receipt in self.messages if receipt["contractAddress"])
        before = self.parent.made if self.parent is not None else frozenset(CLASSES)
        return before | own if own else before

    @cached_property
    def messages(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Its messages with their receipts, as a node tells them."""
        rng = random.Random(f"{self.seed} {self.salt}")
        return [self._message(rng, place) for place in range(rng.randrange(self.weight + 1))] if self.parent is not None else []

    def _message(self, rng: random.Random, place: int) -> tuple[dict[str, Any], dict[str, Any]]:
        name = "0x" + hashlib.sha256(f"{self.hash} {place}".encode()).hexdigest()
        to = rng.choice([*self.contracts, *self.contracts, None, EAM, F099, *ACCOUNTS[:3], *MASKED])
        limit = rng.randrange(1000, 5000)
        used = rng.choice([0, limit, rng.randrange(1, limit)])
        succeeded = used > 0 and rng.random() < 0.8
        created = "0x" + hashlib.sha256(name.encode()).hexdigest()[:40] if succeeded and (to is None or to == EAM) else None
        transaction = {
            "hash": name,
            "from": rng.choice([*ACCOUNTS, *MASKED]),
            "to": to,
            "value": hex(rng.randrange(10**18)),
            "gas": hex(limit),
            "maxFeePerGas": hex(rng.choice([50, 10**6])),
            "maxPriorityFeePerGas": "0x1",
            "input": rng.choice(["0x", "0x12345678"]),
        }
        logs: list[dict[str, Any]] = []
        if succeeded and to in self.contracts:
            emitters = rng.choices(self.contracts, k=rng.randrange(3))
            logs = [{"address": one, "topics": [f"0x{number:064x}"], "data": "0x"} for number, one in enumerate(emitters)]
        receipt = {
            "transactionHash": name,
            "blockHash": self.hash,
            "blockNumber": hex(self.height),
            "gasUsed": hex(used),
            "status": "0x1" if succeeded else "0x0",
            "contractAddress": created,
            "logs": logs,
        }
        return transaction, receipt

    @cached_property
    def header(self) -> dict[str, Any]:
        """It as `newHeads` announces it."""
        return {
            "hash": self.hash,
            "parentHash": self.parent.hash if self.parent is not None else tipset_hash([]),
            "number": hex(self.height),
            "timestamp": hex(self.height * 30),
            "baseFeePerGas": hex(self.base_fee),
            "logsBloom": "0x" + "ff" * 256,
        }

    @cached_property
    def tipset(self) -> dict[str, Any]:
        """It as Lotus tells it."""
        parents = self.parent.key if self.parent is not None else []
        block = {"Parents": parents, "Height": self.height, "Timestamp": self.height * 30}
        return {"Cids": self.key, "Blocks": [block], "Height": self.height}

    @cached_property
    def expected(self) -> "Expected":
        """What it comes to, counted naively."""
        return _expected(self)

    @cached_property
    def burnt(self) -> int:
        """The balance of f099 before it runs."""
        return self.parent.burnt + self.parent.expected.rise if self.parent is not None else 10**24


@dataclass(slots=True)
class Expected:
    """What a tipset comes to: sums and members by the names that the folds use, events by class, and the rise of f099."""

    sums: Counter[str] = field(default_factory=Counter)
    members: dict[str, set[str]] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    rise: int = 0


def _expected(tip: Tip) -> Expected:
    found = Expected()
    for transaction, receipt in tip.messages:
        _count(found, tip, transaction, receipt)
    return found


def _count(found: Expected, tip: Tip, transaction: dict[str, Any], receipt: dict[str, Any]) -> None:
    sums, to, made = found.sums, transaction["to"], receipt["contractAddress"]
    base, over = message_burn(transaction, receipt, tip.base_fee)
    sums["all_messages"] += 1
    sums["all_gas"] += int(receipt["gasUsed"], 16)
    sums["all_base_fee_burn"] += base
    sums["all_over_estimation_burn"] += over
    found.rise += base + over
    if to == F099 and receipt["status"] == "0x1":
        found.rise += int(transaction["value"], 16)
    for log in receipt["logs"]:
        found.events[f"events:{class_of(log['address'])}"] += 1
    creates = to is None or to == EAM
    if not creates and to not in tip.contracts:
        return
    contract = made if creates else to
    name = class_of(contract) if contract else "unknown"
    sums["deployments:direct"] += creates and made is not None
    sums[f"messages:{name}"] += 1
    sums[f"failed:{name}"] += receipt["status"] != "0x1"
    sums[f"gas:{name}"] += int(receipt["gasUsed"], 16)
    sums[f"burn:{name}"] += base + over
    for kind in ("sender", f"sender:{name}"):
        found.members.setdefault(kind, set()).add(transaction["from"])
    if contract:
        found.members.setdefault("contract", set()).add(contract)


class Chain:
    """All tipsets ever made, and which one is the head; nothing deeper than finality below the highest head ever changes."""

    def __init__(self, seed: int, height: int, weight: int, finality_epochs: int) -> None:
        self._seed = seed
        self._weight = weight
        self._finality_epochs = finality_epochs
        self._salt = 0
        self.head = Tip(seed, height, None, 0, weight)
        self.top = height
        self.by_hash = {self.head.hash: self.head}

    def grow(self, on: Tip, nulls: int = 0) -> Tip:
        """A new tipset on `on`, after so many null rounds."""
        self._salt += 1
        tip = Tip(self._seed, on.height + 1 + nulls, on, self._salt, self._weight)
        # Now, while those of its parent are known: later it would be a deep recursion.
        assert tip.burnt > 0
        assert tip.made
        self.by_hash[tip.hash] = tip
        return tip

    def advance(self, nulls: int = 0) -> None:
        """Grow the head."""
        self.move(self.grow(self.head, nulls))

    def move(self, head: Tip) -> None:
        """The head is another."""
        self.head = head
        self.top = max(self.top, head.height)

    def below(self, epochs: int) -> Tip:
        """An ancestor of the head, so many epochs down; never one in what is final."""
        return self.head.at(max(self.head.height - epochs, self.top - self._finality_epochs + 1))

    def canonical(self) -> dict[int, Tip]:
        """The executed tipsets of the head's chain, by height."""
        assert self.head.parent is not None
        return {tip.height: tip for tip in self.head.parent.ancestors()}
