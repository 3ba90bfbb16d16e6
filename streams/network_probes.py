"""The probes of the network itself: power, what is burnt, rewards, supply, the base fee.

Sources: `Filecoin.StateReadState` of f04 (power) and f02 (rewards), `Filecoin.StateGetActor` of f099 (burnt) and f090 (reserve),
`Filecoin.StateVMCirculatingSupplyInternal`, `Filecoin.StateNetworkVersion`, `eth_getBlockByHash`. Bytes are bytes, amounts attoFIL,
smoothed estimates fixed point with 128 binary places, velocity per epoch.
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct, field

from streams.errors import NodeFault
from streams.rpc import Answer, Call
from streams.sampling import Moment, Probe
from streams.tasks import Fetch
from streams.wire import Actor, Fee, NetworkName, read

CHEAP_EVERY_EPOCHS = 10
SUPPLY_EVERY_EPOCHS = 20
"""The supply is slow to answer."""

ATTOFIL_PER_FIL = 10**18
RESERVE_ATTOFIL: Mapping[str, int] = {
    "mainnet": 300_000_000 * ATTOFIL_PER_FIL,
    "calibrationnet": 1_200_000_000 * ATTOFIL_PER_FIL,
}
"""What f090 had at the start, by network (Lotus `InitialFilReserved`; calibration since FIP-0100's upgrade)."""
VESTED_ATTOFIL: Mapping[str, tuple[int, int]] = {"mainnet": (148_888 + 6 * 365 * 2880, 599_822_557 * ATTOFIL_PER_FIL)}
"""From which height on everything of the genesis has vested, and how much that is (Lotus `stmgr/supply.go`, the schedule since Calico)."""

Integer = Annotated[str, Meta(pattern=r"^-?[0-9]{1,78}\Z")]

Version = Annotated[int, Meta(ge=0, le=9999)]


class _Smoothed(Struct, frozen=True, rename="pascal"):
    position_estimate: Integer
    velocity_estimate: Integer


class _Power(Struct, frozen=True, rename="pascal"):
    total_raw_byte_power: Integer
    total_quality_adj_power: Integer
    total_pledge_collateral: Integer
    smoothed: _Smoothed = field(name="ThisEpochQAPowerSmoothed")


class _Rewards(Struct, frozen=True, rename="pascal"):
    """Fields of f02; since nv29 (FIP-0118) the total has another name and stands beside what of it was burnt or given out."""

    total_storage_power_reward: Integer | None = None
    total_minted_reward: Integer | None = None
    total_burn_minted: Integer | None = None
    total_explicit_minted: Integer | None = None


class _PowerActor(Struct, frozen=True, rename="pascal"):
    state: _Power


class _RewardActor(Struct, frozen=True, rename="pascal"):
    state: _Rewards


class _Supply(Struct, frozen=True, rename="pascal"):
    fil_vested: Integer
    fil_mined: Integer
    fil_burnt: Integer
    fil_locked: Integer
    fil_circulating: Integer
    fil_reserve_disbursed: Integer


class _Block(Struct, frozen=True, rename="camel"):
    hash: str
    base_fee_per_gas: Fee


def network_probes(*, supply_every_epochs: int = SUPPLY_EVERY_EPOCHS) -> tuple[Probe, ...]:
    """The probes; power and f099 after each tipset, the supply every so many epochs."""
    return (
        Probe("power", 1, native=True, ask=power),
        Probe("burnt", 1, native=True, ask=burnt),
        Probe("reward", CHEAP_EVERY_EPOCHS, native=True, ask=reward),
        Probe("base_fee", CHEAP_EVERY_EPOCHS, native=False, ask=base_fee),
        Probe("supply", supply_every_epochs, native=True, ask=supply),
    )


def power(moment: Moment) -> Fetch[Mapping[str, int]]:
    """Storage power, and the network version, which tells by which rules the power counts."""
    key = moment.child_key
    answers = yield Call("Filecoin.StateReadState", ("f04", key)), Call("Filecoin.StateNetworkVersion", (key,))
    state = read(answers[0].required(), _PowerActor, "StateReadState f04").state
    version = answers[1].result
    return {
        "power:raw_bytes": int(state.total_raw_byte_power),
        "power:quality_adjusted_bytes": int(state.total_quality_adj_power),
        "power:position_q128": int(state.smoothed.position_estimate),
        "power:velocity_q128": int(state.smoothed.velocity_estimate),
        "power:pledge_attofil": int(state.total_pledge_collateral),
    } | ({} if version is None else {"network_version": read(version, Version, "StateNetworkVersion")})


def burnt(moment: Moment) -> Fetch[Mapping[str, int]]:
    """The balance of f099: all that was ever burnt."""
    (answer,) = yield (_actor("f099", moment),)
    return {"burnt:attofil": _balance(answer)}


def reward(moment: Moment) -> Fetch[Mapping[str, int]]:
    """What the network has minted as rewards.

    Raises:
        NodeFault: f02 has the total under neither of its names.
    """
    (answer,) = yield (Call("Filecoin.StateReadState", ("f02", moment.child_key)),)
    return _minted(answer)


def base_fee(moment: Moment) -> Fetch[Mapping[str, int]]:
    """The base fee that the tipset's messages paid."""
    (answer,) = yield (Call("eth_getBlockByHash", (moment.hash, False)),)
    block = read(answer.required(), _Block, "eth_getBlockByHash")
    if block.hash.lower() != moment.hash:
        raise NodeFault(f"eth_getBlockByHash: asked for {moment.hash}, got {block.hash}")
    return {"base_fee_attofil": int(block.base_fee_per_gas, 16)}


def supply(moment: Moment) -> Fetch[Mapping[str, int]]:
    """The parts of the supply as the node tells them; from actors where it does not serve that."""
    (answer,) = yield (Call("Filecoin.StateVMCirculatingSupplyInternal", (moment.child_key,)),)
    if _is_unserved(answer):
        return (yield from recomputed(moment))
    parts = read(answer.required(), _Supply, "StateVMCirculatingSupplyInternal")
    return {
        "supply:vested_attofil": int(parts.fil_vested),
        "supply:mined_attofil": int(parts.fil_mined),
        "supply:burnt_attofil": int(parts.fil_burnt),
        "supply:locked_attofil": int(parts.fil_locked),
        "supply:circulating_attofil": int(parts.fil_circulating),
        "supply:reserve_disbursed_attofil": int(parts.fil_reserve_disbursed),
        "supply:recomputed": 0,
    }


def recomputed(moment: Moment) -> Fetch[Mapping[str, int]]:
    """The same from actors, as Lotus calculates it since nv23 (locked is the pledge).

    What vested of the genesis is no actor's state: it is known on mainnet, where all of it has vested. Where it is not known,
    neither it nor the circulating supply is among the samples; nor is the reserve where its start is not known.
    """
    name, *answers = yield (
        Call("Filecoin.StateNetworkName"),
        Call("Filecoin.StateReadState", ("f04", moment.child_key)),
        Call("Filecoin.StateReadState", ("f02", moment.child_key)),
        _actor("f099", moment),
        _actor("f090", moment),
    )
    network = read(name.required(), NetworkName, "StateNetworkName")
    locked = int(read(answers[0].required(), _PowerActor, "StateReadState f04").state.total_pledge_collateral)
    mined, gone, left = _minted(answers[1])["reward:minted_attofil"], _balance(answers[2]), _balance(answers[3])
    samples = {"supply:mined_attofil": mined, "supply:burnt_attofil": gone, "supply:locked_attofil": locked, "supply:recomputed": 1}
    reserve = RESERVE_ATTOFIL.get(network)
    since, vested = VESTED_ATTOFIL.get(network, (None, 0))
    if reserve is not None:
        samples["supply:reserve_disbursed_attofil"] = reserve - left
    if reserve is not None and since is not None and moment.height >= since:
        samples["supply:vested_attofil"] = vested
        samples["supply:circulating_attofil"] = max(vested + mined + reserve - left - gone - locked, 0)
    return samples


def _minted(answer: Answer) -> dict[str, int]:
    state = read(answer.required(), _RewardActor, "StateReadState f02").state
    if state.total_storage_power_reward is not None:
        return {"reward:minted_attofil": int(state.total_storage_power_reward)}
    parts = (state.total_minted_reward, state.total_burn_minted, state.total_explicit_minted)
    names = ("reward:minted_attofil", "reward:burnt_minted_attofil", "reward:explicit_minted_attofil")
    if any(part is None for part in parts):
        raise NodeFault(
            "StateReadState f02: neither TotalStoragePowerReward nor TotalMintedReward with its parts: a newer network version?"
        )
    return {name: int(part) for name, part in zip(names, parts, strict=True) if part is not None}


def _is_unserved(answer: Answer) -> bool:
    error = answer.error
    return error is not None and (error.unserved or "method" in error.message.lower())


def _actor(address: str, moment: Moment) -> Call:
    return Call("Filecoin.StateGetActor", (address, moment.child_key))


def _balance(answer: Answer) -> int:
    return int(read(answer.required(), Actor, "StateGetActor").balance)
