"""The naive recount of the state: what every sample must be, read off a recording by a path of its own.

Nothing of `streams` or `processors` is used. The state before a tipset is that after its parent; so an answer at a key belongs to the
parent of the tipset with that key.
"""

import json
import lzma
from pathlib import Path
from typing import Any

from tests.recount import eth_hash

Samples = dict[str, dict[str, int]]


def answers(path: Path) -> Samples:
    """By eth hash of the tipset after which it was so: the samples by name. Several answers about one tipset must agree."""
    parents: dict[str, str] = {}
    told: list[tuple[str, dict[str, int]]] = []
    with lzma.open(path, "rt") as file:
        for line in map(json.loads, file):
            if line["kind"] == "frame" and line["msg"].get("method") == "xrpc.ch.val":
                for change in line["msg"]["params"][1]:
                    parents[eth_hash(change["Val"]["Cids"])] = eth_hash(change["Val"]["Blocks"][0]["Parents"])
            if line["kind"] == "rpc" and "error" not in line:
                if line["method"] == "Filecoin.ChainGetTipSet":
                    parents[eth_hash(line["result"]["Cids"])] = eth_hash(line["result"]["Blocks"][0]["Parents"])
                if found := samples(line["method"], line["params"], line["result"]):
                    told.append((eth_hash(line["params"][-1]), found))
    by_tipset: Samples = {}
    for key, found in told:
        if key in parents:
            held = by_tipset.setdefault(parents[key], {})
            assert all(held.get(name, value) == value for name, value in found.items())
            held.update(found)
    return by_tipset


def samples(method: str, params: list[Any], result: Any) -> dict[str, int]:
    """What one answer tells, if it tells of power, f099, rewards, or the supply."""
    match method, params[0] if params else None:
        case "Filecoin.StateReadState", "f04":
            state = result["State"]
            return {
                "power:raw_bytes": int(state["TotalRawBytePower"]),
                "power:quality_adjusted_bytes": int(state["TotalQualityAdjPower"]),
                "power:position_q128": int(state["ThisEpochQAPowerSmoothed"]["PositionEstimate"]),
                "power:velocity_q128": int(state["ThisEpochQAPowerSmoothed"]["VelocityEstimate"]),
                "power:pledge_attofil": int(state["TotalPledgeCollateral"]),
            }
        case "Filecoin.StateReadState", "f02":
            return {"reward:minted_attofil": int(result["State"]["TotalStoragePowerReward"])}
        case "Filecoin.StateGetActor", "f099":
            return {"burnt:attofil": int(result["Balance"])}
        case "Filecoin.StateNetworkVersion", list():
            return {"network_version": int(result)}
        case "Filecoin.StateVMCirculatingSupplyInternal", list():
            parts = ("Vested", "Mined", "Burnt", "Locked", "Circulating", "ReserveDisbursed")
            names = ("vested", "mined", "burnt", "locked", "circulating", "reserve_disbursed")
            return {f"supply:{name}_attofil": int(result[f"Fil{part}"]) for name, part in zip(names, parts, strict=True)}
    return {}
