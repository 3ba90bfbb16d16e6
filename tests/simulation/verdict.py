"""What must hold at the end of a simulated history: every figure is the recount of the final head's chain."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from processors.folds import Contribution
from streams.records import COUNTED_STREAMS, Stream
from tests.simulation.chain import Tip
from tests.simulation.run import Simulation
from tests.simulation.store import Figures

WINDOWS = (20, 120, 700)

RISES = ("f099_rise", "f099_known", "f099_gas_burn", "f099_fevm_burn", "f099_sent", "unreconciled", "incomplete")
"""What depends on what the node would tell; judged by itself."""


def check(world: Simulation) -> None:
    """Raises AssertionError with the first difference."""
    chain = world.chain.canonical()
    for stream in COUNTED_STREAMS:
        _check_heights(world, stream, chain)
        for epochs in WINDOWS:
            _check_figures(world, stream, epochs, chain)


def _check_heights(world: Simulation, stream: Stream, chain: dict[int, Tip]) -> None:
    head = max(chain)
    held = {height: word.hash for height, word in world.store.known(stream, "processed").items()}
    assert max(held, default=None) == head, f"{stream}: head {max(held, default=None)}, the chain's is {head}"
    wrong = sorted(height for height, block in held.items() if height not in chain or chain[height].hash != block)
    assert not wrong, f"{stream}: not of the chain: {wrong[:20]}"
    nulls = world.store.known(stream, "null")
    wrong = sorted(height for height in nulls if height in chain or height > head)
    assert not wrong, f"{stream}: null, but not on the chain: {wrong[:20]}"
    missing = world.missing(stream)
    assert not missing, f"{stream}: missing: {missing[:20]} of {world.lowest()} to {head}"


def _check_figures(world: Simulation, stream: Stream, epochs: int, chain: dict[int, Tip]) -> None:
    found = world.store.figures(stream, epochs)
    wanted = _told(world, stream, epochs, chain)
    sums = Counter({name: value for name, value in found.sums.items() if name not in RISES})
    assert sums == wanted.sums, f"{stream}, {epochs} epochs: {_different(sums, wanted.sums)}"
    members = {kind: found.members[kind] for kind in found.members}
    assert members == wanted.members, f"{stream}, {epochs} epochs: members differ in {sorted(members.keys() ^ wanted.members.keys())}"
    # What is missing of a tipset that was told to be incomplete shows here: that is what the series is for.
    unreconciled = found.sums["unreconciled"]
    assert not unreconciled or found.sums["incomplete"], f"{epochs} epochs: {unreconciled} attoFIL unreconciled"


def _told(world: Simulation, stream: Stream, epochs: int, chain: dict[int, Tip]) -> Figures:
    """The recount of what is known; a tipset that was told to be incomplete, or is excused, counts as it was told."""
    counted = world.store.known(stream, "processed").keys()
    incomplete = {height for height, word in world.store.known("tipsets", "processed").items() if word.incomplete}
    excused = {height for height in counted if height in chain and world.excused(height, chain[height].hash)}
    told = {height: world.store.held.words[stream, height].contribution for height in (incomplete | excused) & counted}
    return recount({height: tip for height, tip in chain.items() if height in counted}, stream, epochs, told)


def recount(tips: Mapping[int, Tip], stream: Stream, epochs: int, told: Mapping[int, Contribution] = MappingProxyType({})) -> Figures:
    """The naive figures of a window of these tipsets; a height without one is null, one of `told` counts as that."""
    head = max(tips)
    figures = Figures(head)
    for height in range(max(head - epochs + 1, min(tips)), head + 1):
        tip = tips.get(height)
        if tip is None:
            figures.null += 1
            continue
        figures.processed += 1
        if (one := told.get(height)) is not None:
            figures.sums.update({name: value for name, value in (*one.sums.items(), *one.lasting_sums.items()) if name not in RISES})
        else:
            figures.sums.update(tip.expected.events if stream == "logs" else tip.expected.sums)
        found: Mapping[str, AbstractSet[str]] = one.members if one is not None else tip.expected.members
        for kind, members in found.items() if stream == "tipsets" else ():
            figures.members.setdefault(kind, set()).update(members)
    figures.sums = Counter({name: value for name, value in figures.sums.items() if value})
    return figures


def _different(found: Counter[str], wanted: Counter[str]) -> str:
    names = sorted(name for name in found.keys() | wanted.keys() if found[name] != wanted[name])
    return ", ".join(f"{name} {found[name]} instead of {wanted[name]}" for name in names)
