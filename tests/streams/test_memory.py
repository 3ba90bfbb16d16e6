"""The memory: what is asked once, what is asked again, and what survives when there is too much."""

import pytest

from streams import memory as module
from streams.memory import RECHECK_EPOCHS, Memory
from streams.records import Child, Contract

ADDRESS, FACTORY = "0x" + "c0" * 20, "0x" + "fa" * 20
ACCOUNT = f"0xff{1234:038x}"
BUILT_IN = f"0xff{5:038x}"
CONTRACT = Contract(ADDRESS, "0x" + "11" * 32, "0x" + "22" * 20, ("0x12345678",), ("0x" + "33" * 32,), ("0x80ac58cd",))
CHILD = Child(FACTORY, "0x" + "44" * 32)


def grown(contract: Contract, child: Child) -> Contract:
    return Contract(
        contract.address, contract.code_hash, contract.implementation, contract.selectors, contract.topics, contract.interfaces, child
    )


def test_a_contract_is_asked_about_once() -> None:
    """What has code is known for good, and told to the next run."""
    memory = Memory()
    assert memory.needs_evidence(ADDRESS, 5)
    memory.without_code[ADDRESS] = 1
    memory.learn(CONTRACT)
    assert not memory.needs_evidence(ADDRESS, 10**6)
    assert memory.without_code == {}
    assert memory.learnt == [CONTRACT]


def test_an_address_without_code_is_asked_about_again_after_a_while() -> None:
    """A contract may be made there later; actors with an id and without another name never get code."""
    memory = Memory(without_code={ADDRESS: 1000, ACCOUNT: 1000})
    assert not memory.needs_evidence(ADDRESS, 1000 + RECHECK_EPOCHS - 1)
    assert memory.needs_evidence(ADDRESS, 1000 + RECHECK_EPOCHS)
    assert not memory.needs_evidence(ADDRESS, 10)
    assert not memory.needs_evidence(ACCOUNT, 10**6)


def test_built_in_actors_are_never_asked_about() -> None:
    """They have no EVM code; any other masked id may be a contract's."""
    assert not Memory().needs_evidence(BUILT_IN, 5)
    assert Memory().needs_evidence(ACCOUNT, 5)


@pytest.mark.parametrize("announced_first", [True, False])
def test_a_child_may_be_announced_before_and_after_its_code_is_known(announced_first: bool) -> None:
    """Either way the contract has its factory, here and in what the next run is told."""
    memory = Memory()
    if announced_first:
        memory.learn_child(ADDRESS, CHILD)
    memory.learn(CONTRACT)
    memory.learn_child(ADDRESS, CHILD)
    assert memory.contracts[ADDRESS] == grown(CONTRACT, CHILD)
    assert memory.learnt[-1] == grown(CONTRACT, CHILD)


def test_the_first_announcement_counts() -> None:
    """Nobody takes a contract over by announcing it again, nor one that came with its factory from an earlier run."""
    memory = Memory()
    memory.learn_child(ADDRESS, CHILD)
    memory.learn(CONTRACT)
    learnt = list(memory.learnt)
    memory.learn_child(ADDRESS, Child("0x" + "ee" * 20, CHILD.topic0))
    assert memory.contracts[ADDRESS].child_of == CHILD
    assert memory.learnt == learnt
    later = Memory(contracts={ADDRESS: grown(CONTRACT, CHILD)})
    later.learn_child(ADDRESS, Child("0x" + "ee" * 20, CHILD.topic0))
    assert later.contracts[ADDRESS].child_of == CHILD
    assert later.learnt == []


def test_balances_are_those_of_a_parent_and_a_height() -> None:
    """The cron of null rounds burns too, so another height is only the second choice."""
    memory = Memory()
    assert memory.burnt_before("0xp", 7) is None
    memory.learn_burnt("0xp", 7, 100)
    memory.learn_burnt("0xp", 8, 130)
    assert memory.knows_burnt("0xp", 8)
    assert not memory.knows_burnt("0xp", 9)
    assert [memory.burnt_before("0xp", height) for height in (7, 8, 9)] == [100, 130, 100]


def test_too_much_is_forgotten_but_for_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be asked again goes; an actor's other name stays, since a tipset that waits to be built may need it."""
    monkeypatch.setattr(module, "REMEMBERED", 2)
    memory = Memory()
    memory.learn(CONTRACT)
    memory.names = {ACCOUNT: ADDRESS, BUILT_IN: BUILT_IN}
    memory.without_code = {"0x1": 1, "0x2": 1}
    memory.trim()
    assert len(memory.names) == len(memory.without_code) == 2
    memory.names["0x3"] = "0x3"
    memory.without_code["0x3"] = 1
    for height in range(3):
        memory.learn_burnt(f"0x{height}", height, 0)
    memory.trim()
    assert memory.names == {ACCOUNT: ADDRESS}
    assert memory.name(ACCOUNT) == ADDRESS
    assert memory.name(BUILT_IN) == BUILT_IN
    assert not memory.without_code
    assert not memory.burnt_attofil
    assert memory.contracts == {ADDRESS: CONTRACT}


def test_a_store_that_forgot_is_told_again_and_nothing_known_is_lost() -> None:
    """A run that goes on from a store which lost something keeps its memory, and has what the store lacks kept again."""
    other = Contract(FACTORY, "0x" + "55" * 32)
    memory = Memory(names={ACCOUNT: ADDRESS})
    memory.learn(CONTRACT)
    memory.learnt.clear()
    memory.join(Memory(contracts={FACTORY: other}, without_code={BUILT_IN: 7}))
    assert memory.contracts == {ADDRESS: CONTRACT, FACTORY: other}
    assert (memory.names, memory.without_code) == ({ACCOUNT: ADDRESS}, {BUILT_IN: 7})
    assert memory.learnt == [CONTRACT]
