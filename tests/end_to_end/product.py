"""The product as its user starts it, a node made of a recording, and the comparison with the naive recount."""

import asyncio
import contextlib
import math
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from processors.classify import Classifier
from processors.embedded import embedded_redis
from processors.readings import Snapshot, WindowReading
from processors.registry import Registry
from processors.store import Store
from streams.records import COUNTED_STREAMS
from tests.recount import Figures, Recount

BUNDLED = Path(__file__).parents[2] / "streams" / "recordings" / "devnet.jsonl.xz"
COMMAND = str(Path(sys.executable).parent / "fvm-pulse")
WINDOWS = (20, 120, 400)
PATIENCE_SECONDS = 30.0
CLASSES = ("messages", "failed", "gas", "burn", "events")
SUMS = {
    "all_messages": "all_messages",
    "all_gas": "all_gas",
    "all_base_fee_burn": "base_fee_burn",
    "all_over_estimation_burn": "over_estimation_burn",
    "deployments:direct": "deployments",
}


def free_port() -> int:
    """A port of the loopback that nobody uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@asynccontextmanager
async def product(*flags: str, port: int = 0, log: Path | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """`fvm-pulse run` with these flags; told to stop at the end, and expected to do so well. It speaks into `log`, or to us."""
    with log.open("wb") if log is not None else contextlib.nullcontext() as said:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "run", "--listen", f"127.0.0.1:{port}", "--windows", ",".join(f"{one}e" for one in WINDOWS), *flags), stderr=said
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            code = await asyncio.wait_for(process.wait(), 15)
            assert code == 0, f"stopped with exit code {code}"


async def metric(port: int, series: str, least: float) -> float:
    """Wait until this series of the product on `port` is at least that much.

    Raises:
        TimeoutError: it does not come to that.
    """
    async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
                    assert response.status == 200
                    lines = (await response.text()).splitlines()
            except aiohttp.ClientError:
                lines = []
            values = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(series)]
            if values and sum(values) >= least:
                return sum(values)
            await asyncio.sleep(0.05)


async def processed(port: int, height: int) -> None:
    """Wait until the product that listens on `port` has processed `height`.

    Raises:
        TimeoutError: it does not come to that.
    """
    async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                text = await (await session.get(f"http://127.0.0.1:{port}/metrics")).text()
                found = re.search(r"^pulse_processed_epoch{[^}]*} ([0-9.e+]+)$", text, re.MULTILINE)
                if found is not None and float(found[1]) >= height:
                    return
            await asyncio.sleep(0.05)


async def classes(store: Store) -> Callable[[str], str]:
    """The class of every contract that the product met, by address."""
    classifier = Classifier(Registry.load(None).for_chain(314))
    known = {address: classifier.classify(contract).contract_class for address, contract in (await store.load_contracts()).items()}
    return lambda address: known.get(address, "unknown")


async def caught_up(store: Store, chain: Sequence[dict[str, Any]], patience_seconds: float = PATIENCE_SECONDS) -> Snapshot:
    """The snapshot in which the counted streams have come to the head of `chain` (newest first), and down to its bottom as well.

    Raises:
        TimeoutError: it does not come.
    """
    head, bottom = chain[0], int(chain[-1]["number"], 16)
    height = int(head["number"], 16)
    known = min(height - bottom + 1, max(WINDOWS))
    async with asyncio.timeout(patience_seconds):
        while True:
            snapshot = await store.snapshot()
            windows = [snapshot.streams[stream].windows.get(f"{max(WINDOWS)}e") for stream in COUNTED_STREAMS if stream in snapshot.streams]
            heads = {snapshot.streams[stream].head for stream in COUNTED_STREAMS if stream in snapshot.streams}
            covered = all(window is not None and window.processed + window.null >= known for window in windows)
            if snapshot.latest.get("hash") == head["hash"] and heads == {height} and covered:
                return snapshot
            await asyncio.sleep(0.05)


async def check(store: Store, recount: Recount, until: float = math.inf, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Every figure of every window equals the recount at a time of the recording, exactly."""
    snapshot = await caught_up(store, recount.chain(until), patience_seconds)
    recount.class_of = await classes(store)
    for epochs in WINDOWS:
        expected = recount.figures(epochs, until)
        compare(snapshot.streams["tipsets"].windows[f"{epochs}e"], expected, ("messages", "failed", "gas", "burn"), native=recount.native)
        compare_events(snapshot.streams["logs"].windows[f"{epochs}e"], expected)


async def check_deployers(store: Store, recount: Recount, until: float = math.inf) -> bool:
    """What traces tell equals the recount in each window that was traced as far as can be, and is never more in the others.

    So is who deployed for the first time, where all windows are such, and the time before the longest as far as it tells of deployers;
    False where one is not.
    """
    windows = (await store.snapshot()).streams["tipsets"].windows
    longest = max(WINDOWS)
    earlier = recount.earlier_deployers(longest, 2 * longest, until)
    traced = [check_traced(windows[f"{epochs}e"], recount.figures(epochs, until)) for epochs in WINDOWS]
    whole = all(traced) and windows[f"{longest}e"].prior_distinct.get("deployer", 0) == len(earlier)
    if whole:
        for epochs in WINDOWS:
            assert windows[f"{epochs}e"].new_deployers == recount.new_deployers(epochs, 2 * longest, until)
    return whole


def check_traced(window: WindowReading, expected: Figures) -> bool:
    """One window of stream `tipsets`: what a tipset without traces leaves out may be less; whether none was left out."""
    found = {name: window.sums.get(name, 0) for name in ("traced", "deployments:internal")}
    found |= {name: window.distinct.get(name, 0) for name in ("deployer", "deployed_code")}
    most = {"traced": expected["traced"], "deployments:internal": expected["internal"]}
    most |= {"deployer": len(expected["deployers"]), "deployed_code": len(expected["codes"])}
    if found["traced"] == most["traced"]:
        assert found == most
        return True
    assert all(found[name] <= most[name] for name in found), (found, most)
    return False


def compare(window: WindowReading, expected: Figures, by_class: tuple[str, ...], *, native: bool) -> None:
    """One window of stream `tipsets`."""
    for name in by_class:
        found = {field.partition(":")[2]: value for field, value in window.sums.items() if field.startswith(f"{name}:")}
        assert {one: value for one, value in found.items() if value} == {one: value for one, value in expected[name].items() if value}, name
    for field, name in SUMS.items():
        assert window.sums.get(field, 0) == expected[name], field
    if native:
        assert window.sums.get("f099_rise", 0) == expected["rise"]
        assert window.sums.get("f099_known", 0) == expected["rise_known"]
        assert window.sums.get("unreconciled", 0) == 0
    senders = expected["senders"]
    assert window.distinct.get("sender", 0) == len(set().union(*senders.values()))
    for name, addresses in senders.items():
        assert window.distinct.get(f"sender:{name}", 0) == len(addresses), name
    assert window.distinct.get("contract", 0) == len(expected["contracts"])
    assert (window.processed, window.null) == (expected["processed"], expected["null"])


def compare_events(window: WindowReading, expected: Figures) -> None:
    """One window of stream `logs`."""
    assert {field.partition(":")[2]: value for field, value in window.sums.items() if value} == dict(expected["events"])
    assert (window.processed, window.null) == (expected["processed"], expected["null"])


@asynccontextmanager
async def embedded_store(data_dir: Path, network: str) -> AsyncIterator[Store]:
    """The store that a run left in its data folder."""
    async with embedded_redis(data_dir) as server, Redis.from_url(server.url) as redis:
        yield Store(redis, network)
