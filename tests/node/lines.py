"""Lines of recordings made by hand."""

import json
from pathlib import Path
from typing import Any

from streams.recording import Recording, load
from tests.node.world import Tip

CHANNEL = 7
EMITTER, OTHER_EMITTER = "0x" + "e1" * 20, "0x" + "e2" * 20
TOPIC = "0x" + "70" * 32


def tipset(tip: Tip) -> dict[str, Any]:
    """A tipset as Lotus writes it."""
    parents = tip.parent.key if tip.parent is not None else []
    return {"Cids": tip.key, "Blocks": [{"Parents": parents, "Height": tip.height, "Timestamp": 30 * tip.height}], "Height": tip.height}


def notice(seconds: float, *changes: tuple[str, Tip]) -> dict[str, Any]:
    """A frame of ChainNotify."""
    told = [{"Type": kind, "Val": tipset(tip)} for kind, tip in changes]
    return {"t": seconds, "kind": "frame", "msg": {"jsonrpc": "2.0", "method": "xrpc.ch.val", "params": [CHANNEL, told]}}


def block(tip: Tip) -> dict[str, Any]:
    """An eth block with one message."""
    return {
        "hash": tip.hash,
        "parentHash": tip.parent.hash if tip.parent is not None else "0x" + "00" * 32,
        "number": hex(tip.height),
        "timestamp": hex(30 * tip.height),
        "transactions": [{"hash": message(tip), "chainId": "0x13a"}],
    }


def message(tip: Tip) -> str:
    """The hash of a tipset's one message."""
    return "0x" + tip.hash[2:][::-1]


def log(tip: Tip, emitter: str = EMITTER) -> dict[str, Any]:
    """An event of a tipset's message."""
    return {"address": emitter, "topics": [TOPIC], "data": "0x", "blockHash": tip.hash, "transactionHash": message(tip)}


def subscribed(seconds: float, result: dict[str, Any]) -> dict[str, Any]:
    """A frame of eth_subscribe: a header or a log."""
    params = {"subscription": "0x" + "01" * 32, "result": result}
    return {"t": seconds, "kind": "frame", "msg": {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}}


def asked(seconds: float, method: str, params: Any, **answer: Any) -> dict[str, Any]:
    """A question with its `result` or `error`."""
    return {"t": seconds, "kind": "rpc", "method": method, "params": params, **answer}


def body(seconds: float, tip: Tip) -> list[dict[str, Any]]:
    """The questions about a tipset by its hash: its block and its receipts, with two logs."""
    receipts = [{"transactionHash": message(tip), "blockHash": tip.hash, "logs": [log(tip), log(tip, OTHER_EMITTER)]}]
    return [
        asked(seconds, "eth_getBlockByHash", [tip.hash, True], result=block(tip)),
        asked(seconds, "eth_getBlockReceipts", [tip.hash], result=receipts),
    ]


def text(*lines: dict[str, Any]) -> bytes:
    """A recording of these lines."""
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def read(folder: Path, *lines: dict[str, Any]) -> Recording:
    """What `load` makes of these lines."""
    path = folder / "made.jsonl"
    path.write_bytes(text(*lines))
    return load(str(path))
