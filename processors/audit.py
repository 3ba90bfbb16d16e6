"""The audit: a recount from a node by a path of its own, compared with what Redis holds.

Nothing of the follower and of the folds is used, and no cleverness: blocks and receipts are read by hash from the store's newest
tipset down, one after the other, and every figure is added up in plain loops. Only the classes of contracts are those that the
store's own evidence gives: they are a judgement, not a count.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from processors.classify import Classifier
from processors.ledger import MISSING, downwards
from processors.parts import address_of, redis_at, url_of
from processors.readings import Snapshot
from processors.registry import Registry
from processors.store import Store, networks
from processors.wanted import SILENT_SECONDS, Wanted
from streams.addresses import parse
from streams.errors import NodeFault, StoreFault, UsageError
from streams.records import Stream
from streams.rpc import MAX_FRAME_BYTES
from streams.settings import Settings
from streams.values import Node
from streams.wire import EAM, MASK

BY_CLASS = ("messages", "failed", "gas", "burn")
TOTALS = ("all_messages", "all_gas", "all_base_fee_burn", "all_over_estimation_burn")
REPAIR_SECONDS = 120.0
SAME_HEAD_SECONDS = 30.0
ANSWER_SECONDS = 30.0
_NO_CODE = "0x"


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of a window that is not what the recount says."""

    window: str
    figure: str
    held: int
    recounted: int


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        head: the highest epoch that was compared.
        lowest: the lowest; where a window reaches further down, nothing is known of what is below.
        windows: the names of those that were compared.
        compared: how many figures were.
        differences: the figures that differ.
        wrong: the heights that are.
        repaired: the heights that were written again.
    """

    head: int
    lowest: int
    windows: tuple[str, ...]
    compared: int
    differences: tuple[Difference, ...]
    wrong: tuple[int, ...]
    repaired: tuple[int, ...] = ()

    @property
    def only_classes(self) -> bool:
        """Whether all that differs is of which class something is: over all classes every sum is the same."""
        moved: Counter[tuple[str, str]] = Counter()
        for one in self.differences:
            figure, of_class, _ = one.figure.partition(":")
            if not of_class:
                return False
            moved[one.window, figure] += one.held - one.recounted
        # Somebody who sends to two classes is in both.
        return bool(self.differences) and not any(rest for (_, figure), rest in moved.items() if not figure.startswith("distinct"))


@dataclass(slots=True)
class Block:
    """What one tipset adds, recounted."""

    height: int
    sums: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    senders: dict[str, set[str]] = field(default_factory=dict)
    contracts: set[str] = field(default_factory=set)


class Asker:
    """Asks a node one question after the other."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self._code: dict[str, bool] = {}
        self._names: dict[str, str] = {}

    async def ask(self, method: str, *params: Any) -> Any:
        """The result of a call.

        Raises:
            NodeFault: the node refuses, or is silent.
        """
        self._number += 1
        await self._socket.send(json.dumps({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}), text=True)
        async with asyncio.timeout(ANSWER_SECONDS):
            while (answer := json.loads(await self._socket.recv())).get("id") != self._number:
                pass
        if answer.get("result") is None:
            raise NodeFault(f"{method}: {answer.get('error', 'no result')}")
        return answer["result"]

    async def is_contract(self, address: str) -> bool:
        """Whether there is EVM code at `address`."""
        if address not in self._code:
            self._code[address] = await self.ask("eth_getCode", address, "latest") != _NO_CODE
        return self._code[address]

    async def name_of(self, address: str) -> str:
        """The `0x` form of the actor's delegated address, if `address` is its masked id and the node tells one; else `address`."""
        if address.startswith(MASK) and address not in self._names:
            self._names[address] = address
            with suppress(NodeFault, UsageError):
                actor = await self.ask("Filecoin.StateGetActor", f"f0{int(address[len(MASK) :], 16)}", [])
                self._names[address] = parse(actor.get("DelegatedAddress") or address)
        return self._names.get(address, address)


def burnt(used: int, limit: int, base_fee: int, fee_cap: int) -> tuple[int, int]:
    """What a message burns, in attoFIL: for the base fee, and for what it asked for too much (FIP-0032's factor of 11/10)."""
    if used == 0:
        return 0, 0
    price = min(base_fee, fee_cap)
    over = min(max(limit - used * 11 // 10, 0), used)
    return price * used, price * ((limit - used) * over // used)


async def audit(settings: Settings, epochs: int, *, repair: bool) -> Audit:
    """Recount every window up to `epochs` long, and compare; with `repair`, have wrong heights written again and compare anew.

    Raises:
        UsageError: there is nothing to compare, or no real node to ask.
        NodeFault: the node does not tell what is needed.
        StoreFault: Redis can not be read, or nobody writes again.
    """
    url = url_of(settings)
    if url is None:
        raise UsageError("audit: nobody runs here: start fvm-pulse run, or name the --redis-url")
    node = next((one for one in settings.nodes if one.recording is None), None)
    if node is None:
        raise UsageError("audit: --node: a node's websocket URL is needed, a recording tells nothing new")
    async with redis_at(url) as redis:
        network = await _chosen(redis, settings.network)
        store = Store(redis, network)
        found = await _compare(settings, store, node, epochs)
        if not repair or not found.wrong:
            return found
        await _write_again(Wanted(redis, network), found.wrong)
        again = await _compare(settings, store, node, epochs)
        return replace(again, repaired=found.wrong)


async def _chosen(redis: Redis, network: str | None) -> str:
    found = await networks(redis)
    if network is not None and network not in found:
        raise UsageError(f"network: {network!r} is not here: this Redis holds {', '.join(found) or 'nothing'}")
    if network is None and len(found) != 1:
        raise UsageError(f"network: needed: this Redis holds {', '.join(found) or 'nothing'}")
    return network or found[0]


async def _write_again(wanted: Wanted, heights: tuple[int, ...]) -> None:
    said = await wanted.progress()
    if said is None or time.time() - said.seen_at > SILENT_SECONDS:
        raise StoreFault("--repair: nobody follows here: start fvm-pulse run or follow, it writes wrong heights again")
    await wanted.want_again(heights)
    left, deadline = len(heights), time.monotonic() + REPAIR_SECONDS
    while again := len(await wanted.again()):
        if again < left:
            left, deadline = again, time.monotonic() + REPAIR_SECONDS
        if time.monotonic() > deadline:
            raise StoreFault(f"--repair: the follower writes no more heights again, {again} are left: see its log")
        await asyncio.sleep(0.5)
    await asyncio.sleep(1)  # the last records are on their way


async def _compare(settings: Settings, store: Store, node: Node, epochs: int) -> Audit:
    snapshot = await _steady(store)
    head, block = snapshot.streams["tipsets"].head, snapshot.latest["hash"]
    if head is None:
        raise UsageError("audit: nothing is processed yet")
    windows = {name: one.epochs for name, one in snapshot.streams["tipsets"].windows.items() if one.epochs <= epochs}
    if not windows:
        shortest = min(snapshot.streams["tipsets"].windows.values(), key=lambda one: one.epochs).name
        raise UsageError(f"--window: {epochs} epochs are less than every window that is kept; the shortest is {shortest}")
    chain_id = settings.chain_id or int(snapshot.latest.get("chain_id", 314))
    classifier = Classifier(Registry.load(settings.registry).for_chain(chain_id, snapshot.network))
    known = {address: classifier.classify(one).contract_class for address, one in (await store.load_contracts()).items()}
    floor = await _lowest(store, head, head - max(windows.values())) - 1
    chain = await _recount(node, block, floor, lambda address: known.get(address, "unknown"))
    differences: list[Difference] = []
    compared = 0
    for name, length in windows.items():
        recounted = _figures([one for one in chain if head - length < one.height <= head], head - max(head - length, floor))
        held = _held(snapshot, name)
        keys = sorted(recounted.keys() | held.keys())
        compared += len(keys)
        differences += [Difference(name, key, held[key], recounted[key]) for key in keys if held[key] != recounted[key]]
    wrong = [one.height for one in chain if differences and not await _is_right(store, one)]
    return Audit(head, floor + 1, tuple(windows), compared, tuple(differences), tuple(wrong))


async def _lowest(store: Store, head: int, floor: int) -> int:
    """The lowest height above `floor` that is known."""
    known = [height async for height, state in downwards(store, max(floor + 1, 0), head) if state != MISSING]
    return min(known, default=head)


async def _steady(store: Store) -> Snapshot:
    """A snapshot in which both streams are equally far."""
    deadline = time.monotonic() + SAME_HEAD_SECONDS
    while True:
        snapshot = await store.snapshot()
        if snapshot.latest.get("hash") and len({snapshot.streams[stream].head for stream in ("tipsets", "logs")}) == 1:
            return snapshot
        if time.monotonic() > deadline:
            raise StoreFault("audit: the streams do not come to the same height: is a worker missing?")
        await asyncio.sleep(0.1)


async def _recount(node: Node, block: str, floor: int, class_of: Callable[[str], str]) -> list[Block]:
    address = address_of(node)
    found: list[Block] = []
    try:
        async with connect(address.url, additional_headers=address.headers, max_size=MAX_FRAME_BYTES, compression=None) as socket:
            asker = Asker(socket)
            while True:
                told = await asker.ask("eth_getBlockByHash", block, True)
                height = int(told["number"], 16)
                if found and height >= found[-1].height:
                    raise NodeFault(f"audit: the node {node.name} says that the parent of {found[-1].height} lies at {height}")
                if height <= floor:
                    return found
                found.append(await _count(asker, told, class_of))
                block = told["parentHash"]
                if height <= floor + 1:
                    return found
    except (OSError, WebSocketException, TimeoutError) as error:
        raise NodeFault(f"audit: the node {node.name} can not be read: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NodeFault(f"audit: the node {node.name} says nonsense: {type(error).__name__} {error}"[:200]) from error


async def _count(asker: Asker, told: dict[str, Any], class_of: Callable[[str], str]) -> Block:
    counted = Block(int(told["number"], 16))
    receipts = {one["transactionHash"]: one for one in await asker.ask("eth_getBlockReceipts", told["hash"])}
    for transaction in told["transactions"]:
        receipt = receipts[transaction["hash"]]
        used, worked, to = int(receipt["gasUsed"], 16), receipt["status"] == "0x1", (transaction["to"] or "").lower()
        cap = int(transaction.get("maxFeePerGas") or transaction["gasPrice"], 16)
        of_base_fee, of_over_estimation = burnt(used, int(transaction["gas"], 16), int(told["baseFeePerGas"], 16), cap)
        counted.sums.update(dict(zip(TOTALS, (1, used, of_base_fee, of_over_estimation), strict=True)))
        for log in receipt["logs"]:
            counted.events[f"events:{class_of(log['address'].lower())}"] += 1
        creates = to in {"", EAM}
        contract = (receipt.get("contractAddress") or "").lower() * worked if creates else to
        if creates or await asker.is_contract(to):
            contract = await asker.name_of(contract)
            name = class_of(contract)
            for figure, value in zip(BY_CLASS, (1, not worked, used, of_base_fee + of_over_estimation), strict=True):
                counted.sums[f"{figure}:{name}"] += value
            counted.senders.setdefault(name, set()).add(await asker.name_of(transaction["from"].lower()))
            counted.contracts |= {contract} - {""}
    return counted


def _figures(chain: list[Block], epochs: int) -> Counter[str]:
    """The figures of one window of so many known epochs, by name; none is 0."""
    figures: Counter[str] = Counter({"processed": len(chain)})
    senders: dict[str, set[str]] = {}
    for one in chain:
        figures.update(one.sums)
        figures.update(one.events)
        for name, addresses in one.senders.items():
            senders.setdefault(f"distinct sender:{name}", set()).update(addresses)
    figures["distinct sender"] = len(set().union(*senders.values()))
    figures["distinct contract"] = len(set().union(*(one.contracts for one in chain)))
    figures.update({name: len(addresses) for name, addresses in senders.items()})
    figures["null"] = epochs - len(chain)
    return +figures


def _held(snapshot: Snapshot, name: str) -> Counter[str]:
    """The same of what Redis holds."""
    window, logs = (snapshot.streams[stream].windows[name] for stream in ("tipsets", "logs"))
    figures = Counter({key: value for key, value in window.sums.items() if _is_compared(key)})
    figures.update({key: value for key, value in logs.sums.items() if key.startswith("events:")})
    figures.update(
        {f"distinct {kind}": count for kind, count in window.distinct.items() if kind.partition(":")[0] in {"sender", "contract"}}
    )
    figures.update({"processed": window.processed, "null": window.null})
    return +figures


def _is_compared(key: str) -> bool:
    return key in TOTALS or key.partition(":")[0] in BY_CLASS


async def _is_right(store: Store, counted: Block) -> bool:
    """Whether the registers of this height hold what was recounted."""
    expected: tuple[tuple[Stream, Counter[str]], ...] = (("tipsets", counted.sums), ("logs", counted.events))
    for stream, sums in expected:
        held = await store.sums_at(counted.height, stream)
        if held is None or {key: value for key, value in held.items() if _is_compared(key) or key.startswith("events:")} != dict(+sums):
            return False
    return True
