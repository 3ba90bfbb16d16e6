"""What a recorded node answers: what it was asked, and what follows from its chain at that time."""

import json
from pathlib import Path
from typing import Any

import pytest

from streams.answers import Answers, Limits, Refused
from streams.recording import Recording
from tests.node.lines import EMITTER, OTHER_EMITTER, TOPIC, asked, block, body, log, message, notice, read, subscribed, tipset
from tests.node.world import Tip, World

WORLD = World()
FIRST = WORLD.head
SECOND = WORLD.grow(on=FIRST)
LEFT = WORLD.grow(on=SECOND)
RIGHT = WORLD.grow(nulls=1, on=SECOND)
TOP = WORLD.grow(on=RIGHT)
"""0 - 1 - 2, given up for 3 (2 is a null round) - 4."""
NOT_ASKED = "not available, this was not asked when the recording was made"
EARLY, LATE = 2.0, 4.0
"""At first `LEFT` is the head, and then `TOP`; what is below them is executed."""


def node(folder: Path, *more: dict[str, Any], **limits: Any) -> Answers:
    """The answers of a Lotus node."""
    lines = [
        notice(1, ("current", SECOND)),
        notice(2, ("apply", LEFT)),
        notice(3, ("revert", LEFT), ("apply", RIGHT)),
        notice(4, ("apply", TOP)),
        asked(0.1, "Filecoin.ChainGetTipSet", [FIRST.key], result=tipset(FIRST)),
        *(line for tip in (FIRST, SECOND, LEFT, RIGHT) for line in body(5, tip)),
    ]
    return Answers(read(folder, *lines, *more), Limits(**limits))


def eth_node(folder: Path, *more: dict[str, Any]) -> Answers:
    """The answers of a node without `Filecoin.*`, which was asked for blocks by their number."""
    lines = [subscribed(seconds, block(tip)) for seconds, tip in ((1, FIRST), (2, SECOND), (4, RIGHT))]
    by_number = [asked(5, "eth_getBlockByNumber", [hex(tip.height), True], result=block(tip)) for tip in (FIRST, SECOND, RIGHT)]
    return Answers(read(folder, *lines, *by_number, *more))


def ask(answers: Answers, method: str, *params: Any, now: float = LATE) -> Any:
    """The result of a call."""
    return json.loads(bytes(answers.answer(method, list(params), now)))


def refusal(answers: Answers, method: str, *params: Any, now: float = LATE) -> tuple[int, str]:
    """The error of a call."""
    with pytest.raises(Refused) as caught:
        answers.answer(method, list(params), now)
    return caught.value.error.code, caught.value.error.message


def test_the_newest_executed_tipset_is_the_parent_of_the_head(tmp_path: Path) -> None:
    """`latest` and the block number move with the recording's time."""
    answers = node(tmp_path)
    assert ask(answers, "eth_blockNumber", now=1) == "0x0"
    assert ask(answers, "eth_blockNumber", now=EARLY) == "0x1"
    assert ask(answers, "eth_blockNumber") == "0x3"
    assert ask(answers, "eth_getBlockByNumber", "latest", True) == block(RIGHT)
    assert ask(answers, "eth_getBlockByNumber", "latest", False)["transactions"] == [message(RIGHT)]
    assert ask(answers, "Filecoin.ChainHead") == tipset(TOP)
    assert ask(answers, "Filecoin.ChainHead", now=EARLY) == tipset(LEFT)
    assert [link.height for link in answers.canonical(LATE)] == [0, 1, 3]


def test_before_the_first_head_there_is_none(tmp_path: Path) -> None:
    """A node that just started says so."""
    assert refusal(node(tmp_path), "eth_blockNumber", now=0.5) == (-32000, "the node has no head yet")
    assert node(tmp_path).canonical(0.5) == []


def test_blocks_by_number_are_those_of_the_canonical_chain(tmp_path: Path) -> None:
    """A null round has error 12; what is above the head or below the recording is refused."""
    answers = node(tmp_path)
    assert ask(answers, "eth_getBlockByNumber", "0x1", True) == block(SECOND)
    assert refusal(answers, "eth_getBlockByNumber", "0x2", True) == (12, "requested epoch was a null round (2)")
    assert refusal(answers, "eth_getBlockByNumber", "0x4", True)[1] == "requested a future epoch (beyond 'latest'): 4"
    assert ask(answers, "eth_getBlockReceipts", "0x3")[0]["blockHash"] == RIGHT.hash
    assert refusal(answers, "eth_getBlockReceipts", "0x2")[0] == 12


def test_receipts_by_number_are_those_of_the_tipset(tmp_path: Path) -> None:
    """The answer that names it; a list that is empty names none, and counts where no other does."""
    of = {tip: [{"transactionHash": "0x" + "77" * 32, "blockHash": tip.hash}] for tip in (SECOND, RIGHT)}
    lines = [asked(6, "eth_getBlockReceipts", [hex(tip.height)], result=of[tip]) for tip in (SECOND, RIGHT)]
    empty = [asked(5, "eth_getBlockReceipts", [hex(tip.height)], result=[]) for tip in (FIRST, SECOND)]
    answers = eth_node(tmp_path, *empty, *lines)
    assert [ask(answers, "eth_getBlockReceipts", tip.hash) for tip in (FIRST, SECOND, RIGHT)] == [[], of[SECOND], of[RIGHT]]


def test_what_lies_below_a_block_any_block_on_top_tells(tmp_path: Path) -> None:
    """A recorder asks by one of them; another fork's will do, too, and one with another parent will not."""
    answers = node(tmp_path, asked(5, "Filecoin.ChainGetParentReceipts", LEFT.key, result=[{"ExitCode": 0, "GasUsed": 7}]))
    for tip in (LEFT, RIGHT):
        assert ask(answers, "Filecoin.ChainGetParentReceipts", *tip.key) == [{"ExitCode": 0, "GasUsed": 7}]
    assert refusal(answers, "Filecoin.ChainGetParentReceipts", *TOP.key)[0] == -32000


def test_what_was_told_late_is_told_late(tmp_path: Path) -> None:
    """Receipts and logs that were asked for twice: the answer of that time; before both, the first."""
    whole = [{"transactionHash": "0x" + "77" * 32, "blockHash": RIGHT.hash, "logs": [log(RIGHT)]}]
    bare = [whole[0] | {"logs": []}]
    told = [asked(at, "eth_getBlockReceipts", [RIGHT.hash], result=result) for at, result in ((5, bare), (9, whole))]
    by_hash = [asked(at, "eth_getLogs", [{"blockHash": RIGHT.hash}], result=result) for at, result in ((5, None), (9, [log(RIGHT)]))]
    answers = eth_node(tmp_path, *told, asked(7, "eth_getBlockReceipts", [RIGHT.hash], result=None), *by_hash)
    for now, receipts, logs in ((4.5, bare, []), (8, bare, []), (9, whole, [log(RIGHT)])):
        assert ask(answers, "eth_getBlockReceipts", RIGHT.hash, now=now) == receipts
        assert ask(answers, "eth_getLogs", {"blockHash": RIGHT.hash}, now=now) == logs


def test_tags_name_depths(tmp_path: Path) -> None:
    """`safe` and `finalized` are as deep as the recording has it at most."""
    answers = node(tmp_path)
    found = {
        tag: ask(answers, "eth_getBlockByNumber", tag, True)["number"] for tag in ("pending", "latest", "safe", "finalized", "earliest")
    }
    assert found == {"pending": "0x3", "latest": "0x3", "safe": "0x0", "finalized": "0x0", "earliest": "0x0"}


def test_orphans_are_still_known_by_hash(tmp_path: Path) -> None:
    """As on a node, in any case of the digits, with and without messages."""
    answers = node(tmp_path)
    upper = "0x" + LEFT.hash[2:].upper()
    assert ask(answers, "eth_getBlockByHash", upper, True) == block(LEFT)
    assert ask(answers, "eth_getBlockByHash", LEFT.hash, False)["transactions"] == [message(LEFT)]
    assert ask(answers, "eth_getBlockReceipts", LEFT.hash)[0]["blockHash"] == LEFT.hash
    assert refusal(answers, "eth_getBlockByHash", "0x" + "99" * 32, True)[0] == -32000


@pytest.mark.parametrize(
    "wanted, found",
    [
        ({}, [(RIGHT, EMITTER), (RIGHT, OTHER_EMITTER)]),
        ({"fromBlock": "0x1", "toBlock": "0x3", "address": EMITTER}, [(SECOND, EMITTER), (RIGHT, EMITTER)]),
        (
            {"fromBlock": "earliest", "toBlock": "0x2", "address": [OTHER_EMITTER.upper().replace("X", "x")]},
            [(FIRST, OTHER_EMITTER), (SECOND, OTHER_EMITTER)],
        ),
        ({"blockHash": LEFT.hash, "topics": [None]}, [(LEFT, EMITTER), (LEFT, OTHER_EMITTER)]),
        ({"blockHash": LEFT.hash, "topics": [[TOPIC, "0x" + "00" * 32]], "address": EMITTER}, [(LEFT, EMITTER)]),
        ({"blockHash": LEFT.hash, "topics": ["0x" + "00" * 32]}, []),
        ({"blockHash": LEFT.hash, "topics": [TOPIC, TOPIC]}, []),
    ],
)
def test_logs_by_range_and_by_hash(tmp_path: Path, wanted: dict[str, Any], found: list[tuple[Tip, str]]) -> None:
    """Lowest first, of the canonical chain, filtered by emitter and topics."""
    assert ask(node(tmp_path), "eth_getLogs", wanted) == [log(tip, emitter) for tip, emitter in found]


def test_ranges_have_limits(tmp_path: Path) -> None:
    """Too wide: -32005; above the head: not yet; too far back: refused like a public gateway."""
    answers = node(tmp_path, log_range_epochs=2, look_back_epochs=2)
    assert refusal(answers, "eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x3"})[0] == -32005
    assert refusal(answers, "eth_getLogs", {"fromBlock": "0x3", "toBlock": "0x4"}) == (-32000, "events for epoch 4 are not yet available")
    text = "bad tipset height: lookbacks of more than 2 epochs are disallowed"
    assert refusal(answers, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x1"}) == (-32000, text)
    assert refusal(answers, "eth_getBlockByNumber", "0x0", False)[1] == text
    assert refusal(answers, "eth_getBlockByHash", FIRST.hash, True)[1] == text
    assert refusal(answers, "Filecoin.ChainGetTipSetByHeight", 0, [])[1] == text
    assert ask(answers, "eth_getBlockByNumber", "0x1", True) == block(SECOND)


def test_tipsets_by_height_meet_null_rounds_as_lotus_does(tmp_path: Path) -> None:
    """ByHeight gives the one before, AfterHeight the one after; from a given tipset, or the head."""
    answers = node(tmp_path)
    assert ask(answers, "Filecoin.ChainGetTipSetByHeight", 2, []) == tipset(SECOND)
    assert ask(answers, "Filecoin.ChainGetTipSetAfterHeight", 2, None) == tipset(RIGHT)
    assert ask(answers, "Filecoin.ChainGetTipSetByHeight", 2, LEFT.key) == tipset(LEFT)
    assert ask(answers, "Filecoin.ChainGetTipSetAfterHeight", 1, TOP.key) == tipset(SECOND)
    assert refusal(answers, "Filecoin.ChainGetTipSetByHeight", 3, LEFT.key)[1] == "looking for tipset with height greater than start point"
    assert refusal(answers, "Filecoin.ChainGetTipSetByHeight", 5, [])[0] == -32000


def test_the_path_between_two_tipsets(tmp_path: Path) -> None:
    """Reverts from the old one downwards, then applies up to the new one."""
    path = ask(node(tmp_path), "Filecoin.ChainGetPath", LEFT.key, TOP.key)
    assert [(step["Type"], step["Val"]) for step in path] == [("revert", tipset(LEFT)), ("apply", tipset(RIGHT)), ("apply", tipset(TOP))]
    assert ask(node(tmp_path), "Filecoin.ChainGetPath", TOP.key, []) == []


def test_recorded_answers_are_given_as_they_are(tmp_path: Path) -> None:
    """Errors with their data; the newest by that time, else the first there is."""
    answers = node(
        tmp_path,
        asked(9, "eth_call", [{"to": EMITTER, "data": "0x01"}, "latest"], error={"code": 3, "message": "reverted", "data": "0xbeef"}),
        asked(9, "Filecoin.StateNetworkName", [], result="testnet"),
        asked(1, "Filecoin.StateListMiners", [], result=["f01"]),
        asked(3, "Filecoin.StateListMiners", [], result=["f01", "f02"]),
        asked(3, "eth_chainId", [], result="0x4cb2f"),
    )
    with pytest.raises(Refused) as caught:
        answers.answer("eth_call", [{"data": "0x01", "to": EMITTER.upper().replace("X", "x")}, "latest"], LATE)
    assert (caught.value.error.code, caught.value.error.message, caught.value.error.data) == (3, "reverted", "0xbeef")
    assert ask(answers, "Filecoin.StateNetworkName", now=1) == "testnet"
    assert ask(answers, "Filecoin.StateListMiners", now=EARLY) == ["f01"]
    assert ask(answers, "Filecoin.StateListMiners") == ["f01", "f02"]
    assert (ask(answers, "eth_chainId"), ask(answers, "net_version")) == ("0x4cb2f", "314")


@pytest.mark.parametrize("at", [("latest",), ("0x1",), ("finalized",), ()])
def test_state_at_another_block_is_that_which_was_asked(tmp_path: Path, at: tuple[str, ...]) -> None:
    """Code, storage and calls are told whatever block the client names, or none."""
    answers = node(
        tmp_path,
        asked(9, "eth_getCode", [EMITTER, "latest"], result="0x6001"),
        asked(9, "eth_getStorageAt", [EMITTER, "0x0", "0x3"], result="0x07"),
        asked(9, "eth_getBalance", [EMITTER], result="0x9"),
    )
    assert ask(answers, "eth_getCode", EMITTER, *at) == "0x6001"
    assert ask(answers, "eth_getStorageAt", EMITTER, "0x0", *at) == "0x07"
    assert ask(answers, "eth_getBalance", EMITTER, *at) == "0x9"
    assert refusal(answers, "eth_getCode", OTHER_EMITTER, *at) == (
        -32000,
        "not available, this was not asked when the recording was made",
    )


def test_native_state_before_a_tipset_is_that_of_its_siblings(tmp_path: Path) -> None:
    """Two tipsets with one parent start from the same state; an empty key means the head."""
    answers = node(tmp_path, asked(9, "Filecoin.StateGetActor", ["f099", LEFT.key], result={"Balance": "7"}))
    assert ask(answers, "Filecoin.StateGetActor", "f099", RIGHT.key) == {"Balance": "7"}
    assert ask(answers, "Filecoin.StateGetActor", "f099", [], now=3) == {"Balance": "7"}
    assert refusal(answers, "Filecoin.StateGetActor", "f099", TOP.key)[0] == -32000


def test_of_several_answers_about_a_height_the_canonical_one_counts(tmp_path: Path) -> None:
    """Traces were asked by number, for the orphan too; the one without any has an empty list."""
    reorged, quiet = (
        [asked(seconds, "trace_block", ["0x3"], result=traces) for seconds, traces in ((4.5, [{"blockHash": RIGHT.hash}]), (4.6, other))]
        for other in ([{"blockHash": LEFT.hash}], [])
    )
    assert ask(node(tmp_path, *reorged), "trace_block", "0x3", now=5) == [{"blockHash": RIGHT.hash}]
    assert (
        ask(node(tmp_path, *quiet[1:], asked(5, "trace_block", ["0x3"], result=[{"blockHash": LEFT.hash}])), "trace_block", "0x3", now=9)
        == []
    )


def test_unknown_methods_and_questions_differ(tmp_path: Path) -> None:
    """A method that the node lacks is -32601; a question that was never asked -32000; nonsense -32602."""
    answers = node(tmp_path)
    assert refusal(answers, "eth_mining") == (-32601, "method 'eth_mining' not found")
    assert refusal(answers, "eth_getCode", EMITTER, "latest")[0] == -32601
    for method, params in (
        ("eth_getBlockByNumber", []),
        ("eth_getBlockByNumber", [{}, True]),
        ("eth_getBlockByNumber", ["top", True]),
        ("eth_getBlockReceipts", [7]),
        ("eth_getLogs", ["0x1"]),
        ("eth_getLogs", [{"fromBlock": [1]}]),
        ("Filecoin.ChainGetTipSet", ["x"]),
        ("Filecoin.ChainGetTipSet", [[{"/": "b1"}]]),
        ("Filecoin.ChainGetTipSetByHeight", ["high"]),
        ("Filecoin.ChainGetPath", []),
    ):
        assert refusal(answers, method, *params)[0] == -32602, (method, params)


def test_eth_only_nodes_serve_no_filecoin_methods(tmp_path: Path) -> None:
    """Neither where the recording has none, nor where the limits say so."""
    for answers in (eth_node(tmp_path), node(tmp_path, eth_only=True)):
        assert refusal(answers, "Filecoin.ChainHead") == (-32601, "method 'Filecoin.ChainHead' not found")
        assert ask(answers, "eth_blockNumber") == "0x3"


def test_a_recording_by_numbers_alone_is_enough(tmp_path: Path) -> None:
    """Blocks that were asked by number are found by hash too, and what was not asked follows."""
    answers = eth_node(tmp_path, asked(5, "eth_getBlockReceipts", ["0x1"], result=[{"blockHash": SECOND.hash, "logs": [log(SECOND)]}]))
    assert ask(answers, "eth_getBlockByHash", RIGHT.hash, True) == block(RIGHT)
    assert refusal(answers, "eth_getBlockByNumber", "0x2", True)[0] == 12
    assert ask(answers, "eth_getLogs", {"blockHash": SECOND.hash}) == [log(SECOND)]
    assert refusal(answers, "eth_getLogs", {"blockHash": RIGHT.hash})[0] == -32000
    assert (ask(answers, "eth_chainId"), ask(answers, "net_version")) == ("0x13a", "314")
    assert ask(answers, "eth_syncing") is False
    assert ask(answers, "web3_clientVersion") == "fvm-pulse/replay"


def test_the_bundled_recording_answers_all_that_it_was_asked(devnet: Recording) -> None:
    """Each question gets its answer or error again, once the recording is over."""
    answers = Answers(devnet)
    for (method, params), given in devnet.answers.items():
        if len(given) == 1 and given[0].error is None:
            # The question's key is in lower case.
            found = answers.answer(method, json.loads(params.replace("blockhash", "blockHash")), devnet.seconds)
            assert json.loads(bytes(found)) == json.loads(bytes(given[0].result)), (method, params)
