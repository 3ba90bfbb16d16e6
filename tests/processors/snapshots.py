"""Snapshots for tests: small, with figures that can be checked by hand."""

from typing import Any

from processors.readings import Sample, Snapshot, StateReading, StreamReading, WindowReading

FIL = 10**18
NOW = 1_700_000_060.0


def window(name: str = "20e", epochs: int = 20, **more: object) -> WindowReading:
    """A window that is covered in full unless told otherwise."""
    return WindowReading(name, epochs, **{"processed": epochs, **more})  # type: ignore[arg-type]


def tipsets(**more: object) -> WindowReading:
    """A full window of 20 epochs with FEVM messages of three classes."""
    sums = {
        "messages:dex": 3,
        "messages:token": 1,
        "failed:dex": 1,
        "gas:dex": 300,
        "gas:token": 60,
        "gas:unknown": 40,
        "burn:dex": 2 * FIL,
        "burn:unknown": 1 * FIL,
        "all_messages": 50,
        "all_gas": 1000,
        "all_base_fee_burn": 9 * FIL,
        "all_over_estimation_burn": 1 * FIL,
        "deployments:direct": 2,
        "project_gas:sushi": 300,
        "project_gas:idle": 0,
        "f099_rise": 12 * FIL,
        "f099_known": 18,
        "f099_gas_burn": 10 * FIL,
        "f099_fevm_burn": 3 * FIL,
        "f099_sent": 2 * FIL,
        "unreconciled": 7,
    }
    distinct = {"sender": 5, "sender:dex": 4, "contract": 3, "project": 7}
    values: dict[str, Any] = {
        "sums": sums,
        "distinct": distinct,
        "processed": 18,
        "null": 2,
        "prior_distinct": {"project": 5},
        "prior_processed": 20,
        "new_deployers": 1,
    }
    return window(**{**values, **more})


def state() -> StateReading:
    """Power that halved in 90 days, a quarter of what circulates locked, 100,000 FIL of reward in a day on 100 M FIL of pledge."""
    latest = {
        "power:raw_bytes": 2 * 10**18,
        "power:quality_adjusted_bytes": 8 * 10**18,
        "power:position_q128": 8 * 10**18 << 128,
        "power:velocity_q128": 0,
        "power:pledge_attofil": 100_000_000 * FIL,
        "supply:circulating_attofil": 600_000_000 * FIL,
        "supply:locked_attofil": 150_000_000 * FIL,
        "supply:recomputed": 0,
        "reward:minted_attofil": 500_000_000 * FIL,
        "burnt:attofil": 40_000_000 * FIL,
        "network_version": 29,
    }
    past = {
        2880: {"reward:minted_attofil": 499_900_000 * FIL, "network_version": 29},
        259_200: {"power:raw_bytes": 4 * 10**18, "power:quality_adjusted_bytes": 16 * 10**18, "network_version": 29},
    }
    of_the_past = {back: {name: Sample(value, 100 - back) for name, value in values.items()} for back, values in past.items()}
    return StateReading(100, {name: Sample(value, 100) for name, value in latest.items()}, of_the_past)


def snapshot(
    *, first: WindowReading | None = None, logs: WindowReading | None = None, network: str = "devnet", age_seconds: int = 60
) -> Snapshot:
    """A network at epoch 100 whose logs are one epoch behind."""
    first = first or tipsets()
    logs = logs or window(sums={"events:dex": 9})
    return Snapshot(
        network=network,
        streams={
            "tipsets": StreamReading(head=100, processed=90, null=8, missing=2, windows={first.name: first}),
            "logs": StreamReading(head=99, processed=88, null=8, missing=3, windows={logs.name: logs}),
        },
        latest={
            "height": "100",
            "timestamp_seconds": str(int(NOW) - age_seconds),
            "base_fee_attofil": "101",
            "node_head_epoch": "101",
            "node_head_timestamp_seconds": str(int(NOW) - age_seconds + 30),
        },
        state=state(),
    )
