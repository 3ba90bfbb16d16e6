"""Who is in a tipset: the other names of actors, and the evidence about contracts, asked of the node where it is not known."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

from eth_utils.crypto import keccak

from streams import evidence
from streams.errors import NodeFault, Refusal
from streams.memory import Memory
from streams.records import Address, Contract, Hash
from streams.rpc import Answer, Call
from streams.tasks import Fetch, gather
from streams.wire import Actor, EthBlock, HexData, Receipt, actor_id, eth_name, may_have_eth_name, read

STATE_TRIES = 3
"""How often an old state is asked for: a node that does not have it refuses each time, but any other error may pass."""
MOST_CREATED = 200
"""How many contracts that contracts made in one tipset are looked at; the others are when somebody calls them."""


def learn(
    height: int, block: EthBlock, receipts: list[Receipt], memory: Memory, *, native: bool, made: Iterable[Address] = ()
) -> Fetch[str | None]:
    """Learn the names and the code of everybody in this tipset who is not known yet, and of those who were `made` in it.

    The answer is a complaint where code was not told of what is known to be a contract, or code or a name by a node that is only busy;
    else None.
    """
    memory.trim()
    nameless: list[Address] = []
    receivers = {tx.to.lower() for tx in block.transactions if tx.to is not None}
    if native:
        actors = {tx.sender.lower() for tx in block.transactions} | receivers
        unnamed = sorted(one for one in actors if one not in memory.names and may_have_eth_name(one))
        nameless = [one for one in (yield from gather([learn_name(one, height, memory) for one in unnamed])) if one is not None]
    emitters = {log.address.lower() for receipt in receipts for log in receipt.logs}
    created = {one.created for one in receipts if one.created is not None}
    inner = set(islice(made, MOST_CREATED))
    for certain in emitters | created | inner:
        memory.without_code.pop(certain, None)
    needed = {memory.name(one) for one in receivers | emitters | created}
    unknown = sorted(one for one in needed | inner if memory.needs_evidence(one, height))
    found = yield from gather([_fetch_anyhow(one, block.hash, needed=one in needed) for one in unknown])
    untold: list[Address] = []
    for address, contract in zip(unknown, found, strict=True):
        if isinstance(contract, Contract):
            memory.learn(contract)
        elif address not in needed:
            continue
        elif contract is not None and (contract.passing or address in emitters | created):
            untold.append(address)
        else:
            memory.without_code[address] = height
    if untold:
        return f"no state that the node would tell has the code of {', '.join(untold)}"
    return f"the node is too busy to name {', '.join(nameless)}" if nameless else None


def _fetch_anyhow(address: Address, block: Hash, *, needed: bool) -> Fetch[Contract | Refusal | None]:
    """The evidence, None where there is no code, or why it is not known.

    The newest state may be that of another fork, or of a backend that is behind: code that is not in it is looked for in the state
    after the tipset `block`, where the node still has it. No figure needs what is not `needed` before somebody calls the contract.
    """
    try:
        contract = yield from fetch_contract(address)
    except Refusal as refusal:
        if needed:
            raise
        return refusal
    if contract is not None:
        return contract
    why: Refusal | None = None
    for _ in range(STATE_TRIES):
        try:
            return (yield from fetch_contract(address, {"blockHash": block}))
        except Refusal as refusal:
            why = refusal
    return why


def learn_name(address: Address, height: int, memory: Memory) -> Fetch[Address | None]:
    """Learn the other name of the actor with this masked id, if it has one; the answer is the id where a node is only busy."""
    (answer,) = yield (Call("Filecoin.StateGetActor", (f"f0{actor_id(address)}", [])),)
    if answer.error is not None:
        # The node may tell next time, "not found" too: a backend that is behind does not know the newest actors. Some actors are gone
        # for good, and some nodes have no such method, so that only what passes is waited for.
        return address if answer.error.passing else None
    if answer.result is None:
        memory.names[address] = address
        return None
    name = eth_name(read(answer.result, Actor, "StateGetActor").delegated_address)
    memory.names[address] = name or address
    if name is None:
        # Only actors with a delegated address can have EVM code.
        memory.without_code[address] = height
    return None


def fetch_contract(address: Address, at: Any = "latest") -> Fetch[Contract | None]:
    """The evidence about the code at `address` in the state `at` (a block as eth methods take it), None if there is none.

    Raises:
        Refusal: the node does not tell the code, or is too busy to tell what a proxy points to.
        NodeFault: what it tells is no code.
    """
    (answer,) = yield (_code(address, at),)
    code = _bytes(answer)
    if not code:
        return None
    slot, beacon, *probes = yield (
        Call("eth_getStorageAt", (address, evidence.IMPLEMENTATION_SLOT, at)),
        Call("eth_getStorageAt", (address, evidence.BEACON_SLOT, at)),
        *(_view(address, _supports(one), at) for one in evidence.INTERFACES),
    )
    implementation = evidence.minimal_proxy_target(code) or _word_address(slot)
    if implementation is None and (by := _word_address(beacon)) is not None:
        (answer,) = yield (_view(by, evidence.BEACON_CALL, at),)
        # A call runs what anybody wrote, which may take for ever: it is not waited for.
        implementation = _word_address(answer) if answer.result is not None else None
    behind = b""
    if implementation is not None:
        (answer,) = yield (_code(implementation, at),)
        behind = _bytes(answer) if _is_told(answer) else b""
    found = [evidence.scan(part) for part in (code, behind)]
    return Contract(
        address=address,
        code_hash="0x" + keccak(code).hex(),
        implementation=implementation,
        selectors=tuple(sorted({one for selectors, _ in found for one in selectors})),
        topics=tuple(sorted({one for _, topics in found for one in topics})),
        interfaces=tuple(one for one, probe in zip(evidence.INTERFACES, probes, strict=True) if _is_true(probe)),
    )


def _code(address: Address, at: Any) -> Call:
    return Call("eth_getCode", (address, at))


def _bytes(answer: Answer) -> bytes:
    text = read(answer.required(), HexData, answer.call.method)
    try:
        return bytes.fromhex(text[2:])
    except ValueError as error:
        raise NodeFault(f"{answer.call.method}: {error}") from error


def _view(address: Address, data: str, at: Any) -> Call:
    return Call("eth_call", ({"to": address, "data": data}, at))


def _word_address(answer: Answer) -> Address | None:
    """The address in a word that was read, None for none: zero, another length, or a word that is more than an address."""
    return evidence.address_in("0x" + _bytes(answer).hex()) if _is_told(answer) else None


def _is_told(answer: Answer) -> bool:
    """Whether there is a result; a node that is only busy is to be asked again: what a proxy points to is learnt once and kept."""
    if answer.error is not None and answer.error.passing:
        answer.required()
    return answer.result is not None


def _supports(interface: str) -> str:
    return "0x01ffc9a7" + interface[2:].ljust(64, "0")


def _is_true(answer: Answer) -> bool:
    return answer.result is not None and int.from_bytes(_bytes(answer)) == 1
