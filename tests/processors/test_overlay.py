"""A pool and a bridge are data: a file of the user's is all it takes from the chain to the metric."""

from pathlib import Path
from typing import Any

import msgspec
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from processors.catalogue import ROWS
from processors.classify import Classifier
from processors.folds import fold_logs
from processors.money import facts
from processors.readings import Sample, Snapshot, StateReading, StreamReading, WindowReading
from processors.registry import Registry
from streams.answers import Answers
from streams.recording import load
from streams.records import Log, LogsRecord
from streams.rpc import Call
from streams.sampling import Moment
from tests.node.asking import asked
from tests.recount import Recount

VAULT, COIN = "0x8941c19c5765b9c59b7e0b150921a4ed95a836af", "0x990c9b8a74608bf3b4593fbae1c547486a4417d9"
RECORDING = Path(__file__).parents[2] / "streams" / "recordings" / "devnet.jsonl.xz"
DEPOSIT = "Deposit(address,address,uint256,uint256)"
FILE = f"""
pools:
  314:
    - {{pool: vault, project: Devnet, class: defi-lending, address: "{to_checksum_address(VAULT)}", adapter: erc4626}}
gateways:
  314:
    - {{bridge: span, address: "{to_checksum_address(VAULT)}", in: ["{DEPOSIT}"]}}
bridged_tokens:
  314:
    - {{bridge: span, token: COIN, address: "{to_checksum_address(COIN)}", decimals: 18}}
"""


def test_a_line_is_enough(tmp_path: Path) -> None:
    """From a file and a recording of real contracts to series, and these are what a naive recount of the receipts finds."""
    path = tmp_path / "mine.yaml"
    path.write_text(FILE, encoding="utf-8")
    registry = Registry.load(path)
    answers, recount = Answers(load("devnet")), Recount(RECORDING, lambda _: "any")
    events = [event for block in recount.chain() for receipt in recount.receipts[block["hash"]] for event in receipt["logs"]]

    def node(call: Call) -> Any:
        return msgspec.json.decode(answers.answer(call.method, list(call.params), 1e9))

    probes = {probe.name: probe for probe in registry.economy(314).probes()}
    samples = asked(probes["pool:vault"].ask(Moment(1500, "0x" + "ab" * 32, (), 0)), node)
    logs = tuple(Log(0, 0, one["address"].lower(), tuple(one["topics"]), one["data"]) for one in events)
    record = LogsRecord(network="n", sequence=1, height=1500, parent_height=1499, hash="0x" + "ab" * 32, noticed_at=0.0, logs=logs)
    folded = fold_logs(record, Classifier(registry.for_chain(314)))
    window = WindowReading("24h", 2880, sums=dict(folded.sums), processed=2880)
    snapshot = Snapshot(
        "n",
        {"logs": StreamReading(head=1500, windows={"24h": window})},
        facts(registry.economy(314)),
        StateReading(1500, {name: Sample(value, 1500) for name, value in samples.items()}),
    )
    series = {
        (row.metric, *labels.values()): value
        for row in ROWS
        if row.group in {"pools", "flows"} and row.samples
        for labels, value in row.samples(snapshot)
        if "vault" in labels.values() or "span" in labels.values() or row.metric == "fvm_tvl_fil"
    }

    def of(address: str, event: str) -> list[Any]:
        topic = "0x" + keccak(text=event).hex()
        return [one for one in events if one["address"].lower() == address and one["topics"][0] == topic]

    deposits = of(VAULT, DEPOSIT)
    minted = sum(int(one["data"], 16) for one in of(COIN, "Transfer(address,address,uint256)") if int(one["topics"][1], 16) == 0)
    locked = sum(int(one["data"][2:66], 16) for one in deposits)
    assert locked == 0x1BA837DDF4B01D8BA
    assert series == {
        ("fvm_pool_assets_fil", "vault", "Devnet", "defi-lending", "reported"): locked / 10**18,
        ("fvm_pool_share_price_ratio", "vault"): 1.0,
        ("fvm_tvl_fil", "defi-lending"): locked / 10**18,
        ("fvm_rolling_bridge_transfers", "span", "in", "24h"): len(deposits),
        ("fvm_rolling_bridge_transfers", "span", "out", "24h"): 0,
        ("fvm_rolling_bridged_value", "span", "COIN", "in", "24h"): minted / 10**18,
        ("fvm_rolling_bridged_value", "span", "COIN", "out", "24h"): 0,
    }
