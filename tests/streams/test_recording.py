"""Recordings: what is read, what is refused and how, and the chain that they show."""

import gzip
import lzma
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import RecordingError
from streams.recording import load, question
from tests.node.lines import asked, block, notice, read, subscribed, text
from tests.node.world import World

COMPRESSED: dict[str, Callable[[bytes], bytes]] = {"": bytes, "gz": gzip.compress, "xz": lzma.compress}


def test_the_bundled_recording_is_there_and_fast() -> None:
    """`devnet` is read in less than 3 s, native, with forks and null rounds."""
    start = time.perf_counter()
    recording = load("devnet")
    assert time.perf_counter() - start < 3
    assert recording.native
    heights = [link.height for link in recording.chain(recording.heads[-1].tip)]
    assert len(heights) > 400
    assert heights[0] - heights[-1] + 1 > len(heights)
    assert len(recording.links) > len(heights)


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_reads_plain_and_compressed(tmp_path: Path, suffix: str) -> None:
    """The three forms of one file hold the same."""
    world = World()
    data = text(notice(0.5, ("current", world.grow())))
    path = (tmp_path / "made.jsonl").with_suffix(f".{suffix}" if suffix else "")
    path.write_bytes(COMPRESSED[suffix](data))
    assert [head.seconds for head in load(str(path)).heads] == [0.5]


def test_a_head_is_told_with_the_newest_executed_tipset(tmp_path: Path) -> None:
    """The head's parent is executed; before the first notice there is none; a whole list of changes is one move."""
    world = World()
    first = world.grow()
    second, other = world.grow(on=first), world.grow(nulls=2, on=first)
    recording = read(
        tmp_path,
        notice(1, ("current", first)),
        notice(2, ("apply", second)),
        notice(3, ("revert", second), ("apply", other)),
    )
    assert recording.head_at(0.9) is None
    found = [recording.head_at(seconds) for seconds in (1, 2.5, 3)]
    assert [(head.native, head.tip) for head in found if head is not None] == [
        (first.hash, world.head.hash),
        (second.hash, first.hash),
        (other.hash, first.hash),
    ]


def test_a_list_that_only_reverts_moves_the_head_down(tmp_path: Path) -> None:
    """The head is then the parent of what was reverted."""
    world = World()
    first = world.grow()
    second = world.grow(on=first)
    recording = read(tmp_path, notice(1, ("current", first)), notice(2, ("apply", second)), notice(3, ("revert", second)))
    assert recording.heads[-1].native == first.hash


def test_an_eth_only_recording_has_heads_by_new_heads(tmp_path: Path) -> None:
    """Each header that is announced is executed already, and there is no native head."""
    world = World()
    first = world.grow()
    second = world.grow(nulls=1, on=first)
    recording = read(tmp_path, subscribed(1, block(first)), subscribed(2, block(second)))
    assert not recording.native
    assert [head.tip for head in recording.heads] == [first.hash, second.hash]
    assert [link.height for link in recording.chain(second.hash)] == [3, 1]


def test_chain_notify_decides_where_both_are_recorded(tmp_path: Path) -> None:
    """What newHeads tells beside it, before or after, does not move the head."""
    world = World()
    first = world.grow()
    recording = read(tmp_path, subscribed(0.5, block(first)), notice(1, ("current", first)), subscribed(2, block(first)))
    assert [(head.seconds, head.tip) for head in recording.heads] == [(1, world.head.hash)]


def test_frames_of_other_subscriptions_are_left_out(tmp_path: Path) -> None:
    """Only heads, headers and logs are sent again."""
    world = World()
    pending = {"method": "eth_subscription", "params": {"subscription": "0x1", "result": "0x" + "ab" * 32}}
    lines = [
        {"t": 0.1, "kind": "frame", "msg": one} for one in (pending, {"id": 1, "result": 7}, {"method": "xrpc.ch.close", "params": [7]})
    ]
    recording = read(tmp_path, *lines, notice(1, ("current", world.grow())))
    assert [frame.topic for frame in recording.frames] == ["heads"]


def test_unix_times_count_from_the_start(tmp_path: Path) -> None:
    """A recording whose clock is the wall's is played from its first frame."""
    world = World()
    first = world.grow()
    second = world.grow(on=first)
    recording = read(
        tmp_path,
        notice(1.7e9, ("current", first)),
        asked(1.7e9 + 1, "eth_chainId", [], result="0x13a"),
        notice(1.7e9 + 2, ("apply", second)),
    )
    assert [head.seconds for head in recording.heads] == [0, 2]
    assert recording.answers[question("eth_chainId", [])][0].seconds == 1
    assert recording.seconds == 2


def test_answers_to_one_question_are_kept_in_order_of_time(tmp_path: Path) -> None:
    """Whatever order the lines have; errors and nulls are answers."""
    world = World()
    recording = read(
        tmp_path,
        notice(0, ("current", world.grow())),
        asked(3, "trace_block", ["0x1"], error={"code": 12, "message": "null round"}),
        asked(1, "trace_block", ["0x1"], result=None),
        asked(2, "trace_block", ["0x1"], result=[1]),
    )
    given_ = recording.answers[question("trace_block", ["0x1"])]
    assert [(one.seconds, bytes(one.result)) for one in given_] == [(1, b"null"), (2, b"[1]"), (3, b"null")]
    assert given_[2].error is not None
    assert given_[2].error.code == 12


def test_a_chain_that_loops_ends(tmp_path: Path) -> None:
    """A parent that is not lower is not followed."""
    world = World()
    first = world.grow()
    looping = {**block(first), "parentHash": first.hash}
    recording = read(tmp_path, asked(0, "eth_getBlockByHash", [first.hash, True], result=looping), subscribed(1, block(first)))
    assert [link.hash for link in recording.chain(first.hash)] == [first.hash]


@given(st.text("0123456789abcdef", min_size=40, max_size=40), st.booleans())
def test_questions_are_equal_whatever_the_case_and_the_order(digits: str, full: bool) -> None:
    """Hex digits and the order of an object's members do not matter; a value does."""
    one = question("eth_call", [{"to": "0x" + digits, "data": "0x"}, full])
    assert one == question("eth_call", [{"data": "0x", "to": "0x" + digits.upper()}, full])
    assert one != question("eth_call", [{"to": "0x" + digits, "data": "0x"}, not full])
    assert question("eth_chainId", None) == question("eth_chainId", [])


@pytest.mark.parametrize(
    "data, complaint",
    [
        (b"", "no head is announced in its 0 lines"),
        (b'{"t":1,"kind":"map","tsk":[],"hash":"0x","height":1}\n', "no head is announced in its 1 lines"),
        (b'\n{"t":1,"kind"\n', r":2: not a line of a recording"),
        (b"not json\n", r":1: not a line of a recording .*allowed are objects of kind sub, frame, rpc, map"),
        (b"[1]\n", r":1: not a line of a recording .*Expected `object`"),
        (b'{"t":1}\n', r":1: .*missing required field `kind`"),
        (b'{"t":1,"kind":"note"}\n', r":1: .*unknown kind 'note'"),
        (b'{"t":"x","kind":"map"}\n', r":1: .*Expected `float`"),
        (b'{"t":1,"kind":"frame","msg":{"method":"xrpc.ch.val","params":[1,[{"Type":"apply","Val":{}}]]}}\n', r":1: .*shape"),
        (b'{"t":1,"kind":"rpc","method":"m","params":' + b"[" * 5000 + b"]" * 5000 + b"}\n", r":1: not a line"),
        (b"\xff\xfe\n", r":1: not a line"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path, data: bytes, complaint: str) -> None:
    """The message names file, line, what is wrong and what is allowed."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=complaint) as caught:
        load(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    """Compressed files know where they end."""
    world = World()
    lines = [notice(0.0, ("current", world.grow()))] + [
        asked(1, "eth_call", [number], result=hex(number * 77777)) for number in range(3000)
    ]
    data = COMPRESSED[suffix](text(*lines))
    path = tmp_path / f"cut.jsonl.{suffix}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordingError, match=r"can not be read behind line \d+ .*is the file whole\?"):
        load(str(path))


@pytest.mark.parametrize("suffix", COMPRESSED)
@pytest.mark.parametrize("name", ["made", "made.gz", "made.jsonl.xz"])
def test_a_file_is_read_as_what_it_is(tmp_path: Path, name: str, suffix: str) -> None:
    """Whatever it is called; several compressed parts, one after the other, are one file."""
    world = World()
    heads = [text(notice(second, ("current", world.grow()))) for second in range(2)]
    (tmp_path / name).write_bytes(b"".join(map(COMPRESSED[suffix], heads)))
    assert len(load(str(tmp_path / name)).heads) == 2


def test_a_missing_file_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    """The bundled names are told."""
    name = str(tmp_path / "none.jsonl")
    with pytest.raises(RecordingError, match=re.escape(f"{name}: no such recording: allowed are a file and devnet")):
        load(name)
    with pytest.raises(RecordingError, match="can not be read"):
        load(str(tmp_path))
