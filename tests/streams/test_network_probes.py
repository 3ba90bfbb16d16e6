"""The probes of the network, against the recorded node and against nodes that say nonsense."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.answers import Answers
from streams.errors import NodeFault
from streams.network_probes import RESERVE_ATTOFIL, VESTED_ATTOFIL, network_probes, recomputed
from streams.recording import Recording
from streams.rpc import Call
from streams.sampling import Moment, Probe
from tests.node.asking import ask, by_recording, refused, told

PROBES = {probe.name: probe for probe in network_probes()}
KEYS: list[dict[str, str]] = [{"/": "bafy2bzacea"}]
MOMENT = Moment(7, "0x" + "07" * 32, (), 210)
POWER = {
    "State": {
        "TotalRawBytePower": "8192",
        "TotalQualityAdjPower": "81916",
        "TotalPledgeCollateral": "11613744807012273024219",
        "ThisEpochQAPowerSmoothed": {"PositionEstimate": str(2**190), "VelocityEstimate": "-5"},
    }
}
OLD = {"State": {"TotalStoragePowerReward": "15484978480578957474232"}}
NEW = {"State": {"TotalMintedReward": "100", "TotalBurnMinted": "30", "TotalExplicitMinted": "20"}}


def moments(devnet: Recording) -> list[Moment]:
    """Every executed tipset of the last head's chain, with the tipset on top."""
    last = devnet.heads[-1]
    chain = list(devnet.chain(last.native or ""))
    return [Moment(link.height, link.hash, child.key, link.timestamp_seconds) for child, link in pairwise(chain)]


@pytest.mark.parametrize("probe", PROBES.values(), ids=lambda probe: probe.name)
def test_the_recorded_node_answers(probe: Probe, devnet: Recording) -> None:
    """Each probe gives samples at every tipset, of which none is below 0 but what may be."""
    answers = by_recording(Answers(devnet), devnet.seconds)
    for moment in moments(devnet)[::20]:
        samples = ask(probe.ask(moment), answers)
        assert samples
        assert all(value >= 0 for name, value in samples.items() if name not in {"power:velocity_q128", "supply:reserve_disbursed_attofil"})


def test_what_is_recomputed_is_what_the_node_computed(devnet: Recording) -> None:
    """From actors come the same parts as from the node; what vested, and so what circulates, is not known on a devnet."""
    answers = by_recording(Answers(devnet), devnet.seconds)

    def gateway(call: Call) -> Any:
        if call.method == "Filecoin.StateVMCirculatingSupplyInternal":
            return refused(call, -32601, f"method '{call.method}' not found")
        return answers(call)

    for moment in moments(devnet)[::50]:
        told_by_node = ask(PROBES["supply"].ask(moment), answers)
        from_actors = dict(ask(PROBES["supply"].ask(moment), gateway))
        assert (told_by_node["supply:recomputed"], from_actors.pop("supply:recomputed")) == (0, 1)
        assert from_actors == {f"supply:{part}_attofil": told_by_node[f"supply:{part}_attofil"] for part in ("mined", "burnt", "locked")}


def by_method(answer: dict[str, Any]) -> Callable[[Call], Any]:
    """Answers by method, or by method and first parameter."""

    def say(call: Call) -> Any:
        name = call.method.removeprefix("Filecoin.")
        key = f"{name} {call.params[0]}" if call.params and f"{name} {call.params[0]}" in answer else name
        return told(call, answer[key]) if key in answer else refused(call)

    return say


def test_on_mainnet_all_has_vested() -> None:
    """So the circulating supply follows from actors: vested + mined + disbursed - burnt - locked, never below 0."""
    since, vested = VESTED_ATTOFIL["mainnet"]
    answer = {
        "StateNetworkName": "mainnet",
        "StateReadState f04": POWER,
        "StateReadState f02": NEW,
        "StateGetActor f099": {"Balance": "7"},
        "StateGetActor f090": {"Balance": "1000"},
    }
    samples = ask(recomputed(Moment(since, MOMENT.hash, (), 0)), by_method(answer))
    reserve = RESERVE_ATTOFIL["mainnet"] - 1000
    assert samples["supply:vested_attofil"] == vested == 599_822_557 * 10**18
    assert samples["supply:circulating_attofil"] == vested + 100 + reserve - 7 - 11613744807012273024219
    earlier = ask(recomputed(Moment(since - 1, MOMENT.hash, (), 0)), by_method(answer))
    assert "supply:circulating_attofil" not in earlier
    assert earlier["supply:reserve_disbursed_attofil"] == reserve


def test_rewards_are_read_by_either_name() -> None:
    """Before nv29 there is one total; since then it stands beside what of it was burnt and given out."""
    assert ask(PROBES["reward"].ask(MOMENT), by_method({"StateReadState": OLD})) == {"reward:minted_attofil": 15484978480578957474232}
    assert ask(PROBES["reward"].ask(MOMENT), by_method({"StateReadState": NEW})) == {
        "reward:minted_attofil": 100,
        "reward:burnt_minted_attofil": 30,
        "reward:explicit_minted_attofil": 20,
    }


@pytest.mark.parametrize("state", [{}, {"TotalReward": "1"}, {"TotalMintedReward": "1"}])
def test_rewards_under_a_third_name_are_a_fault(state: dict[str, str]) -> None:
    """Another rename must not pass as a value."""
    with pytest.raises(NodeFault, match="neither TotalStoragePowerReward nor TotalMintedReward"):
        ask(PROBES["reward"].ask(MOMENT), by_method({"StateReadState": {"State": state}}))


def test_power_without_a_network_version_is_power() -> None:
    """A node that does not tell the version tells the power all the same; Q.128 needs more digits than an amount."""
    samples = ask(PROBES["power"].ask(MOMENT), by_method({"StateReadState": POWER}))
    assert samples["power:position_q128"] == 2**190
    assert "network_version" not in samples
    assert ask(PROBES["power"].ask(MOMENT), by_method({"StateReadState": POWER, "StateNetworkVersion": 29}))["network_version"] == 29


def test_a_base_fee_of_another_block_is_a_fault() -> None:
    """Answers are compared with what was asked."""
    with pytest.raises(NodeFault, match="asked for"):
        ask(PROBES["base_fee"].ask(MOMENT), by_method({"eth_getBlockByHash": {"hash": "0x" + "08" * 32, "baseFeePerGas": "0x64"}}))


NONSENSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["0x", "-1", "9" * 99, "1e9"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["State", "Balance", "hash", "baseFeePerGas", "TotalMintedReward", "FilLocked"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("probe", PROBES.values(), ids=lambda probe: probe.name)
@given(result=NONSENSE)
def test_nonsense_is_a_fault_of_the_node(probe: Probe, result: Any) -> None:
    """Whatever a node answers, there is a sample or a fault, and nothing else is raised."""
    try:
        samples = ask(probe.ask(MOMENT), lambda call: told(call, result))
    except NodeFault:
        return
    assert all(isinstance(value, int) for value in samples.values())
