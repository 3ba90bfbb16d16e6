"""All that a record needs from the node: block, receipts, completeness, burnt funds, and the evidence about contracts.

The fetches are generators (`streams.tasks`); what they learn for good is kept in a `Memory`. The records are built in the order
of the chain, by `build`, since a factory's child is known only from its announcement on.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eth_utils.crypto import keccak

from streams import evidence
from streams.chain import Link
from streams.errors import NodeFault
from streams.records import Address, Child, Contract, Hash, Log, LogsRecord, Message, TipsetRecord
from streams.rpc import Answer, Call
from streams.tasks import Fetch, gather
from streams.wire import (
    EAM,
    Actor,
    Cid,
    EthBlock,
    EthHeader,
    HexData,
    NativeEvent,
    NativeReceipt,
    Receipt,
    Tipset,
    actor_id,
    eth_name,
    may_have_eth_name,
    read,
    tipset_hash,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

RECHECK_EPOCHS = 120
"""How long an address without code is believed to stay so; a contract may be made there later."""
REMEMBERED = 100_000
"""How many addresses without code, names and balances are kept before they are asked for again."""

_EVM_EVENT_KEYS = frozenset(("t1", "t2", "t3", "t4", "d"))
_WORD = 32


@dataclass(slots=True)
class Memory:
    """What was learnt from the node once and holds: contracts, other names, balances of f099 by tipset."""

    contracts: dict[Address, Contract] = field(default_factory=dict)
    without_code: dict[Address, int] = field(default_factory=dict)
    names: dict[Address, Address] = field(default_factory=dict)
    children: dict[Address, Child] = field(default_factory=dict)
    burnt_attofil: dict[Hash, int] = field(default_factory=dict)
    learnt: list[Contract] = field(default_factory=list)
    """Contracts that are new since the shell last stored them."""

    def name(self, address: Address) -> Address:
        """The one name of an actor."""
        return self.names.get(address, address)

    def needs_evidence(self, address: Address, height: int) -> bool:
        """Whether the node must be asked if there is code at `address`."""
        if address in self.contracts or (_is_native(address) and not may_have_eth_name(address)):
            return False
        checked = self.without_code.get(address)
        return checked is None or (not _is_native(address) and height - checked >= RECHECK_EPOCHS)

    def learn(self, contract: Contract) -> None:
        """Keep the evidence about a contract, for this run and (through `learnt`) the next."""
        child = self.children.get(contract.address)
        if child is not None and contract.child_of is None:
            contract = _with_parent(contract, child)
        self.contracts[contract.address] = contract
        self.without_code.pop(contract.address, None)
        self.learnt.append(contract)

    def learn_child(self, address: Address, child: Child) -> None:
        """A factory announced `address`; the first announcement counts."""
        if address in self.children:
            return
        self.children[address] = child
        known = self.contracts.get(address)
        if known is not None and known.child_of is None:
            self.learn(known)

    def trim(self) -> None:
        """Forget what can be asked again, if it has become too much."""
        for kept in (self.without_code, self.names, self.burnt_attofil):
            if len(kept) > REMEMBERED:
                kept.clear()


@dataclass(frozen=True, slots=True)
class Assembled:
    """A tipset with all that was asked about it. `complaint` says what is missing, None if nothing is."""

    link: Link
    block: EthBlock
    receipts: dict[Hash, Receipt]
    burnt_rise_attofil: int | None
    complaint: str | None


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a node says of itself when a connection is opened; `native` nodes serve `Filecoin.*`."""

    chain_id: int
    network: str | None
    native: bool
    streams_logs: bool
    head: Link | None


def greet() -> Fetch[Greeting]:
    """Learn what the node is, and subscribe.

    Raises:
        NodeFault: not retryable where the node has no eth RPC or no subscriptions.
    """
    chain, network = yield Call("eth_chainId"), Call("Filecoin.StateNetworkName")
    if chain.error is not None and chain.error.code == -32601:
        raise NodeFault("the node has no eth RPC: enable it (Lotus: Fevm.EnableEthRPC), or use another node", retryable=False)
    chain_id = int(read(chain.required(), str, "eth_chainId"), 16)
    name = read(network.result, str, "StateNetworkName") if network.result is not None else None
    notify, heads, logs = yield (
        Call("Filecoin.ChainNotify"),
        Call("eth_subscribe", ("newHeads",)),
        Call("eth_subscribe", ("logs", {})),
    )
    native = notify.result is not None
    if not native and heads.result is None:
        raise NodeFault("the node offers neither ChainNotify nor eth_subscribe newHeads over this connection", retryable=False)
    latest = None if native else (yield from latest_link())
    return Greeting(chain_id, name, native, logs.result is not None, latest)


def latest_link() -> Fetch[Link | None]:
    """The newest executed tipset by the eth view, None if the node will not say."""
    (answer,) = yield (Call("eth_getBlockByNumber", ("latest", False)),)
    return None if answer.result is None else Link.of_header(read(answer.result, EthHeader, "eth_getBlockByNumber"))


def fetch_link(block: Hash, key: tuple[Cid, ...]) -> Fetch[Link]:
    """The place of a tipset in the chain, by its key where it is known, else by its eth hash."""
    if key:
        (answer,) = yield (Call("Filecoin.ChainGetTipSet", (key,)),)
        if answer.result is not None:
            return _expected(Link.of_tipset(read(answer.result, Tipset, "ChainGetTipSet")), block)
    (answer,) = yield (_by_hash(block),)
    return _expected(Link.of_header(read(answer.required(), EthHeader, "eth_getBlockByHash")), block)


def fetch_link_at(height: int, key: tuple[Cid, ...]) -> Fetch[Link | None]:
    """The tipset at `height` (None: a null round), below the tipset `key` where that is known."""
    if key:
        (answer,) = yield (Call("Filecoin.ChainGetTipSetAfterHeight", (height, key)),)
        return Link.of_tipset(read(answer.required(), Tipset, "ChainGetTipSetAfterHeight"))
    (answer,) = yield (Call("eth_getBlockByNumber", (hex(height), False)),)
    if answer.error is not None and answer.error.code == 12:
        return None
    return Link.of_header(read(answer.required(), EthHeader, "eth_getBlockByNumber"))


def assemble(link: Link, child: tuple[Cid, ...], memory: Memory, *, native: bool) -> Fetch[Assembled]:
    """All about the tipset at `link`; `child` is the key of the tipset on top of it, empty where it is not known.

    Raises:
        NodeFault: the node answered for another tipset, or not at all.
    """
    native = native and bool(child)
    block, receipts, natives, rise = yield from _body(link, child, memory, native=native)
    by_hash = {receipt.transaction_hash.lower(): receipt for receipt in receipts}
    yield from _learn(link, block, receipts, memory, native=native)
    complaint = _count_complaint(block, by_hash, natives)
    if complaint is None and natives is not None:
        complaint = yield from _events_complaint(block, by_hash, natives, memory)
    return Assembled(link, block, by_hash, rise, complaint)


def _body(
    link: Link, child: tuple[Cid, ...], memory: Memory, *, native: bool
) -> Fetch[tuple[EthBlock, list[Receipt], list[NativeReceipt] | None, int | None]]:
    calls = [_by_hash(link.hash), Call("eth_getBlockReceipts", (link.hash,))]
    before = memory.burnt_attofil.get(link.hash)
    if native:
        calls += [Call("Filecoin.ChainGetParentReceipts", (child[0],)), _burnt_funds(child)]
        if before is None and link.key:
            calls.append(_burnt_funds(link.key))
    answers = yield tuple(calls)
    block = read(answers[0].required(), EthBlock, "eth_getBlockByHash")
    receipts = read(answers[1].required(), list[Receipt], "eth_getBlockReceipts")
    _check_place(link, block, receipts)
    if not native:
        return block, receipts, None, None
    natives = read(answers[2].result, list[NativeReceipt], "ChainGetParentReceipts") if answers[2].result is not None else None
    for answer in answers[4:]:
        before = _balance(answer)
    after = _balance(answers[3])
    if after is not None:
        memory.burnt_attofil[tipset_hash(child)] = after
    rise = after - before if after is not None and before is not None else None
    return block, receipts, natives, rise


def _check_place(link: Link, block: EthBlock, receipts: list[Receipt]) -> None:
    if block.hash.lower() != link.hash or int(block.number, 16) != link.height:
        raise NodeFault(f"eth_getBlockByHash: asked for height {link.height}, got {int(block.number, 16)} ({block.hash})")
    for receipt in receipts:
        if receipt.block_hash.lower() != link.hash or int(receipt.block_number, 16) != link.height:
            height = int(receipt.block_number, 16)
            raise NodeFault(f"eth_getBlockReceipts: asked for height {link.height}, got one of {height} ({receipt.block_hash})")


def _learn(link: Link, block: EthBlock, receipts: list[Receipt], memory: Memory, *, native: bool) -> Fetch[None]:
    """Learn the names and the code of everybody in this tipset who is not known yet."""
    memory.trim()
    receivers = {tx.to.lower() for tx in block.transactions if tx.to is not None}
    if native:
        actors = {tx.sender.lower() for tx in block.transactions} | receivers
        unnamed = sorted(one for one in actors if may_have_eth_name(one) and one not in memory.names)
        yield from gather([_learn_name(one, link.height, memory) for one in unnamed])
    emitters = {log.address.lower() for receipt in receipts for log in receipt.logs}
    created = {one.contract_address.lower() for one in receipts if one.contract_address is not None and _succeeded(one)}
    for certain in emitters | created:
        memory.without_code.pop(certain, None)
    asked = {memory.name(one) for one in receivers | emitters | created}
    unknown = sorted(one for one in asked if memory.needs_evidence(one, link.height))
    found = yield from gather([fetch_contract(one) for one in unknown])
    for address, contract in zip(unknown, found, strict=True):
        if contract is None:
            memory.without_code[address] = link.height
        else:
            memory.learn(contract)


def _learn_name(address: Address, height: int, memory: Memory) -> Fetch[None]:
    (answer,) = yield (Call("Filecoin.StateGetActor", (f"f0{actor_id(address)}", [])),)
    if answer.result is None:
        memory.names[address] = address
        return
    name = eth_name(read(answer.result, Actor, "StateGetActor").delegated_address)
    memory.names[address] = name or address
    if name is None:
        # Only actors with a delegated address can have EVM code.
        memory.without_code[address] = height


def fetch_contract(address: Address) -> Fetch[Contract | None]:
    """The evidence about the code at `address`, None if there is none."""
    (answer,) = yield (_code(address),)
    code = _bytes(answer)
    if not code:
        return None
    slot, *probes = yield (
        Call("eth_getStorageAt", (address, evidence.IMPLEMENTATION_SLOT, "latest")),
        *(Call("eth_call", ({"to": address, "data": _supports(one)}, "latest")) for one in evidence.INTERFACES),
    )
    implementation = evidence.minimal_proxy_target(code) or _slot_address(slot)
    behind = b""
    if implementation is not None:
        (answer,) = yield (_code(implementation),)
        behind = _bytes(answer) if answer.result is not None else b""
    found = [evidence.scan(part) for part in (code, behind)]
    return Contract(
        address=address,
        code_hash="0x" + keccak(code).hex(),
        implementation=implementation,
        selectors=tuple(sorted({one for selectors, _ in found for one in selectors})),
        topics=tuple(sorted({one for _, topics in found for one in topics})),
        interfaces=tuple(one for one, probe in zip(evidence.INTERFACES, probes, strict=True) if _is_true(probe)),
    )


def _count_complaint(block: EthBlock, receipts: dict[Hash, Receipt], natives: list[NativeReceipt] | None) -> str | None:
    missing = sum(1 for tx in block.transactions if tx.hash.lower() not in receipts)
    if missing:
        return f"{missing} of {len(block.transactions)} receipts are missing"
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
        and (tx.to is None or memory.name(tx.to.lower()) in memory.contracts)
    ]
    if not silent:
        return None
    answers = yield tuple(Call("Filecoin.ChainGetEvents", (root,)) for _, root in silent)
    for (transaction, _), answer in zip(silent, answers, strict=True):
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
    messages = tuple(_messages(assembled, memory))
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
    )
    return tipset, grouped


def _messages(assembled: Assembled, memory: Memory) -> "Iterable[Message]":
    for tx in assembled.block.transactions:
        receipt = assembled.receipts.get(tx.hash.lower())
        if receipt is None:
            continue
        receiver = memory.name(tx.to.lower()) if tx.to is not None else None
        succeeded = _succeeded(receipt)
        yield Message(
            hash=tx.hash,
            sender=memory.name(tx.sender.lower()),
            receiver=receiver,
            creates=receiver is None or receiver == EAM,
            created=receipt.contract_address.lower() if receipt.contract_address is not None and succeeded else None,
            succeeded=succeeded,
            gas_used=int(receipt.gas_used, 16),
            gas_limit=int(tx.gas, 16),
            gas_fee_cap=tx.gas_fee_cap,
            gas_premium=tx.gas_premium,
            value_attofil=int(tx.value, 16),
            selector=tx.input[:10].lower() if len(tx.input) >= 10 else "",
        )


def _logs(assembled: Assembled) -> "Iterable[Log]":
    index = 0
    for place, tx in enumerate(assembled.block.transactions):
        receipt = assembled.receipts.get(tx.hash.lower())
        for log in receipt.logs if receipt is not None else ():
            yield Log(index, place, log.address.lower(), tuple(topic.lower() for topic in log.topics), log.data)
            index += 1


def _evidence(addresses: "Iterable[Address]", memory: Memory) -> tuple[Contract, ...]:
    return tuple(memory.contracts[one] for one in sorted(addresses) if one in memory.contracts)


def _expected(link: Link, block: Hash) -> Link:
    if link.hash != block:
        raise NodeFault(f"asked for the tipset {block}, got {link.hash} at height {link.height}")
    return link


def _succeeded(receipt: Receipt) -> bool:
    return int(receipt.status, 16) == 1


def _is_native(address: Address) -> bool:
    return actor_id(address) is not None


def _with_parent(contract: Contract, child: Child) -> Contract:
    return Contract(
        contract.address,
        contract.code_hash,
        contract.implementation,
        contract.selectors,
        contract.topics,
        contract.interfaces,
        child,
    )


def _by_hash(block: Hash) -> Call:
    return Call("eth_getBlockByHash", (block, True))


def _burnt_funds(key: tuple[Cid, ...]) -> Call:
    return Call("Filecoin.StateGetActor", ("f099", key))


def _balance(answer: Answer) -> int | None:
    return int(read(answer.result, Actor, "StateGetActor").balance) if answer.result is not None else None


def _code(address: Address) -> Call:
    return Call("eth_getCode", (address, "latest"))


def _bytes(answer: Answer) -> bytes:
    text = read(answer.required(), HexData, answer.call.method)
    try:
        return bytes.fromhex(text[2:])
    except ValueError as error:
        raise NodeFault(f"{answer.call.method}: {error}") from error


def _slot_address(answer: Answer) -> Address | None:
    word = _bytes(answer) if answer.result is not None else b""
    return "0x" + word[-20:].hex() if len(word) == _WORD and any(word) else None


def _supports(interface: str) -> str:
    return "0x01ffc9a7" + interface[2:].ljust(64, "0")


def _is_true(answer: Answer) -> bool:
    return answer.result is not None and int.from_bytes(_bytes(answer)) == 1
