"""The greeting: what kind of node it is, and where tipsets stand."""

from typing import Any

import pytest

from streams.chain import Link
from streams.errors import NodeFault, Refusal
from streams.greeting import Greeting, fetch_link, fetch_link_at, greet, latest_link
from streams.rpc import Answer, Call
from streams.wire import Cid
from tests.node.asking import Answerer, ask, but, by_node, refused, told
from tests.node.world import Node, Tip, World

WORLD = World()
WORLD.advance(0, 2, 0, 0)
TIP = WORLD.below(1)
assert TIP.parent is not None
PARENT = TIP.parent


def lotus() -> Answerer:
    return by_node(Node(WORLD))


def eth_only() -> Answerer:
    return by_node(Node(WORLD, native=False, chain_id=314159))


def without(answer: Answerer, *methods: str, code: int = -32601, message: str = "method not found") -> Answerer:
    """A node that has not got these."""
    return lambda call: refused(call, code, message) if call.method in methods else answer(call)


def key(tip: Tip) -> tuple[Cid, ...]:
    return tuple(Cid(one["/"]) for one in tip.key)


def test_a_lotus_tells_its_network_and_follows_by_channel() -> None:
    """It needs not say where the chain stands: the channel begins with the head."""
    asked: list[Call] = []
    greeting = ask(greet(), lotus(), asked)
    assert greeting == Greeting(314, "testworld", native=True, streams_logs=True, head=None)
    assert greeting.label == "testworld"
    assert [call.method for call in asked][2:] == ["Filecoin.ChainNotify", "eth_subscribe", "eth_subscribe"]


def test_a_node_without_filecoin_methods_says_where_the_chain_stands() -> None:
    """Its network is called by the chain id, and its head is the newest executed tipset."""
    greeting = ask(greet(), eth_only())
    assert (greeting.native, greeting.streams_logs, greeting.network) == (False, True, None)
    assert greeting.label == "calibrationnet"
    assert greeting.head is not None
    assert greeting.head.hash == TIP.hash
    assert Greeting(5, None, False, False, None).label == "chain-5"


def test_logs_need_not_be_streamed() -> None:
    """A node that offers no logs is followed all the same; so is a Lotus without `newHeads`."""
    answer = eth_only()
    quiet = ask(greet(), lambda call: refused(call) if call == Call("eth_subscribe", ("logs", {})) else answer(call))
    assert not quiet.streams_logs
    assert quiet.head is not None
    native = ask(greet(), without(lotus(), "eth_subscribe"))
    assert native.native
    assert not native.streams_logs


def test_an_eth_node_that_does_not_say_its_head_is_followed_from_the_next_one() -> None:
    """`latest` may be refused; the next header will tell."""
    assert ask(greet(), without(eth_only(), "eth_getBlockByNumber")).head is None
    assert ask(latest_link(), refused) is None


def test_a_node_that_tells_no_heads_is_refused_for_good() -> None:
    """Over plain HTTP semantics there are no subscriptions, and there will be none next time."""
    with pytest.raises(NodeFault, match="neither ChainNotify nor eth_subscribe") as caught:
        ask(greet(), without(lotus(), "Filecoin.ChainNotify", "eth_subscribe"))
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "code, message", [(-32601, "method 'eth_chainId' not found"), (1, "module disabled, enable with Fevm.EnableEthRPC")]
)
def test_a_node_without_eth_rpc_is_refused_for_good(code: int, message: str) -> None:
    """It says so in one of two ways; the reason tells what to switch on."""
    with pytest.raises(NodeFault, match=r"no eth RPC: enable it \(Lotus: Fevm.EnableEthRPC\)") as caught:
        ask(greet(), without(lotus(), "eth_chainId", code=code, message=message))
    assert not caught.value.retryable


def test_a_node_that_is_not_ready_is_tried_again() -> None:
    """Any other error may pass."""
    with pytest.raises(Refusal, match="syncing") as caught:
        ask(greet(), without(lotus(), "eth_chainId", code=-32000, message="syncing"))
    assert caught.value.retryable


@pytest.mark.parametrize(
    "method, result",
    [("chainId", 314), ("chainId", "314"), ("StateNetworkName", 5), ("StateNetworkName", ["x"])]
    + [("StateNetworkName", name) for name in ("", "main net", "a" * 65, "x\x1b[31m", "mainnet\n", "-x")],
)
def test_greetings_of_another_shape_are_faults(method: str, result: Any) -> None:
    """A chain id is hex and a name is text that may be a label."""
    with pytest.raises(NodeFault, match=method):
        ask(greet(), but(lotus(), **{method: lambda _: result}))


def test_a_head_of_another_shape_is_a_fault() -> None:
    """As any answer of another shape is."""
    with pytest.raises(NodeFault, match="eth_getBlockByNumber"):
        ask(greet(), but(eth_only(), getBlockByNumber=lambda _: {"hash": "0x1"}))


def test_another_chain_and_another_network_are_refused_for_good() -> None:
    """Where the id or the name that is followed is known; a node that tells no name is believed by its id."""
    greeting = Greeting(314, "mainnet", True, True, None)
    greeting.check(None, None)
    greeting.check(314, "mainnet")
    Greeting(314, None, False, True, None).check(314, "mainnet")
    for chain_id, network, reason in ((314159, "mainnet", "wrong chain id 314, expected 314159"), (314, "devnet", "another network")):
        with pytest.raises(NodeFault, match=reason) as caught:
            greeting.check(chain_id, network)
        assert not caught.value.retryable


def test_a_link_is_fetched_by_key_or_by_hash() -> None:
    """By key it comes with its keys; without a key, or where the key is refused, by its eth hash."""
    native = ask(fetch_link(TIP.hash, key(TIP)), lotus())
    assert native == Link(TIP.height, TIP.hash, PARENT.hash, key(TIP), key(PARENT), 30 * TIP.height)
    plain = Link(TIP.height, TIP.hash, PARENT.hash, timestamp_seconds=30 * TIP.height)
    assert ask(fetch_link(TIP.hash, ()), eth_only()) == plain
    assert ask(fetch_link(TIP.hash, key(TIP)), without(lotus(), "Filecoin.ChainGetTipSet")) == plain


def test_the_answer_is_for_the_tipset_that_was_asked_for() -> None:
    """Another one is a fault that names both; no answer is a refusal."""
    for keyed in (key(TIP), ()):
        with pytest.raises(NodeFault, match=f"asked for the tipset {TIP.hash}, got {PARENT.hash} at height {PARENT.height}"):
            ask(fetch_link(TIP.hash, keyed), lambda call: lotus()(other(call)))
    with pytest.raises(Refusal):
        ask(fetch_link(TIP.hash, ()), refused)


def other(call: Call) -> Call:
    """The same question about the parent."""
    return Call(call.method, (key(PARENT),) if call.method == "Filecoin.ChainGetTipSet" else (PARENT.hash, True))


def test_links_by_height() -> None:
    """Natively the tipset at or above a null round, below the given one; by eth the tipset, or None for a null round."""
    head = key(WORLD.head)
    assert ask(fetch_link_at(3, head), lotus()) == ask(fetch_link(PARENT.hash, key(PARENT)), lotus())
    found = ask(fetch_link_at(TIP.height, ()), eth_only())
    assert found is not None
    assert found.hash == TIP.hash

    def null_round(call: Call) -> Answer:
        return refused(call, 12, "requested epoch was a null round (3)")

    assert ask(fetch_link_at(3, ()), null_round) is None
    for keyed in (head, ()):
        with pytest.raises(Refusal):
            ask(fetch_link_at(3, keyed), refused)
    with pytest.raises(NodeFault):
        ask(fetch_link_at(3, ()), lambda call: told(call, []))


@pytest.mark.parametrize("method", ["eth_subscribe", "Filecoin.ChainNotify", "Filecoin.StateNetworkName"])
def test_a_node_that_is_busy_for_a_moment_is_tried_again(method: str) -> None:
    """It is neither refused for good, nor taken for a node without `Filecoin.*`, nor given another network's name."""
    answer = by_node(Node(World()))
    with pytest.raises(NodeFault, match="too many") as caught:
        ask(greet(), lambda call: refused(call, 429, "too many requests") if call.method == method else answer(call))
    assert caught.value.retryable
