"""A JSON-RPC session: answers find their calls, notices are typed, and nonsense is a fault of the node."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import NodeFault, Oversize, Refusal
from streams.rpc import MAX_FRAME_BYTES, Answer, Call, ChannelClosed, HeadChanges, RpcError, Session
from streams.wire import EthHeader, StreamedLog
from tests.node.world import Node, World

CALL = Call("eth_chainId")
WORLD = World()
WORLD.advance(0, 0)


def receive(session: Session, said: Any) -> list[Any]:
    """What a session makes of a JSON value."""
    return list(session.receive(json.dumps(said)))


def result(answer: Answer) -> Any:
    return json.loads(bytes(answer.required()))


def test_a_request_is_a_numbered_frame() -> None:
    """Each request has a number of its own and stands as JSON-RPC 2.0."""
    session = Session()
    number, frame = session.request(Call("eth_getBlockByHash", ("0x1", True)))
    assert json.loads(frame) == {"jsonrpc": "2.0", "id": number, "method": "eth_getBlockByHash", "params": ["0x1", True]}
    assert session.request(CALL)[0] != number


def test_answers_find_their_calls_in_any_order() -> None:
    """The number decides which call is answered, not the order."""
    session = Session()
    calls = [Call("eth_getCode", (str(place),)) for place in range(3)]
    numbers = [session.request(call)[0] for call in calls]
    for place in (2, 0, 1):
        ((number, answer),) = receive(session, {"jsonrpc": "2.0", "id": numbers[place], "result": {"of": place}})
        assert (number, answer.call, result(answer)) == (numbers[place], calls[place], {"of": place})


def test_late_repeated_and_unknown_answers_are_ignored() -> None:
    """An answer counts once, and only while somebody waits for it; an id in words is none of ours."""
    session = Session()
    number, late = session.request(CALL)[0], session.request(CALL)[0]
    session.forget(late)
    session.forget(late)
    assert len(receive(session, {"id": number, "result": 1})) == 1
    for unknown in (number, late, 99, -1, 2**70, str(number), None):
        assert receive(session, {"id": unknown, "result": 1}) == []
    assert receive(session, {"jsonrpc": "2.0"}) == []
    assert receive(session, {"method": "something_else", "params": [1]}) == []


def test_a_batch_is_several_frames() -> None:
    """A batch brings its answers and notices in its order; an empty one brings nothing."""
    session = Session()
    first, second = session.request(CALL)[0], session.request(CALL)[0]
    batch = [{"id": second, "result": 2}, {"method": "xrpc.ch.close", "params": [1]}, {"id": 77, "result": 0}, {"id": first, "result": 1}]
    said: list[Any] = list(session.receive(b" \n" + json.dumps(batch).encode()))
    assert [one if isinstance(one, ChannelClosed) else (one[0], result(one[1])) for one in said] == [
        (second, 2),
        ChannelClosed(),
        (first, 1),
    ]
    assert receive(session, []) == []


@pytest.mark.parametrize("said", [{"result": None}, {}, {"error": {"code": 12, "message": "null round"}, "result": None}])
def test_no_result_is_a_refusal_where_one_is_required(said: dict[str, Any]) -> None:
    """A null or missing result and an error object have no result; asking for it tells the method, the message and the code."""
    session = Session()
    number, _ = session.request(CALL)
    ((_, answer),) = receive(session, {"id": number, **said})
    assert answer.result is None
    with pytest.raises(Refusal, match=r"^eth_chainId: null round \(code 12\)$" if "error" in said else "^eth_chainId: no result"):
        answer.required()


def test_an_error_wins_over_a_result_and_its_message_is_cut() -> None:
    """A node that sends both refused; a message of a megabyte is not carried around."""
    session = Session()
    number, _ = session.request(CALL)
    ((_, answer),) = receive(session, {"id": number, "result": 5, "error": {"code": -1, "message": "x" * 10**6}})
    assert answer.result is None
    assert answer.error == RpcError(-1, "x" * 10**6)
    with pytest.raises(Refusal) as caught:
        answer.required()
    assert len(str(caught.value)) < 250
    with pytest.raises(Refusal, match="error"):
        Answer(CALL, None, RpcError(5)).required()


def test_the_four_kinds_of_notices() -> None:
    """Changes of the head, the end of their channel, headers and logs are told apart by what they are."""
    node, session = Node(WORLD, native=True), Session()
    node.head = WORLD.below(1)
    said = [one for frame in node.see(WORLD.head) for one in session.receive(frame)]
    assert [type(one) for one in said] == [EthHeader, StreamedLog, HeadChanges]
    header, log, changes = said
    assert isinstance(header, EthHeader)
    assert isinstance(log, StreamedLog)
    assert isinstance(changes, HeadChanges)
    assert header.hash == log.block_hash == WORLD.below(1).hash
    assert [(change.type, change.val.height) for change in changes.changes] == [("apply", WORLD.head.height)]
    assert list(session.receive(b'{"method":"xrpc.ch.close","params":[1]}')) == [ChannelClosed()]


def test_a_notice_before_the_subscription_is_answered_is_understood() -> None:
    """The kind of an event is read off the event, so no subscription id need be known yet."""
    node, session = Node(WORLD), Session()
    session.request(Call("eth_subscribe", ("logs", {})))
    node.head = WORLD.below(1)
    assert [type(one) for frame in node.see(WORLD.head)[:2] for one in session.receive(frame)] == [EthHeader, StreamedLog]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"null",
        b"3",
        b'"text"',
        b"{",
        b"[1]",
        b"[[]]",
        b"\xff",
        b'{"id":1.5,"result":1}',
        b'{"id":[],"result":1}',
        b'{"id":1,"error":"words"}',
        b'{"method":7}',
        b'{"method":"xrpc.ch.val"}',
        b'{"method":"xrpc.ch.val","params":[1]}',
        b'{"method":"xrpc.ch.val","params":[1,[{"Type":"apply"}]]}',
        b'{"method":"xrpc.ch.val","params":[1,[{"Type":"apply","Val":{"Cids":[],"Blocks":[],"Height":1}}]]}',
        b'{"method":"eth_subscription"}',
        b'{"method":"eth_subscription","params":{"subscription":"0x1"}}',
        b'{"method":"eth_subscription","params":{"subscription":"0x1","result":null}}',
        b'{"method":"eth_subscription","params":{"subscription":"0x1","result":{"hash":"0x12"}}}',
        b'{"method":"eth_subscription","params":{"subscription":"0x1","result":{"transactionHash":"0x12"}}}',
        b'{"id":1,"result":' + b"[" * 100_000,
        b"[" * 100_000,
    ],
)
def test_what_is_not_json_rpc_is_a_fault(frame: bytes) -> None:
    """Another shape, in the frame or in a notice, is told as the node's fault."""
    session = Session()
    session.request(CALL)
    with pytest.raises(NodeFault):
        list(session.receive(frame))


def test_a_frame_that_is_too_long_is_not_even_read() -> None:
    """The limit holds for bytes, valid or not."""
    with pytest.raises(Oversize, match=f"a frame of more than {MAX_FRAME_BYTES} bytes"):
        list(Session().receive(b" " * (MAX_FRAME_BYTES + 1)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(0, 4) | JSON,
        "method": st.sampled_from(["xrpc.ch.val", "xrpc.ch.close", "eth_subscription", ""]) | JSON,
        "params": st.fixed_dictionaries({"subscription": st.just("0x1"), "result": JSON}) | st.tuples(st.just(1), JSON) | JSON,
        "result": JSON,
        "error": st.fixed_dictionaries({"code": st.integers(), "message": st.text(max_size=5)}) | JSON,
    },
)


def only_faults(frame: bytes | str) -> None:
    session = Session()
    for _ in range(3):
        session.request(CALL)
    with contextlib.suppress(NodeFault):
        list(session.receive(frame))


@given(st.binary(max_size=60) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_bytes_are_understood_or_a_fault(frame: bytes | str) -> None:
    """Nothing but a fault is ever raised over bytes or text."""
    only_faults(frame)


@given(JSON | FRAMES | st.lists(FRAMES, max_size=3))
def test_any_json_is_understood_or_a_fault(said: Any) -> None:
    """Nothing but a fault is ever raised over JSON, however near it comes to JSON-RPC."""
    only_faults(json.dumps(said))


@pytest.mark.parametrize(
    "error, limited, passing",
    [
        (RpcError(429, "slow down"), True, True),
        (RpcError(-32005, "beyond what is allowed"), True, True),
        (RpcError(-32000, "Too Many Requests"), True, True),
        (RpcError(1, "server returned status code 429"), True, True),
        (RpcError(1, "upstream timed out"), False, True),
        (RpcError(503, "no backend"), False, True),
        (RpcError(-32601, "method not found"), False, False),
        (RpcError(12, "requested epoch was a null round"), False, False),
        (RpcError(1, "block at height 429 not found"), False, False),
    ],
)
def test_a_node_that_is_busy_says_so(error: RpcError, limited: bool, passing: bool) -> None:
    """Limits and gateways' time-outs pass; that a method is not there does not, and no number in a text is a limit."""
    assert (error.limited, error.passing) == (limited, passing)


def test_a_message_is_shown_in_whole_words() -> None:
    """Half of a token that is said back is none that could be hidden."""
    assert RpcError(message="").shown == "error"
    assert RpcError(message="short: word").shown == "short: word"
    assert RpcError(message="a " * 95 + "Bearer abcdefghijklmnop").shown.split()[-1] == "Bearer"
    assert RpcError(message="x" * 300).shown == "error"
