"""The naive recount: what the figures must be, counted from a recording by a path of its own.

Nothing of `streams` or `processors` is used, and no cleverness: the canonical chain is walked from the last head down, and every
figure is counted from blocks, receipts and code answers as they stand in the file.
"""

import base64
import gzip
import hashlib
import json
import lzma
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

EAM = "0xff0000000000000000000000000000000000000a"
F099 = "0xff00000000000000000000000000000000000063"

Figures = dict[str, Any]


def eth_hash(key: list[dict[str, str]]) -> str:
    """The eth block hash of a tipset key."""
    raw = b""
    for cid in key:
        text = cid["/"][1:].upper()
        raw += base64.b32decode(text + "=" * (-len(text) % 8))
    head = bytes([0x58, len(raw)]) if len(raw) < 256 else bytes([0x59, len(raw) >> 8, len(raw) & 255])
    return "0x" + hashlib.blake2b(head + raw, digest_size=32).hexdigest()


def message_burn(transaction: dict[str, str], receipt: dict[str, Any], base_fee: int) -> tuple[int, int]:
    """Base-fee burn and over-estimation burn of a message, in attoFIL."""
    used, limit = int(receipt["gasUsed"], 16), int(transaction["gas"], 16)
    if used == 0:
        return 0, 0
    fee = min(base_fee, int(transaction.get("maxFeePerGas") or transaction["gasPrice"], 16))
    over = min(limit - 11 * used // 10, used)
    wasted = (limit - used) * over // used if over >= 0 else 0
    return fee * used, fee * wasted


class Recount:
    """Counts a recording.

    Args:
        path: the file.
        class_of: names the class of a contract's address.
        native: whether `Filecoin.*` is used at all.
    """

    def __init__(self, path: Path, class_of: Callable[[str], str], *, native: bool = True) -> None:
        opener: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
        self.class_of = class_of
        self.native = native
        self.blocks: dict[str, Any] = {}
        self.receipts: dict[str, Any] = {}
        self.code: dict[str, str] = {}
        self.traces: dict[str, list[Any]] = {}
        balances: dict[str, int] = {}
        self.parents: dict[str, str] = {}
        self.burnt: dict[str, int] = {}
        self.tips: list[tuple[float, str]] = []
        with opener(path, "rt") as file:
            for line in file:
                self.take(json.loads(line), balances)
        for block, balance in balances.items():
            # On a devnet no cron burns in null rounds, so the balance after a tipset is one, whatever comes on top.
            assert self.burnt.setdefault(self.parents.get(block, ""), balance) == balance or block not in self.parents

    def place(self, tipset: dict[str, Any]) -> None:
        """The state before a tipset runs is that after its parent."""
        self.parents[eth_hash(tipset["Cids"])] = eth_hash(tipset["Blocks"][0]["Parents"])

    def take(self, line: dict[str, Any], balances: dict[str, int]) -> None:
        """One line of the recording; `balances` takes those of f099."""
        if line["kind"] == "frame":
            self.take_frame(line["t"], line["msg"])
        if line["kind"] != "rpc" or "error" in line:
            return
        match line["method"]:
            case "eth_getBlockByHash":
                self.blocks[line["params"][0]] = line["result"]
            case "eth_getBlockReceipts":
                self.receipts[line["params"][0]] = line["result"]
            case "trace_block":
                self.traces.setdefault(line["params"][0], []).append(line["result"])
            case "eth_getCode":
                self.code[line["params"][0].lower()] = line["result"]
            case "Filecoin.StateGetActor" if line["params"][0] == "f099" and self.native:
                balances[eth_hash(line["params"][1])] = int(line["result"]["Balance"])
            case "Filecoin.ChainGetTipSet":
                self.place(line["result"])

    def take_frame(self, seconds: float, message: dict[str, Any]) -> None:
        """What moves the head: ChainNotify, or newHeads where the node is not native."""
        if self.native and message.get("method") == "xrpc.ch.val":
            for change in message["params"][1]:
                self.place(change["Val"])
            applied = [change["Val"] for change in message["params"][1] if change["Type"] != "revert"]
            if applied:
                parents = applied[-1]["Blocks"][0]["Parents"]
                self.tips.append((seconds, eth_hash(parents)))
        if not self.native and message.get("method") == "eth_subscription" and "parentHash" in message["params"]["result"]:
            self.tips.append((seconds, message["params"]["result"]["hash"]))

    def chain(self, until: float = float("inf")) -> list[dict[str, Any]]:
        """The executed canonical blocks at a time, newest first, down to the lowest that the recording has."""
        block = [tip for seconds, tip in self.tips if seconds <= until][-1]
        found = []
        while block in self.blocks:
            found.append(self.blocks[block])
            block = self.blocks[block]["parentHash"]
        return found

    def figures(self, epochs: int, until: float = float("inf")) -> Figures:
        """Every figure over the window of so many epochs at a time."""
        chain = self.chain(until)
        head = int(chain[0]["number"], 16)
        inside = [block for block in chain if head - epochs < int(block["number"], 16) <= head]
        figures: Figures = {name: Counter() for name in ("messages", "failed", "gas", "burn", "events")}
        figures |= dict.fromkeys(("all_messages", "all_gas", "base_fee_burn", "over_estimation_burn", "deployments"), 0)
        figures |= dict.fromkeys(("rise", "rise_known", "sent"), 0)
        figures |= dict.fromkeys(("traced", "internal", "sent_inside"), 0)
        figures |= {name: set() for name in ("contracts", "codes", "deployers")}
        figures["senders"] = {}
        for block in inside:
            self.count(figures, block)
        heights = [int(block["number"], 16) for block in inside]
        lowest = max(head - epochs + 1, int(chain[-1]["number"], 16))
        figures |= {"head": head, "processed": len(heights), "null": head - lowest + 1 - len(heights)}
        return figures

    def earlier_deployers(self, epochs: int, back: int, until: float = float("inf")) -> set[str]:
        """Who made anything before the window of so many epochs, but no more than `back` from the head."""
        chain = self.chain(until)
        head = int(chain[0]["number"], 16)
        before = self.figures(0, until)
        for block in chain:
            if head - back < int(block["number"], 16) <= head - epochs:
                self.count(before, block)
        found: set[str] = before["deployers"]
        return found

    def new_deployers(self, epochs: int, back: int, until: float = float("inf")) -> int:
        """Deployers of a window who made nothing in the epochs before it, so many `back` from the head."""
        return len(self.figures(epochs, until)["deployers"] - self.earlier_deployers(epochs, back, until))

    def count(self, figures: Figures, block: dict[str, Any]) -> None:
        """Add one block."""
        receipts = {receipt["transactionHash"]: receipt for receipt in self.receipts[block["hash"]]}
        for transaction in block["transactions"]:
            self.count_message(figures, transaction, receipts[transaction["hash"]], int(block["baseFeePerGas"], 16))
        self.count_traces(figures, block, receipts)
        rise = self.rise(block["hash"])
        figures["rise"] += rise or 0
        figures["rise_known"] += rise is not None

    def count_traces(self, figures: Figures, block: dict[str, Any], receipts: dict[str, Any]) -> None:
        """Add what ran inside the block's messages, where an answer about this block was recorded."""
        for transaction in block["transactions"]:
            receipt = receipts[transaction["hash"]]
            if receipt["contractAddress"] and receipt["status"] == "0x1":
                self.count_creation(figures, transaction, receipt["contractAddress"])
        answers = self.traces.get(block["number"], [])
        told = [one for one in answers if (one[0]["blockHash"] == block["hash"] if one else not block["transactions"])]
        if not told:
            return
        figures["traced"] += 1
        for transaction in block["transactions"]:
            if receipts[transaction["hash"]]["status"] != "0x1":
                continue
            of = [one for one in told[0] if one["transactionHash"] == transaction["hash"]]
            for one in of:
                above = [other for other in of if one["traceAddress"][: len(other["traceAddress"])] == other["traceAddress"]]
                if not one["traceAddress"] or any(other.get("error") for other in above):
                    continue
                if one["type"] == "create" and not one["result"]["address"].startswith("0xff" + "00" * 11):
                    figures["internal"] += 1
                    self.count_creation(figures, transaction, one["result"]["address"])
                if one["type"] == "call" and one["action"]["callType"] == "call" and one["action"]["to"] == F099:
                    figures["sent_inside"] += int(one["action"]["value"], 16)

    def count_creation(self, figures: Figures, transaction: dict[str, Any], address: str) -> None:
        """Add who made it, and its code."""
        figures["deployers"].add(transaction["from"])
        if self.code.get(address.lower(), "0x") != "0x":
            figures["codes"].add(self.code[address.lower()])

    def rise(self, block: str) -> int | None:
        """How much f099 rose by a tipset, where the recording tells."""
        before, after = self.burnt.get(self.parents.get(block, "")), self.burnt.get(block)
        return after - before if before is not None and after is not None else None

    def count_message(self, figures: Figures, transaction: dict[str, Any], receipt: dict[str, Any], base_fee: int) -> None:
        """Add one message."""
        to, created = transaction["to"], receipt["contractAddress"] if receipt["status"] == "0x1" else None
        used = int(receipt["gasUsed"], 16)
        base, over = message_burn(transaction, receipt, base_fee)
        figures["all_messages"] += 1
        figures["all_gas"] += used
        figures["base_fee_burn"] += base
        figures["over_estimation_burn"] += over
        if to == F099 and receipt["status"] == "0x1":
            figures["sent"] += int(transaction["value"], 16)
        for log in receipt["logs"]:
            figures["events"][self.class_of(log["address"].lower())] += 1
        creates = to is None or to == EAM
        if not creates and self.code.get(to.lower(), "0x") == "0x":
            return
        contract = created if creates else to
        name = self.class_of(contract.lower()) if contract else "unknown"
        figures["deployments"] += creates and created is not None
        figures["messages"][name] += 1
        figures["failed"][name] += receipt["status"] != "0x1"
        figures["gas"][name] += used
        figures["burn"][name] += base + over
        figures["senders"].setdefault(name, set()).add(transaction["from"])
        if contract:
            figures["contracts"].add(contract.lower())
