"""Block times of a replay."""

import json
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from streams.recording import Recording, Topic
from streams.shift import Shift
from tests.node.lines import block, notice, read, subscribed, tipset
from tests.node.world import Tip, World

NOW = 1_700_000_000


def frame_times(shift: Shift, topic: Topic, value: Any) -> list[int]:
    """The times in a shifted frame."""
    told = json.loads(bytes(shift.frame(topic, Raw(msgspec.json.encode(value)))))
    if topic == "newHeads":
        return [int(told["timestamp"], 16)]
    return [one["Timestamp"] for change in told for one in change["Val"]["Blocks"]]


def answer_times(shift: Shift, method: str, value: Any) -> list[int]:
    """The times in a shifted answer."""
    told = json.loads(bytes(shift.answer(method, Raw(msgspec.json.encode(value)))))
    blocks = (
        [told]
        if "timestamp" in told
        else [one for tip in (told if isinstance(told, list) else [{"Val": told}]) for one in tip["Val"]["Blocks"]]
    )
    return [int(one["timestamp"], 16) if "timestamp" in one else one["Timestamp"] for one in blocks]


def grown(folder: Path) -> tuple[Recording, list[Tip]]:
    """Heights 100, 101 and 103, announced after 10, 20 and 30 s."""
    world = World()
    below = world.grow(nulls=98)
    first = world.grow(on=below)
    second = world.grow(on=first)
    third = world.grow(nulls=1, on=second)
    lines = [notice(10, ("current", first)), notice(20, ("apply", second)), notice(30, ("apply", third))]
    return read(folder, *lines), [below, first, second, third]


def test_a_tipset_bears_the_time_of_its_announcement(tmp_path: Path) -> None:
    """At ten times the pace everything comes after a tenth of the time, in frames and in answers alike."""
    recording, (_, first, second, third) = grown(tmp_path)
    shift = Shift(recording, 10.0, NOW)
    told = [{"Type": "apply", "Val": tipset(second)}, {"Type": "apply", "Val": tipset(third)}]
    assert frame_times(shift, "heads", told) == [NOW + 2, NOW + 3]
    assert frame_times(shift, "newHeads", block(first)) == [NOW + 1]
    for method in ("eth_getBlockByHash", "eth_getBlockByNumber"):
        assert answer_times(shift, method, block(third)) == [NOW + 3]
    for method in ("ChainHead", "ChainGetTipSet", "ChainGetTipSetByHeight", "ChainGetTipSetAfterHeight"):
        assert answer_times(shift, f"Filecoin.{method}", tipset(third)) == [NOW + 3]
    assert answer_times(shift, "Filecoin.ChainGetPath", told) == [NOW + 2, NOW + 3]


def test_what_was_there_before_is_thirty_seconds_an_epoch_older(tmp_path: Path) -> None:
    """Below the first head; and what lies between two heads has the time of the lower."""
    recording, (below, first, _, _) = grown(tmp_path)
    shift = Shift(recording, 1.0, NOW)
    assert answer_times(shift, "eth_getBlockByHash", block(below)) == [NOW - 30]
    assert answer_times(shift, "eth_getBlockByHash", {**block(first), "number": hex(first.height + 2)}) == [NOW + 20]


def test_other_answers_and_logs_are_left_alone(tmp_path: Path) -> None:
    """They have no times."""
    shift = Shift(grown(tmp_path)[0], 1.0, NOW)
    value = Raw(b'{"timestamp":"0x1","number":"0x65"}')
    assert shift.answer("eth_call", value) is value
    assert shift.frame("logs", value) is value


def test_an_eth_only_recording_shifts_by_its_headers(tmp_path: Path) -> None:
    """Where there is no ChainNotify, newHeads announces."""
    world = World()
    first = world.grow()
    shift = Shift(read(tmp_path, subscribed(5, block(first))), 1.0, NOW)
    assert frame_times(shift, "newHeads", block(first)) == [NOW + 5]


@given(pace=st.floats(0.1, 1000))
def test_time_never_runs_backwards_up_the_chain(devnet: Recording, pace: float) -> None:
    """Not even where a fork fills a height later than a higher one was announced."""
    shift = Shift(devnet, pace, NOW)
    times = [shift._at(link.height) for link in devnet.chain(devnet.heads[-1].native or "")]
    assert times == sorted(times, reverse=True)
    assert abs(times[0] - (NOW + devnet.heads[-1].seconds / pace)) <= 1
