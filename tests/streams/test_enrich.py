"""Enrichment: what is asked about a tipset, what is not believed, and the records that come of it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from streams import evidence
from streams.answers import Answers
from streams.chain import Link
from streams.enrich import Assembled, assemble, build
from streams.errors import NodeFault, Refusal
from streams.memory import Memory
from streams.recording import Recording
from streams.records import Child, LogsRecord, TipsetRecord
from streams.rpc import Call
from streams.wire import EAM, Cid
from tests.node.asking import Answerer, ask, but, by_node, by_recording, refused, told
from tests.node.world import BASE_FEE, BURNT, CONTRACT, GAS_LIMIT, GAS_USED, RISE, SENT, Node, Tip, World

WORLD = World()
WORLD.advance(0, 2, 0, 0, 0)
CHILD_TIP, TIP = WORLD.below(1), WORLD.below(2)
FACTORY_EVENT = evidence.topic_of("PairCreated(address,address,address,uint256)")
PAIR = "0x" + "4a" * 20
ACCOUNT, NAME = f"0xff{1234:038x}", "0xd388ab098ed3e84c0d808776440b48f685198498"
DELEGATED = "f410f2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gmy"
ROOT = {"/": "bafy2bzacecefj5u6mnyocompswu57c4zsaqxbx3cfalydgpjk5z56ucchoehy"}


def link(tip: Tip, *, keyed: bool = True) -> Link:
    """The place of a tipset, as a Lotus tells it or as eth does."""
    assert tip.parent is not None
    key, parent_key = (tuple(Cid(one["/"]) for one in each.key) if keyed else () for each in (tip, tip.parent))
    return Link(tip.height, tip.hash, tip.parent.hash, key, parent_key, 30 * tip.height)


def lotus() -> Answerer:
    return by_node(Node(WORLD))


def assembled(answer: Answerer | None = None, memory: Memory | None = None, *, native: bool = True) -> Assembled:
    """The tipset in question, by the answers of a node."""
    child = link(CHILD_TIP, keyed=native)
    return ask(assemble(link(TIP, keyed=native), child, memory or Memory(), native=native), answer or lotus())


def records(one: Assembled, memory: Memory) -> tuple[TipsetRecord, LogsRecord]:
    return build(one, memory, network="net", sequence=40, parent_height=3, noticed_at=5.5)


def changed(place: int, **fields: Any) -> Any:
    """Other fields in one element of a list."""
    return lambda said: [element | fields if number == place else element for number, element in enumerate(said)]


def in_block(place: int, **fields: Any) -> Any:
    """Other fields in one message of a block."""
    return lambda said: said | {"transactions": changed(place, **fields)(said["transactions"])}


def test_a_lotus_tells_everything() -> None:
    """The block, its receipts, that they are complete, and how much f099 rose; each is asked once."""
    asked: list[Call] = []
    one = ask(assemble(link(TIP), link(CHILD_TIP), Memory(), native=True), lotus(), asked)
    assert one.complaint is None
    assert one.burnt_rise_attofil == RISE
    assert len(one.receipts) == len(one.block.transactions) == 2
    methods = [call.method for call in asked]
    assert methods[:5] == [
        "eth_getBlockByHash",
        "eth_getBlockReceipts",
        "Filecoin.ChainGetParentReceipts",
        "Filecoin.StateGetActor",
        "Filecoin.StateGetActor",
    ]


def test_balances_are_asked_once_for_neighbours() -> None:
    """What f099 held after a tipset is what it held before the next."""
    memory = Memory()
    assembled(memory=memory)
    asked: list[Call] = []
    above = ask(assemble(link(CHILD_TIP), link(WORLD.head), memory, native=True), lotus(), asked)
    assert above.burnt_rise_attofil == RISE
    assert [call.method for call in asked].count("Filecoin.StateGetActor") == 1


def test_without_a_child_only_eth_is_asked() -> None:
    """So it is on an eth-only node, and for a head that nothing lies on yet."""
    asked: list[Call] = []
    one = ask(assemble(link(TIP), None, Memory(), native=True), lotus(), asked)
    assert not [call for call in asked if call.method.startswith("Filecoin.")]
    assert (one.complaint, one.burnt_rise_attofil) == (None, None)
    assert assembled(by_node(Node(WORLD, native=False)), native=False).burnt_rise_attofil is None


def test_the_key_of_a_child_is_asked_for() -> None:
    """A child that is known by its eth hash alone gets its key; where the node tells another or none, nothing vouches for the receipts."""
    eth = assemble(link(TIP), link(CHILD_TIP, keyed=False), Memory(), native=True)
    assert ask(eth, lotus()).burnt_rise_attofil == RISE
    other = but(lotus(), ChainGetTipSetAfterHeight=lambda said: said | {"Cids": said["Cids"] + said["Cids"]})
    eth = assemble(link(TIP), link(CHILD_TIP, keyed=False), Memory(), native=True)
    assert "is not known, so nothing tells" in str(ask(eth, other).complaint)
    for code, complains in ((-32000, True), (-32601, False)):
        eth = assemble(link(TIP), link(CHILD_TIP, keyed=False), Memory(), native=True)
        told = ask(eth, lambda call, code=code: refused(call, code) if "AfterHeight" in call.method else lotus()(call))  # type: ignore[misc]
        assert (told.complaint is not None) == complains


@pytest.mark.parametrize("before_too", [True, False])
def test_a_rise_that_the_node_will_not_tell_is_not_known(before_too: bool) -> None:
    """One balance without the other tells nothing; the records are built all the same."""
    keys = [[{"/": cid.text} for cid in one.key] for one in (link(TIP), link(CHILD_TIP))]
    answer = lotus()

    def silent(call: Call) -> Any:
        key = [{"/": cid.text} for cid in call.params[1]] if call.method == "Filecoin.StateGetActor" else None
        return refused(call) if key is not None and key in keys[0 if before_too else 1 :] else answer(call)

    memory = Memory()
    one = assembled(silent, memory)
    assert one.burnt_rise_attofil is None
    assert records(one, memory)[0].burnt_rise_attofil is None


@pytest.mark.parametrize(
    "method, change, reason",
    [
        ("getBlockByHash", lambda said: said | {"hash": "0x" + "99" * 32}, "eth_getBlockByHash: asked for height"),
        ("getBlockByHash", lambda said: said | {"number": "0x1"}, "eth_getBlockByHash: asked for height .*, got 1 "),
        ("getBlockByHash", lambda said: said | {"parentHash": "0x" + "99" * 32}, "the parent of height"),
        (
            "getBlockReceipts",
            lambda said: [said[0] | {"gasUsed": "0xfffffffff"}] * 17,
            "eth_getBlockReceipts: height .* used 1168231104495 gas",
        ),
        ("getBlockReceipts", changed(1, blockHash="0x" + "99" * 32), "eth_getBlockReceipts: asked for height"),
        ("getBlockReceipts", changed(0, blockNumber="0x1"), "eth_getBlockReceipts: asked for height .*, got one of 1 "),
        (
            "getBlockByHash",
            lambda said: said | {"transactions": ["0x" + "99" * 32] * 2},
            "eth_getBlockByHash: the answer has another shape",
        ),
        ("getBlockReceipts", lambda _: {}, "eth_getBlockReceipts: the answer has another shape"),
        ("ChainGetParentReceipts", lambda _: [{"ExitCode": 0}], "ChainGetParentReceipts: the answer has another shape"),
        ("StateGetActor", lambda _: {"Balance": "much"}, "StateGetActor: the answer has another shape"),
        ("getCode", lambda _: "0x1", "eth_getCode"),
    ],
)
def test_answers_that_can_not_be_true_are_faults(method: str, change: Any, reason: str) -> None:
    """For another tipset or height, with another parent, or of another shape."""
    with pytest.raises(NodeFault, match=reason):
        assembled(but(lotus(), **{method: change}))


@pytest.mark.parametrize("method", ["getBlockByHash", "getBlockReceipts", "getCode"])
def test_what_is_needed_and_refused_is_a_refusal(method: str) -> None:
    """Without block, receipts or code there is no record."""
    with pytest.raises(Refusal, match=method):
        assembled(but(lotus(), **{method: lambda _: None}))


@pytest.mark.parametrize(
    "method, change, complaint",
    [
        ("getBlockReceipts", lambda said: said[:1], "1 of 2 receipts are missing"),
        ("getBlockByHash", lambda said: said | {"transactions": said["transactions"][:1]}, "2 receipts for 1 transactions"),
        ("ChainGetParentReceipts", lambda said: said[:1], "1 native receipts for 2 transactions"),
        ("ChainGetParentReceipts", changed(1, GasUsed=5), "gasUsed differs from the native receipt's 5"),
        ("ChainGetParentReceipts", lambda _: None, "so nothing tells that the receipts are whole"),
    ],
)
def test_receipts_that_lack_something_are_complained_of(method: str, change: Any, complaint: str | None) -> None:
    """Against the block, and against the native receipts where the node tells them; the record says that it is incomplete."""
    memory = Memory()
    one = assembled(but(lotus(), **{method: change}), memory)
    assert (one.complaint is None) == (complaint is None)
    assert complaint is None or complaint in str(one.complaint)
    assert records(one, memory)[0].incomplete == (complaint is not None)


def test_a_contract_whose_code_is_not_told_is_complained_of() -> None:
    """What was created has code: a node that shows none and does not tell that of the tipset is asked again, and its record marked."""
    behind = but(lotus(), getCode=lambda _: "0x", getBlockReceipts=changed(0, contractAddress="0x" + "c0" * 20))
    untold = assembled(lambda call: refused(call) if call.method == "eth_getCode" and call.params[1] != "latest" else behind(call))
    assert "no state that the node would tell has the code of 0x" + "c0" * 20 in str(untold.complaint)
    assert assembled(behind).complaint is None


def test_messages_without_a_receipt_are_left_out() -> None:
    """The rest of an incomplete tipset is published."""
    memory = Memory()
    tipset, logs = records(assembled(but(lotus(), getBlockReceipts=lambda said: said[1:]), memory), memory)
    assert [message.receiver for message in tipset.messages] == [BURNT]
    assert logs.logs == ()


EVM = [{"Entries": [{"Key": "t1"}, {"Key": "d"}]}]
BUILT_IN = [{"Entries": [{"Key": "$type"}, {"Key": "t1"}]}]


@pytest.mark.parametrize(
    "events, logs, receiver, complains",
    [
        (EVM, [], CONTRACT, True),
        (BUILT_IN + EVM, [], CONTRACT, True),
        (BUILT_IN, [], CONTRACT, False),
        ([], [], CONTRACT, False),
        (None, [], CONTRACT, True),
        (EVM, [{"address": CONTRACT}], CONTRACT, False),
        (EVM, [], BURNT, False),
        (EVM, [], None, True),
        (EVM, [], EAM, True),
    ],
)
def test_events_that_the_receipt_does_not_show(events: Any, logs: list[Any], receiver: str | None, complains: bool) -> None:
    """EVM events of a call or a creation must stand in its receipt; those of built-in actors are none, and neither are no events."""
    node = but(
        lotus(),
        getBlockByHash=in_block(0, to=receiver),
        getBlockReceipts=changed(0, logs=logs),
        ChainGetParentReceipts=changed(0, EventsRoot=ROOT),
        ChainGetEvents=lambda _: events,
    )
    one = assembled(node)
    assert (one.complaint is not None) == complains
    reason = "nothing tells" if events is None else "the chain holds its events, the receipt does not"
    assert not complains or reason in str(one.complaint)


@pytest.mark.parametrize(
    "code, message, asked, complains",
    [(-32000, "block not found", 2, False), (-32601, "method not found", 1, False), (429, "too many requests", 1, True)],
)
def test_any_block_of_the_child_tells(code: int, message: str, asked: int, complains: bool) -> None:
    """The next one is asked where a node does not know the first, not where it is busy or tells of none."""
    child, node, calls = link(CHILD_TIP), lotus(), list[Call]()
    child = replace(child, key=(Cid(ROOT["/"]), *child.key))

    def answer(call: Call) -> Any:
        return refused(call, code, message) if call.method.endswith("ParentReceipts") and call.params == (child.key[0],) else node(call)

    one = ask(assemble(link(TIP), child, Memory(), native=True), answer, calls)
    assert [call.method for call in calls].count("Filecoin.ChainGetParentReceipts") == asked
    assert (one.complaint is not None) == complains


@pytest.mark.parametrize("method", ["Filecoin.ChainGetParentReceipts", "Filecoin.ChainGetEvents"])
def test_a_witness_that_answers_nothing_is_missed(method: str) -> None:
    """A result of null is no word that the receipts are whole."""
    node = but(lotus(), getBlockReceipts=changed(0, logs=[]), ChainGetParentReceipts=changed(0, EventsRoot=ROOT))
    one = assembled(lambda call: told(call, None) if call.method == method else node(call))
    assert "no result (code 0), so nothing tells" in str(one.complaint)


@pytest.mark.parametrize("method", ["Filecoin.ChainGetParentReceipts", "Filecoin.ChainGetEvents"])
@pytest.mark.parametrize("code, message", [(-32601, "method not found"), (-32000, "this method is not supported here")])
def test_a_witness_that_is_not_offered_is_not_missed(method: str, code: int, message: str) -> None:
    """A gateway without the native receipts or events is followed by what it has."""
    node = but(lotus(), getBlockReceipts=changed(0, logs=[]), ChainGetParentReceipts=changed(0, EventsRoot=ROOT))
    assert assembled(lambda call: refused(call, code, message) if call.method == method else node(call)).complaint is None


def test_the_records_of_a_tipset() -> None:
    """All that the block and the receipts say, with consecutive numbers, and the evidence of the contracts and nobody else."""
    memory = Memory()
    tipset, logs = records(assembled(memory=memory), memory)
    call, transfer = tipset.messages
    assert (tipset.sequence, logs.sequence) == (40, 41)
    assert (tipset.height, tipset.parent_height, tipset.hash, tipset.noticed_at) == (TIP.height, 3, TIP.hash, 5.5)
    assert (logs.height, logs.parent_height, logs.hash, logs.noticed_at) == (TIP.height, 3, TIP.hash, 5.5)
    assert (tipset.parent_hash, tipset.timestamp_seconds, tipset.base_fee_attofil) == (link(TIP).parent_hash, 30 * TIP.height, BASE_FEE)
    assert (call.receiver, call.creates, call.created, call.succeeded) == (CONTRACT, False, None, True)
    assert (call.gas_used, call.gas_limit, call.gas_fee_cap, call.gas_premium) == (GAS_USED, GAS_LIMIT, 10**6, 1)
    assert (call.selector, call.value_attofil, transfer.value_attofil) == ("0x12345678", 0, SENT)
    assert [one.address for one in tipset.contracts] == [one.address for one in logs.contracts] == [CONTRACT]
    assert [(log.index, log.transaction, log.emitter) for log in logs.logs] == [(0, 0, CONTRACT)]


@pytest.mark.parametrize("told, selector", [("0x", ""), ("0x123456", ""), ("0xABCDEF12", "0xabcdef12"), ("0xabcdef1299", "0xabcdef12")])
def test_selectors_are_the_first_four_bytes(told: str, selector: str) -> None:
    """In lower case; less than four are none."""
    memory = Memory()
    one = assembled(but(lotus(), getBlockByHash=in_block(0, input=told)), memory)
    assert records(one, memory)[0].messages[0].selector == selector


@pytest.mark.parametrize("receiver", [None, EAM])
@pytest.mark.parametrize("status", ["0x1", "0x0"])
def test_creations(receiver: str | None, status: str) -> None:
    """To nobody or to the Ethereum address manager; only a successful one made a contract, which comes with its evidence."""
    memory = Memory()
    node = but(
        lotus(),
        getBlockByHash=in_block(1, to=receiver),
        getBlockReceipts=changed(1, contractAddress=PAIR.upper().replace("X", "x"), status=status),
        getCode=lambda _: "0x6001",
    )
    tipset, _ = records(assembled(node, memory), memory)
    made = tipset.messages[1]
    assert (made.creates, made.receiver, made.succeeded) == (True, receiver, status == "0x1")
    assert made.created == (PAIR if status == "0x1" else None)
    assert (PAIR in [one.address for one in tipset.contracts]) == (status == "0x1")


def test_a_factorys_child_is_known_from_its_announcement_on() -> None:
    """In the tipset of the announcement already, and not in records that were built before."""
    word = PAIR[2:].rjust(64, "0")
    announced = {
        "address": CONTRACT.upper().replace("X", "x"),
        "topics": [FACTORY_EVENT.upper().replace("X", "x"), *["0x" + "00" * 32] * 2],
    }
    memory = Memory()
    calls = but(lotus(), getBlockByHash=in_block(1, to=PAIR), getCode=lambda _: "0x6001")
    announces = but(calls, getBlockReceipts=changed(0, logs=[announced | {"data": "0x" + word + "00" * 32}]))
    before = assembled(calls, memory)
    after = assembled(announces, memory)
    children = [{one.address: one.child_of for one in records(each, memory)[0].contracts}[PAIR] for each in (before, after, before)]
    assert children == [None, Child(CONTRACT, FACTORY_EVENT), Child(CONTRACT, FACTORY_EVENT)]
    assert memory.learnt[-1].child_of == Child(CONTRACT, FACTORY_EVENT)


def test_an_actor_has_one_name_whichever_way_it_came() -> None:
    """A sender or receiver by its id is written by its delegated address; a contract that is called so is a contract."""
    memory = Memory()
    node = but(
        lotus(),
        getBlockByHash=lambda said: in_block(1, to=ACCOUNT)(in_block(0, **{"from": ACCOUNT})(said)),
        StateGetActor=lambda _: {"Balance": "0", "DelegatedAddress": DELEGATED},
        getCode=lambda _: "0x6001",
    )
    tipset, _ = records(assembled(node, memory), memory)
    assert tipset.messages[0].sender == tipset.messages[1].receiver == NAME
    assert NAME in [one.address for one in tipset.contracts]


def test_hashes_and_addresses_are_in_lower_case() -> None:
    """However the node writes them: receipts are found, and one address is not two."""
    upper = {"hash", "from", "to", "address", "transactionHash", "topics", "blockHash", "parentHash"}

    def shouted(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: shouted(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [shouted(one, key) for one in value]
        return value.upper().replace("X", "x") if key in upper and isinstance(value, str) else value

    plain, loud = Memory(), Memory()
    node = but(lotus(), getBlockByHash=shouted, getBlockReceipts=shouted)
    assert records(assembled(node, loud), loud) == records(assembled(memory=plain), plain)


def test_recorded_tipsets(devnet: Recording) -> None:
    """Every tipset of a real node is complete, its logs are those of the receipts, and all that emits has code."""
    answers, now = Answers(devnet), devnet.seconds
    chain = answers.canonical(now)
    memory = Memory()
    rises, created = 0, 0
    for place, at in enumerate(chain[:-1]):
        one = ask(assemble(at, chain[place + 1], memory, native=True), by_recording(answers, now))
        assert one.complaint is None
        tipset, logs = build(one, memory, network="devnet", sequence=2 * place, parent_height=None, noticed_at=0.0)
        told = json.loads(bytes(answers.answer("eth_getBlockReceipts", [at.hash], now)))
        assert [log.emitter for log in logs.logs] == [log["address"] for receipt in told for log in receipt["logs"]]
        assert {log.emitter for log in logs.logs} == {one.address for one in logs.contracts}
        assert len(tipset.messages) == len(told)
        rises += tipset.burnt_rise_attofil or 0
        made = {message.created for message in tipset.messages if message.created is not None}
        assert made <= {one.address for one in tipset.contracts}
        created += len(made)
    assert created > 0
    assert rises > 0
