"""What a contract is taken for, and why: asked of a node at once, as the follower would, with what a follower learnt of it on the way."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from processors.classify import Classifier, Tried, Verdict
from processors.faults import faults
from processors.parts import node_addresses, redis_at, url_of
from processors.registry import Registry
from processors.store import Store, networks
from streams.addresses import delegated, parse
from streams.connections import Address as NodeAddress
from streams.errors import NodeFault, UsageError
from streams.memory import Memory
from streams.probes import fetch_contract, learn_name
from streams.records import Address, Contract
from streams.rpc import MAX_FRAME_BYTES, Answer, Call, Session
from streams.settings import Settings
from streams.tasks import Fetch
from streams.wire import HexHeight, may_have_eth_name, read

T = TypeVar("T")

ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A contract on a chain, the evidence about it, every rule that was tried, and the verdict.

    Who made or announced it stands in no state: `followed` tells whether a follower's Redis could be asked for that.
    """

    chain_id: int
    contract: Contract
    followed: bool
    tried: Sequence[Tried]
    verdict: Verdict

    def plain(self) -> dict[str, Any]:
        """As JSON shows it."""
        contract = self.contract
        return {
            "address": contract.address,
            "delegated": delegated(contract.address),
            "chain_id": self.chain_id,
            "class": self.verdict.contract_class,
            "project": self.verdict.project,
            "decided_by": str(self.verdict.evidence),
            "code_hash": contract.code_hash,
            "implementation": contract.implementation,
            "created_by": contract.created_by,
            "announced_by": contract.child_of.factory if contract.child_of is not None else None,
            "followed": self.followed,
            "functions": list(contract.selectors),
            "events": list(contract.topics),
            "interfaces": list(contract.interfaces),
            "tried": [
                {
                    "rule": str(one.reason),
                    "class": one.verdict.contract_class if one.verdict is not None else None,
                    "project": one.verdict.project if one.verdict is not None else None,
                    "evidence": str(one.verdict.evidence.detail) if one.verdict is not None else None,
                }
                for one in self.tried
            ],
        }


async def inquire(settings: Settings, text: str) -> Inquiry:
    """What the contract at the address `text` (in any form) is taken for, asking the first of the nodes that answers.

    Raises:
        UsageError: `text` is no address, or there is no contract.
        NodeFault: no node answers.
        StoreFault: the Redis that is given does not.
    """
    address = parse(text)
    registry = Registry.load(settings.registry)
    async with AsyncExitStack() as stack:
        nodes, _ = await node_addresses(settings, stack)
        chain_id, contract = await _first(nodes, address)
    if contract is None:
        raise UsageError(f"address {text!r}: there is no contract on chain {chain_id} (an account, a built-in actor, or nothing)")
    classifier = Classifier(registry.for_chain(chain_id))
    url = url_of(settings)
    contract = contract if url is None else await _with_birth(url, settings, chain_id, contract)
    return Inquiry(chain_id, contract, url is not None, classifier.explain(contract), classifier.classify(contract))


async def _with_birth(url: str, settings: Settings, chain_id: int, contract: Contract) -> Contract:
    """The contract with who made and who announced it, as whoever follows the chain on this Redis saw in traces and events."""
    async with redis_at(url, ANSWER_SECONDS) as redis:
        with faults():
            found = [settings.network] if settings.network is not None else await networks(redis)
        for store in (Store(redis, network) for network in found):
            known = await store.load_contract(contract.address)
            if known is None or known.code_hash != contract.code_hash:
                continue
            if (await store.snapshot()).latest.get("chain_id", str(chain_id)) == str(chain_id):
                return msgspec.structs.replace(contract, child_of=known.child_of, created_by=known.created_by)
    return contract


async def _first(nodes: dict[str, NodeAddress], address: Address) -> tuple[int, Contract | None]:
    faults = []
    for name, node in nodes.items():
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                connect(node.url, additional_headers=node.headers, max_size=MAX_FRAME_BYTES) as socket,
            ):
                return await _answered(socket, _evidence(address))
        except TimeoutError:
            faults.append(f"{name}: no answer in {ANSWER_SECONDS:.0f} s")
        except (OSError, WebSocketException, NodeFault) as fault:
            faults.append(f"{name}: {fault}")
    raise NodeFault("; ".join(faults))


def _evidence(address: Address) -> Fetch[tuple[int, Contract | None]]:
    """The chain, and the evidence about the contract at this address or at the other name of this actor."""
    (chain,) = yield (Call("eth_chainId"),)
    memory = Memory()
    if may_have_eth_name(address):
        yield from learn_name(address, 0, memory)
    contract = yield from fetch_contract(memory.name(address))
    return int(read(chain.required(), HexHeight, "eth_chainId"), 16), contract


async def _answered(socket: ClientConnection, fetch: Fetch[T]) -> T:
    """Run one fetch on a connection of its own."""
    session = Session()
    try:
        calls = next(fetch)
        while True:
            numbers = []
            for call in calls:
                number, frame = session.request(call)
                numbers.append(number)
                await socket.send(frame, text=True)
            answers: dict[int, Answer] = {}
            while len(answers) < len(numbers):
                answers |= dict(one for one in session.receive(await socket.recv()) if isinstance(one, tuple))
            calls = fetch.send(tuple(answers[number] for number in numbers))
    except StopIteration as stop:
        result: T = stop.value
        return result
