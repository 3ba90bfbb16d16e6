"""All that a record needs from the node: block, receipts, completeness and burnt funds.

The fetches are generators (`streams.tasks`); what they learn for good is kept in a `streams.memory.Memory`. The records are
built by `build` in the order of the chain, since a factory's child is known only from its announcement on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from streams import evidence
from streams.chain import Link
from streams.creations import Creations, created, learn_creators, recorded, resurrected
from streams.errors import NodeFault
from streams.memory import Memory
from streams.probes import learn
from streams.rails import learn_rails
from streams.records import Address, Child, Contract, Hash, Log, LogsRecord, Message, Rail, TipsetRecord
from streams.rpc import Answer, Call, RpcError
from streams.tasks import Fetch, gather
from streams.traces import Inside, Tracing, fetch_traces, inside
from streams.wire import EAM, MOST_TIPSET_GAS, Actor, Cid, EthBlock, NativeEvent, NativeReceipt, Receipt, Tipset, read

_EVM_EVENT_KEYS = frozenset(("t1", "t2", "t3", "t4", "d"))


@dataclass(frozen=True, slots=True)
class Assembled:
    """A tipset with all that was asked about it. `complaint` says what is missing, None if nothing is."""

    link: Link
    block: EthBlock
    receipts: dict[Hash, Receipt]
    burnt_rise_attofil: int | None
    complaint: str | None
    creations: Creations = field(default_factory=Creations)
    inside: Inside | None = None
    rails: tuple[Rail, ...] = ()


def assemble(link: Link, child: Link | None, memory: Memory, *, native: bool, tracing: Tracing | None = None) -> Fetch[Assembled]:
    """All about the tipset at `link`; `child` is a tipset on top of it, None where none is known.

    `tracing` is what is known of the node's traces, None where they are not wanted.

    Raises:
        NodeFault: the node answered for another tipset, or not at all.
    """
    child, keyless = (yield from _with_key(child)) if native and child is not None else (child, None)
    native = native and child is not None and bool(child.key)
    bodies: list[Fetch[Any]] = [_body(link, child if native else None, memory), fetch_traces(link, tracing)]
    (block, receipts, natives, rise), traces = yield from gather(bodies)
    by_hash = {receipt.transaction_hash.lower(): receipt for receipt in receipts}
    told = inside(traces, link, by_hash, tracing)
    complaint = _count_complaint(block, by_hash, natives if not isinstance(natives, RpcError) else None) or keyless
    if isinstance(natives, RpcError):
        complaint, natives = complaint or _unwitnessed("ChainGetParentReceipts", natives), None
    made = created(block, by_hash, natives if complaint is None else None, told)
    learning: list[Fetch[Any]] = [
        learn(link.height, block, receipts, memory, native=native, made=made.addresses),
        resurrected(made.addresses, link, child if native else None),
        learn_rails(link.parent_hash, receipts),
    ]
    untold, old, rails = yield from gather(learning)
    complaint = complaint or untold
    if complaint is None and natives is not None:
        complaint = yield from _events_complaint(block, by_hash, natives, memory)
    return Assembled(link, block, by_hash, rise, complaint, made.without(old), told, rails)


def _with_key(child: Link) -> Fetch[tuple[Link, str | None]]:
    """A tipset with its key, without which nothing native can be asked; where the node does not tell it, a complaint."""
    if child.key:
        return child, None
    (answer,) = yield (Call("Filecoin.ChainGetTipSetAfterHeight", (child.height, [])),)
    if answer.error is not None:
        return child, None if answer.error.unserved else _unwitnessed("ChainGetTipSetAfterHeight", answer.error)
    found = Link.of_tipset(read(answer.required(), Tipset, "ChainGetTipSetAfterHeight"))
    if found.hash != child.hash:
        return child, f"the key of the tipset {child.hash} on top is not known, so nothing tells that the receipts are whole"
    return found, None


_NOTHING = RpcError(message="no result")
"""Where a node answers with neither a result nor an error."""

_Natives: TypeAlias = list[NativeReceipt] | RpcError | None
"""The native receipts; why the node told none; None where it never does."""


def _body(link: Link, child: Link | None, memory: Memory) -> Fetch[tuple[EthBlock, list[Receipt], _Natives, int | None]]:
    eth = (_by_hash(link.hash), Call("eth_getBlockReceipts", (link.hash,)))
    native = (_native_receipts(child.key[0]),) if child is not None else ()
    balances = _unknown_balances(link, child, memory)
    answers = yield (*eth, *native, *(Call("Filecoin.StateGetActor", ("f099", one.key)) for one in balances))
    block = read(answers[0].required(), EthBlock, "eth_getBlockByHash")
    receipts = read(answers[1].required(), list[Receipt], "eth_getBlockReceipts")
    _check_sense(link, block, receipts)
    if child is None:
        return block, receipts, None, None
    natives = yield from _natives(answers[2], child.key[1:])
    for one, answer in zip(balances, answers[3:], strict=True):
        if answer.result is not None:
            memory.learn_burnt(one.parent_hash, one.height, int(read(answer.result, Actor, "StateGetActor").balance))
    return block, receipts, natives, _rise(link, child, memory)


def _natives(answer: Answer, others: Sequence[Cid]) -> Fetch[_Natives]:
    """What the answer about the first block of the child tells; where the node does not know that one, any of the `others` does as well."""
    for block in others:
        if answer.result is not None or (answer.error is not None and (answer.error.passing or answer.error.unserved)):
            break
        (answer,) = yield (_native_receipts(block),)
    if answer.result is not None:
        return read(answer.result, list[NativeReceipt], "ChainGetParentReceipts")
    error = answer.error or _NOTHING
    return None if error.unserved else error


def _unwitnessed(method: str, error: RpcError) -> str:
    return f"{method}: {error.shown} (code {error.code}), so nothing tells that the receipts are whole"


def _unknown_balances(link: Link, child: Link | None, memory: Memory) -> list[Link]:
    """The tipsets in whose state the balance of f099 must be asked for: before `link` ran, and after."""
    wanted = (link, child) if child is not None else ()
    return [one for one in wanted if one.key and not memory.knows_burnt(one.parent_hash, one.height)]


def _rise(link: Link, child: Link, memory: Memory) -> int | None:
    before = memory.burnt_before(link.parent_hash, link.height)
    after = memory.burnt_before(child.parent_hash, child.height)
    return after - before if before is not None and after is not None else None


def _check_sense(link: Link, block: EthBlock, receipts: list[Receipt]) -> None:
    if block.hash.lower() != link.hash or int(block.number, 16) != link.height:
        raise NodeFault(f"eth_getBlockByHash: asked for height {link.height}, got {int(block.number, 16)} ({block.hash})")
    if block.parent_hash.lower() != link.parent_hash:
        raise NodeFault(f"eth_getBlockByHash: the parent of height {link.height} is {link.parent_hash}, got {block.parent_hash}")
    for receipt in receipts:
        if receipt.block_hash.lower() != link.hash or int(receipt.block_number, 16) != link.height:
            height = int(receipt.block_number, 16)
            raise NodeFault(f"eth_getBlockReceipts: asked for height {link.height}, got one of {height} ({receipt.block_hash})")
    if (gas := sum(int(receipt.gas_used, 16) for receipt in receipts)) >= MOST_TIPSET_GAS:
        raise NodeFault(f"eth_getBlockReceipts: height {link.height} used {gas} gas, a tipset has room for less than {MOST_TIPSET_GAS}")


def _count_complaint(block: EthBlock, receipts: dict[Hash, Receipt], natives: list[NativeReceipt] | None) -> str | None:
    missing = sum(1 for tx in block.transactions if tx.hash.lower() not in receipts)
    if missing:
        return f"{missing} of {len(block.transactions)} receipts are missing"
    if len(receipts) != len(block.transactions):
        return f"{len(receipts)} receipts for {len(block.transactions)} transactions"
    if natives is None:
        return None
    if len(natives) != len(block.transactions):
        return f"{len(natives)} native receipts for {len(block.transactions)} transactions"
    for tx, native in zip(block.transactions, natives, strict=True):
        if int(receipts[tx.hash.lower()].gas_used, 16) != native.gas_used:
            return f"{tx.hash}: gasUsed differs from the native receipt's {native.gas_used}"
    return None


def _events_complaint(block: EthBlock, receipts: dict[Hash, Receipt], natives: list[NativeReceipt], memory: Memory) -> Fetch[str | None]:
    """Whether the chain holds EVM events that the eth receipts do not show (they come from an index that may lag)."""
    silent = [
        (tx.hash, native.events_root)
        for tx, native in zip(block.transactions, natives, strict=True)
        if native.events_root is not None
        and not receipts[tx.hash.lower()].logs
        and (tx.to is None or tx.to.lower() == EAM or memory.name(tx.to.lower()) in memory.contracts)
    ]
    if not silent:
        return None
    answers = yield tuple(Call("Filecoin.ChainGetEvents", (root,)) for _, root in silent)
    for (transaction, _), answer in zip(silent, answers, strict=True):
        error = answer.error or _NOTHING
        if answer.result is None and not error.unserved:
            return _unwitnessed("ChainGetEvents", error)
        events = read(answer.result, list[NativeEvent], "ChainGetEvents") if answer.result is not None else []
        if any({entry.key for entry in event.entries} <= _EVM_EVENT_KEYS for event in events):
            return f"{transaction}: the chain holds its events, the receipt does not"
    return None


def build(
    assembled: Assembled, memory: Memory, *, network: str, sequence: int, parent_height: int | None, noticed_at: float
) -> tuple[TipsetRecord, LogsRecord]:
    """The two records of a tipset, numbered `sequence` and `sequence + 1`."""
    link, block = assembled.link, assembled.block
    logs = tuple(_logs(assembled))
    for log in logs:
        child = evidence.child(log.topics, log.data)
        if child is not None:
            memory.learn_child(child, Child(log.emitter, log.topics[0]))
    learn_creators(assembled.creations, memory)
    messages = tuple(_messages(assembled, memory))
    creations, inner_burns = recorded(assembled.creations, assembled.inside, messages, memory)
    involved = {one for message in messages for one in (message.receiver, message.created) if one is not None}
    tipset = TipsetRecord(
        network=network,
        sequence=sequence,
        height=link.height,
        parent_height=parent_height,
        hash=link.hash,
        parent_hash=link.parent_hash,
        timestamp_seconds=int(block.timestamp, 16),
        noticed_at=noticed_at,
        base_fee_attofil=int(block.base_fee_per_gas, 16),
        messages=messages,
        contracts=_evidence(involved, memory),
        burnt_rise_attofil=assembled.burnt_rise_attofil,
        incomplete=assembled.complaint is not None,
        creations=creations,
        inner_burns=inner_burns,
        traced=assembled.inside is not None,
    )
    grouped = LogsRecord(
        network=network,
        sequence=sequence + 1,
        height=link.height,
        parent_height=parent_height,
        hash=link.hash,
        noticed_at=noticed_at,
        logs=logs,
        contracts=_evidence({log.emitter for log in logs}, memory),
        rails=assembled.rails,
    )
    return tipset, grouped


def _messages(assembled: Assembled, memory: Memory) -> Iterable[Message]:
    made = assembled.creations.direct
    for tx in assembled.block.transactions:
        name = tx.hash.lower()
        receipt = assembled.receipts.get(name)
        if receipt is None:
            continue
        receiver = memory.name(tx.to.lower()) if tx.to is not None else None
        yield Message(
            hash=name,
            sender=memory.name(tx.sender.lower()),
            receiver=receiver,
            creates=receiver is None or receiver == EAM,
            created=made.get(name),
            succeeded=receipt.succeeded,
            gas_used=int(receipt.gas_used, 16),
            gas_limit=int(tx.gas, 16),
            gas_fee_cap=tx.gas_fee_cap,
            gas_premium=tx.gas_premium,
            value_attofil=int(tx.value, 16),
            selector=tx.input[:10].lower() if len(tx.input) >= 10 else "",
        )


def _logs(assembled: Assembled) -> Iterable[Log]:
    index = 0
    for place, tx in enumerate(assembled.block.transactions):
        receipt = assembled.receipts.get(tx.hash.lower())
        for log in receipt.logs if receipt is not None else ():
            yield Log(index, place, log.address.lower(), tuple(topic.lower() for topic in log.topics), log.data)
            index += 1


def _evidence(addresses: Iterable[Address], memory: Memory) -> tuple[Contract, ...]:
    return tuple(memory.contracts[one] for one in sorted(addresses) if one in memory.contracts)


def _native_receipts(block: Cid) -> Call:
    """Those of the messages in the tipset below this block."""
    return Call("Filecoin.ChainGetParentReceipts", (block,))


def _by_hash(block: Hash) -> Call:
    return Call("eth_getBlockByHash", (block, True))
