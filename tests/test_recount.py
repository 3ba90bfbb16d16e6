"""The naive recount, against vectors, what the chain says was burnt, and figures counted by hand."""

import ast
import json
import lzma
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests import recount
from tests.recount import EAM, F099, Recount, eth_hash, message_burn

ROOT = Path(__file__).parents[1]
BUNDLED = ROOT / "streams" / "recordings" / "devnet.jsonl.xz"
ALICE, BOB, TOKEN, MADE = ("0x" + pair * 20 for pair in ("aa", "bb", "c0", "c1"))
BASE_FEE = 100

NAMES = ("processed", "null", "all_messages", "all_gas", "base_fee_burn", "over_estimation_burn", "rise", "sent", "deployments")
TRACED = {20: (19, 0, 0, 0, 0), 120: (110, 46, 0, 2, 30), 400: (350, 211, 0, 2, 79)}
"""Traced tipsets, internal deployments, attoFIL sent to f099 inside of messages, distinct codes and deployers, by epochs."""
TOTALS = {
    20: (19, 1, 0, 0, 0, 0, 0, 0, 0),
    120: (110, 10, 475, 6484096558, 648736409053, 1985796412976, 2634532822047, 18, 10),
    400: (350, 50, 1866, 24691868841, 2469513637353, 8174110702276, 10643624339701, 72, 38),
}
"""What the bundled recording holds at its end."""


@cache
def bundled(*, native: bool = True) -> Recount:
    """The bundled recording, classes by address."""
    return Recount(BUNDLED, lambda address: address, native=native)


def test_shares_no_code_with_what_it_checks() -> None:
    """Only the standard library is imported."""
    tree = ast.parse(Path(recount.__file__).read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_tipset_keys_give_the_hashes_of_the_recorded_map() -> None:
    """Every line of kind `map` agrees."""
    with lzma.open(BUNDLED, "rt") as file:
        maps = [line for line in map(json.loads, file) if line["kind"] == "map"]
    assert len(maps) > 600
    assert all(eth_hash(line["tsk"]) == line["hash"] for line in maps)


@pytest.mark.parametrize(
    "used, limit, fee_cap, base, over",
    [
        # Lotus chain/vm/burn_test.go TestGasOutputs, base fee 10.
        (100, 110, 11, 1000, 0),
        (100, 130, 11, 1000, 60),
        (100, 110, 10, 1000, 0),
        (100, 110, 6, 600, 0),
        # TestGasBurn, at the same fee.
        (100, 200, 11, 1000, 900),
        (100, 150, 11, 1000, 200),
        (1000, 1300, 11, 10000, 600),
        (500, 651, 11, 5000, 300),
        (500, 5000, 11, 5000, 45000),
        (1, 7500000000, 11, 10, 74999999990),
        (3750000000, 7500000000, 11, 37500000000, 33750000000),
        # Nothing ran, nothing is burnt.
        (0, 2000, 11, 0, 0),
    ],
)
def test_burns_are_those_of_the_vectors(used: int, limit: int, fee_cap: int, base: int, over: int) -> None:
    """Base-fee burn and over-estimation burn, in attoFIL."""
    assert message_burn({"gas": hex(limit), "maxFeePerGas": hex(fee_cap)}, {"gasUsed": hex(used)}, 10) == (base, over)
    assert message_burn({"gas": hex(limit), "gasPrice": hex(fee_cap)}, {"gasUsed": hex(used)}, 10) == (base, over)


def test_the_burn_is_the_rise_of_f099_on_every_tipset() -> None:
    """Plus what messages sent there; on the canonical chain and on orphans, wherever the balances are recorded."""
    counted = bundled()
    canonical = {block["hash"] for block in counted.chain()}
    known: Counter[bool] = Counter()
    for name, block in counted.blocks.items():
        rise = counted.rise(name)
        receipts = {one["transactionHash"]: one for one in counted.receipts[name]}
        burn = sum(sum(message_burn(one, receipts[one["hash"]], int(block["baseFeePerGas"], 16))) for one in block["transactions"])
        sent = [int(one["value"], 16) for one in block["transactions"] if one["to"] == F099 and receipts[one["hash"]]["status"] == "0x1"]
        if rise is not None:
            assert rise == burn + sum(sent), block["number"]
            known[name in canonical] += 1
    assert known == {True: 612, False: 34}


@pytest.mark.parametrize("epochs", TOTALS)
def test_totals_of_the_bundled_recording(epochs: int) -> None:
    """They do not move by themselves, and the parts sum to the whole."""
    figures = bundled().figures(epochs)
    assert tuple(figures[name] for name in NAMES) == TOTALS[epochs]
    assert figures["rise"] == figures["base_fee_burn"] + figures["over_estimation_burn"] + figures["sent"]
    assert figures["gas"].total() <= figures["all_gas"]
    assert figures["failed"] <= figures["messages"]
    traced = figures["traced"], figures["internal"], figures["sent_inside"], len(figures["codes"]), len(figures["deployers"])
    assert traced == TRACED[epochs]


@pytest.mark.parametrize("epochs", TOTALS)
def test_eth_data_alone_give_the_same(epochs: int) -> None:
    """All but the rise of f099, which only the native view tells."""
    native, eth = bundled().figures(epochs), bundled(native=False).figures(epochs)
    assert eth["rise_known"] == 0
    for name in native.keys() - {"rise", "rise_known"}:
        assert native[name] == eth[name], name


def block(number: int, parent: int, *transactions: dict[str, Any]) -> dict[str, Any]:
    """An eth block; its hash tells its number."""
    return {
        "hash": f"0x{number:064x}",
        "parentHash": f"0x{parent:064x}",
        "number": hex(number),
        "baseFeePerGas": hex(BASE_FEE),
        "transactions": [{"hash": f"{number}-{place}", "from": ALICE, "value": "0x0", **one} for place, one in enumerate(transactions)],
    }


def recording(folder: Path) -> Path:
    """Blocks 10, 11, 13 and 20, each announced a second after the one before."""
    gas = {"gas": hex(1200), "maxFeePerGas": hex(1000)}
    blocks = [
        block(10, 9, {**gas, "to": TOKEN}),
        block(11, 10, {**gas, "to": None}, {**gas, "to": None}, {**gas, "to": EAM, "from": BOB}),
        block(13, 11, {**gas, "to": TOKEN}, {**gas, "to": BOB}, {**gas, "to": F099, "value": "0x5"}),
        block(20, 13),
    ]
    failed = {"11-1", "11-2"}
    lines: list[dict[str, Any]] = []
    for seconds, one in enumerate(blocks):
        receipts = [
            {
                "transactionHash": each["hash"],
                "gasUsed": hex(1000),
                "status": "0x0" if each["hash"] in failed else "0x1",
                "contractAddress": MADE if each["to"] is None else None,
                "logs": [{"address": TOKEN}] if each["to"] == TOKEN else [],
            }
            for each in one["transactions"]
        ]
        message = {"method": "eth_subscription", "params": {"result": one}}
        lines += [
            {"kind": "rpc", "method": "eth_getBlockByHash", "params": [one["hash"], True], "result": one},
            {"kind": "rpc", "method": "eth_getBlockReceipts", "params": [one["hash"]], "result": receipts},
            {"t": seconds, "kind": "frame", "msg": message},
        ]
    lines += [
        {"kind": "rpc", "method": "eth_getCode", "params": [one, "latest"], "result": code} for one, code in ((TOKEN, "0x60"), (BOB, "0x"))
    ]
    path = folder / "made.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_figures_counted_by_hand(tmp_path: Path) -> None:
    """Calls, creations and failures are messages to contracts; transfers and burns are not."""
    figures = Recount(recording(tmp_path), {TOKEN: "token", MADE: "dex"}.__getitem__, native=False).figures(100)
    assert figures["messages"] == {"token": 2, "dex": 1, "unknown": 2}
    assert +figures["failed"] == {"unknown": 2}
    assert figures["gas"] == {"token": 2000, "dex": 1000, "unknown": 2000}
    assert figures["burn"]["dex"] == 1000 * BASE_FEE + 20 * BASE_FEE
    assert figures["senders"] == {"token": {ALICE}, "dex": {ALICE}, "unknown": {ALICE, BOB}}
    assert figures["contracts"] == {TOKEN, MADE}
    assert figures["events"] == {"token": 2}
    assert {
        name: figures[name] for name in ("all_messages", "all_gas", "base_fee_burn", "over_estimation_burn", "deployments", "sent")
    } == {
        "all_messages": 7,
        "all_gas": 7000,
        "base_fee_burn": 700_000,
        "over_estimation_burn": 14_000,
        "deployments": 1,
        "sent": 5,
    }


@pytest.mark.parametrize(
    "epochs, until, coverage",
    [
        # 10 11 . 13 . . . . . . 20
        (100, 9.0, (20, 4, 7)),
        (7, 9.0, (20, 1, 6)),
        (8, 9.0, (20, 2, 6)),
        (3, 2.5, (13, 2, 1)),
        (100, 1.0, (11, 2, 0)),
    ],
)
def test_windows_end_at_the_head_of_that_time(tmp_path: Path, epochs: int, until: float, coverage: tuple[int, int, int]) -> None:
    """`(H-W, H]`: heights that hold a tipset, and null rounds down to the first block that was announced."""
    figures = Recount(recording(tmp_path), str, native=False).figures(epochs, until)
    assert (figures["head"], figures["processed"], figures["null"]) == coverage
