"""Probes: what is asked of contracts and actors, and what is made of the answers."""

from typing import Any

import pytest
from eth_utils.crypto import keccak

from streams import evidence
from streams.errors import NodeFault, Refusal
from streams.memory import RECHECK_EPOCHS, Memory
from streams.probes import fetch_contract, learn
from streams.records import Contract
from streams.rpc import Answer, Call
from streams.wire import EthBlock, Receipt, ReceiptLog, Transaction
from tests.node.asking import ask, refused, told

PROXY, LOGIC = "0x" + "c0" * 20, "0x" + "1c" * 20
SELECTOR = evidence.selector_of("token0()")
CODE = "0x80" + "63" + SELECTOR[2:] + "1461000057"
"""DUP1 PUSH4 selector EQ PUSH2 JUMPI: the code answers one selector."""
PLAIN = "0x6001600155"
ZERO = "0x" + "00" * 32
NFT, MULTI = evidence.INTERFACES
ACCOUNT, OTHER = f"0xff{1234:038x}", f"0xff{1235:038x}"
DELEGATED, NAME = "f410f2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gmy", "0xd388ab098ed3e84c0d808776440b48f685198498"


class Chain:
    """Answers about code, storage, calls and actors; a name that is not there is refused."""

    def __init__(self, **codes: Any) -> None:
        self.codes: dict[str, Any] = {}
        self.slots: dict[str, Any] = {}
        self.beacons: dict[str, Any] = {}
        self.implementations: dict[str, Any] = {}
        self.supported: dict[str, Any] = {}
        self.actors: dict[str, Any] = {}
        self.refusal = "actor not found"
        self.asked: list[Call] = []

    def __call__(self, call: Call) -> Answer:
        """The answer to a call."""
        self.asked.append(call)
        match call.method:
            case "eth_getCode":
                result = self.codes.get(call.params[0], "0x")
            case "eth_getStorageAt":
                slots = {evidence.IMPLEMENTATION_SLOT: self.slots, evidence.BEACON_SLOT: self.beacons}
                result = slots[call.params[1]].get(call.params[0], ZERO)
            case "eth_call" if call.params[0]["data"] == evidence.BEACON_CALL:
                result = self.implementations.get(call.params[0]["to"])
            case "eth_call":
                data = call.params[0]["data"]
                assert len(data) == 2 + 8 + 64
                assert data.startswith("0x01ffc9a7")
                result = self.supported.get("0x" + data[10:18])
            case "Filecoin.StateGetActor":
                result = self.actors.get(call.params[0])
            case _:
                raise AssertionError(call)
        return told(call, result) if result is not None else refused(call, message=self.refusal)


def test_no_code_is_no_contract() -> None:
    """An account has no evidence, and nothing more is asked about it."""
    chain = Chain()
    assert ask(fetch_contract(PROXY), chain) is None
    assert [call.method for call in chain.asked] == ["eth_getCode"]


def test_code_is_scanned() -> None:
    """The hash of the code, and what of the tables stands in it; calls that revert confirm no interface."""
    chain = Chain()
    chain.codes[PROXY] = CODE
    found = ask(fetch_contract(PROXY), chain)
    assert found == Contract(PROXY, "0x" + keccak(hexstr=CODE).hex(), None, (SELECTOR,))


def test_interfaces_are_those_that_say_yes() -> None:
    """One word that is 1 means yes; nothing, 0 and anything else mean no."""
    chain = Chain()
    chain.codes[PROXY] = PLAIN
    for answer, confirmed in (("0x" + "00" * 31 + "01", True), (ZERO, False), ("0x", False), ("0x" + "ff" * 32, False)):
        chain.supported = {MULTI: answer}
        found = ask(fetch_contract(PROXY), chain)
        assert found is not None
        assert found.interfaces == ((MULTI,) if confirmed else ())


def test_a_proxy_shows_what_its_implementation_does() -> None:
    """By the slot of EIP-1967; the code hash stays the proxy's."""
    chain = Chain()
    chain.codes = {PROXY: PLAIN, LOGIC: CODE}
    chain.slots[PROXY] = "0x" + "00" * 12 + LOGIC[2:]
    found = ask(fetch_contract(PROXY), chain)
    assert found == Contract(PROXY, "0x" + keccak(hexstr=PLAIN).hex(), LOGIC, (SELECTOR,))


def test_a_minimal_proxy_names_its_implementation_in_its_code() -> None:
    """ERC-1167 needs no slot, and wins over one."""
    chain = Chain()
    minimal = "0x363d3d373d3d3d363d73" + LOGIC[2:] + "5af43d82803e903d91602b57fd5bf3"
    chain.codes = {PROXY: minimal, LOGIC: CODE}
    chain.slots[PROXY] = "0x" + "00" * 12 + "99" * 20
    found = ask(fetch_contract(PROXY), chain)
    assert found is not None
    assert (found.implementation, found.selectors) == (LOGIC, (SELECTOR,))


@pytest.mark.parametrize(
    "answer, implementation", [("0x" + "00" * 12 + LOGIC[2:], LOGIC), (ZERO, None), ("0x", None), (None, None), ("0x" + "ff" * 32, None)]
)
def test_a_beacon_is_followed_to_its_implementation(answer: str | None, implementation: str | None) -> None:
    """The slot of EIP-1967 names the beacon, which is asked; one that will not say leaves the proxy without an implementation."""
    chain = Chain()
    chain.codes = {PROXY: PLAIN, LOGIC: CODE}
    chain.beacons[PROXY] = "0x" + "00" * 12 + "be" * 20
    chain.implementations["0x" + "be" * 20] = answer
    found = ask(fetch_contract(PROXY), chain)
    assert found is not None
    assert (found.implementation, found.selectors) == (implementation, (SELECTOR,) if implementation else ())


def test_the_slot_of_an_implementation_wins_over_a_beacon() -> None:
    """As EIP-1967 says; the beacon is not even asked."""
    chain = Chain()
    chain.codes = {PROXY: PLAIN, LOGIC: CODE}
    chain.slots[PROXY], chain.beacons[PROXY] = ("0x" + "00" * 12 + one for one in (LOGIC[2:], "be" * 20))
    found = ask(fetch_contract(PROXY), chain)
    assert found is not None
    assert found.implementation == LOGIC
    assert evidence.BEACON_CALL not in [call.params[0]["data"] for call in chain.asked if call.method == "eth_call"]


@pytest.mark.parametrize("slot", [ZERO, "0x", "0x01", "0x" + "ff" * 32, None])
def test_an_empty_or_odd_slot_is_no_proxy(slot: str | None) -> None:
    """Only a whole word that is not 0 is an address, and a node that will not tell the slot does not stop the rest."""
    chain = Chain()
    chain.codes[PROXY] = CODE
    answers = chain if slot is not None else lambda call: refused(call) if call.method == "eth_getStorageAt" else chain(call)
    chain.slots[PROXY] = slot
    found = ask(fetch_contract(PROXY), answers)
    assert found is not None
    assert (found.implementation, found.selectors) == (None, (SELECTOR,))


def test_an_implementation_whose_code_is_refused_is_still_named() -> None:
    """The proxy's own code is evidence enough."""
    chain = Chain()
    chain.codes = {PROXY: CODE}
    chain.slots[PROXY] = "0x" + "00" * 12 + LOGIC[2:]
    found = ask(fetch_contract(PROXY), lambda call: refused(call) if call == Call("eth_getCode", (LOGIC, "latest")) else chain(call))
    assert found is not None
    assert (found.implementation, found.selectors) == (LOGIC, (SELECTOR,))


@pytest.mark.parametrize("code, complains", [(-32000, False), (429, True)])
def test_a_receiver_is_no_account_because_a_node_is_busy(code: int, complains: bool) -> None:
    """A state that the node does not have can not show more; one that it does not tell just now may."""
    memory = Memory()

    def refusing(call: Call) -> Answer:
        return told(call, "0x") if call.params[1] == "latest" else refused(call, code, "no")

    complaint = ask(learn(100, block((ACCOUNT, LOGIC)), [receipt()], memory, native=False), refusing)
    assert (complaint is not None, LOGIC in memory.without_code) == (complains, not complains)


@pytest.mark.parametrize("question", [("eth_getStorageAt", PROXY), ("eth_getCode", LOGIC)])
def test_a_busy_node_is_to_be_asked_again_for_what_a_proxy_points_to(question: tuple[str, str]) -> None:
    """What is learnt of a contract is kept for good; a limit of a gateway must not stand in it as an answer."""
    chain = Chain()
    chain.codes = {PROXY: CODE}
    chain.slots[PROXY] = "0x" + "00" * 12 + LOGIC[2:]
    with pytest.raises(Refusal, match=question[0]):
        ask(fetch_contract(PROXY), lambda call: refused(call, 429, "slow") if (call.method, call.params[0]) == question else chain(call))


@pytest.mark.parametrize("code", ["0x123", "60", 7, {"a": 1}])
def test_code_that_is_no_hex_is_a_fault(code: Any) -> None:
    """Odd digits and other shapes can not be code; an error instead of code is a refusal."""
    with pytest.raises(NodeFault, match="eth_getCode"):
        ask(fetch_contract(PROXY), lambda call: told(call, code))
    with pytest.raises(Refusal, match="eth_getCode"):
        ask(fetch_contract(PROXY), refused)


def block(*messages: tuple[str, str | None]) -> EthBlock:
    """A tipset with messages from and to these."""
    made = [Transaction(f"0x{place:064x}", sender, "0x1", to) for place, (sender, to) in enumerate(messages)]
    return EthBlock("0x" + "01" * 32, "0x" + "02" * 32, "0x64", "0x0", "0x64", made)


def receipt(created: str | None = None, *emitters: str) -> Receipt:
    logs = tuple(ReceiptLog(one) for one in emitters)
    return Receipt("0x" + "00" * 32, "0x" + "01" * 32, "0x64", "0x1", "0x1", contract_address=created, logs=logs)


def test_everybody_new_is_asked_about_once() -> None:
    """Receivers, emitters and created contracts, whatever the case of their digits; senders have no code to be asked for."""
    chain, memory = Chain(), Memory()
    chain.codes = {PROXY: PLAIN, LOGIC: CODE, "0x" + "ee" * 20: PLAIN}
    tipset = block(("0x" + "5e" * 20, PROXY.upper().replace("X", "x")), ("0x" + "5e" * 20, "0x" + "aa" * 20), ("0x" + "5e" * 20, None))
    receipts = [receipt(LOGIC), receipt(None, "0x" + "EE" * 20)]
    ask(learn(100, tipset, receipts, memory, native=True), chain)
    assert set(memory.contracts) == {PROXY, LOGIC, "0x" + "ee" * 20}
    assert memory.without_code == {"0x" + "aa" * 20: 100}
    assert len(memory.learnt) == 3
    asked = len(chain.asked)
    ask(learn(100 + RECHECK_EPOCHS - 1, tipset, receipts, memory, native=True), chain)
    assert len(chain.asked) == asked
    ask(learn(100 + RECHECK_EPOCHS, tipset, receipts, memory, native=True), chain)
    assert [call.params[0] for call in chain.asked[asked:]] == ["0x" + "aa" * 20] * 2


def test_who_emits_or_was_created_has_code_whatever_was_believed() -> None:
    """An address without code is asked about at once when an event or a creation shows that it has some."""
    chain, memory = Chain(), Memory(without_code={PROXY: 99, LOGIC: 99})
    chain.codes = {PROXY: PLAIN, LOGIC: CODE}
    ask(learn(100, block(), [receipt(PROXY), receipt(None, LOGIC)], memory, native=False), chain)
    assert set(memory.contracts) == {PROXY, LOGIC}


def test_masked_actors_get_their_one_name() -> None:
    """By id: the delegated address where there is one, else the id itself; code is asked by that name, and nobody found has none."""
    chain, memory = Chain(), Memory()
    chain.actors = {"f01234": {"Balance": "0", "DelegatedAddress": DELEGATED}, "f01235": {"Balance": "0"}}
    chain.codes = {NAME: PLAIN}
    gone = f"0xff{1236:038x}"
    ask(learn(100, block((ACCOUNT, OTHER), (OTHER, ACCOUNT), (gone, PROXY)), [receipt()], memory, native=True), chain)
    assert memory.names == {ACCOUNT: NAME, OTHER: OTHER}
    assert set(memory.contracts) == {NAME}
    assert Call("eth_getCode", (OTHER, "latest")) not in chain.asked
    names = [call for call in chain.asked if call.method == "Filecoin.StateGetActor"]
    assert len(names) == 3
    ask(learn(101, block((ACCOUNT, OTHER)), [receipt()], memory, native=True), chain)
    assert [call for call in chain.asked if call.method == "Filecoin.StateGetActor"] == names


def test_a_passing_error_decides_nothing() -> None:
    """A node that is busy leaves the tipset incomplete, for an actor would have two names; one that knows no such actor may be right."""
    chain, memory = Chain(), Memory()
    for refusal, complains in (("rate limit", True), ("actor not found", False), ("no such method here", False)):
        chain.refusal = refusal
        complaint = ask(learn(100, block((ACCOUNT, PROXY)), [receipt()], memory, native=True), chain)
        assert (memory.names, complaint is not None and ACCOUNT in complaint) == ({}, complains)
    chain.actors = {"f01234": {"Balance": "0", "DelegatedAddress": DELEGATED}}
    ask(learn(102, block((ACCOUNT, PROXY)), [receipt()], memory, native=True), chain)
    assert memory.names == {ACCOUNT: NAME}


def test_an_eth_only_node_is_not_asked_for_names() -> None:
    """It has none to tell; the code of a masked receiver is asked for as it stands, that of built-in actors never."""
    chain, memory = Chain(), Memory()
    ask(learn(100, block((ACCOUNT, OTHER), (ACCOUNT, f"0xff{5:038x}")), [receipt()], memory, native=False), chain)
    assert [call.params[0] for call in chain.asked] == [OTHER, OTHER]
    assert memory.names == {}


def test_contracts_made_inside_of_messages_may_stay_unknown() -> None:
    """Their code is asked for, but nothing waits for it where the node will not tell; what is called must be known."""
    chain, memory = Chain(), Memory()
    chain.codes = {PROXY: PLAIN}

    def refusing(call: Call) -> Answer:
        return refused(call) if call == Call("eth_getCode", (LOGIC, "latest")) else chain(call)

    ask(learn(100, block(), [], memory, native=False, made=[PROXY, LOGIC]), refusing)
    assert set(memory.contracts) == {PROXY}
    assert memory.without_code == {}
    with pytest.raises(Refusal):
        ask(learn(101, block((NAME, LOGIC)), [], memory, native=False), refusing)


def test_code_that_the_newest_state_lacks_is_looked_for_at_the_tipset() -> None:
    """A node whose head went down, or whose backend is behind, has no code of what was just made; its tipset has."""
    chain, memory = Chain(), Memory()

    def behind(call: Call) -> Answer:
        if call.method == "eth_getCode" and call.params[1] == "latest":
            return told(call, "0x")
        return chain(call)

    chain.codes = {PROXY: PLAIN}
    ask(learn(100, block((ACCOUNT, PROXY)), [receipt()], memory, native=False), behind)
    assert set(memory.contracts) == {PROXY}


def test_a_contract_without_code_is_not_believed_to_have_none() -> None:
    """Who emitted an event has code: where neither state shows it, and one is not told, it is asked for with the next tipset again."""
    memory = Memory()

    def forgetful(call: Call) -> Answer:
        return told(call, "0x") if call.params[1] == "latest" else refused(call)

    complaint = ask(learn(100, block((ACCOUNT, LOGIC)), [receipt(None, PROXY)], memory, native=False), forgetful)
    assert memory.without_code.keys() == {LOGIC}
    assert complaint == f"no state that the node would tell has the code of {PROXY}"
    assert ask(learn(101, block(), [receipt(None, PROXY)], memory, native=False), lambda call: told(call, "0x")) is None
