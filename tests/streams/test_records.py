"""Records: what is written is what is read, and what is no record is said to be none."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import RecordFault
from streams.records import (
    STREAMS,
    VERSION,
    Child,
    Contract,
    Creation,
    InnerBurn,
    Log,
    LogsRecord,
    Message,
    Record,
    Rewind,
    StateRecord,
    TipsetRecord,
    decode,
    encode,
    stream_of,
)


def hexes(digits: int) -> st.SearchStrategy[str]:
    return st.integers(0, 16**digits - 1).map(lambda number: f"0x{number:0{digits}x}")


ADDRESSES, HASHES, SELECTORS = hexes(40), hexes(64), hexes(8)
AMOUNTS = st.integers(-(2**300), 2**300)
HEIGHTS = st.integers(0, 2**48)
SEQUENCES = st.integers(0, 2**63 - 1)
TIMES = st.floats(allow_nan=False, allow_infinity=False)
CONTRACTS = st.lists(
    st.builds(
        Contract,
        ADDRESSES,
        HASHES,
        implementation=st.none() | ADDRESSES,
        selectors=st.lists(SELECTORS, max_size=2).map(tuple),
        topics=st.lists(HASHES, max_size=2).map(tuple),
        interfaces=st.lists(SELECTORS, max_size=2).map(tuple),
        child_of=st.none() | st.builds(Child, ADDRESSES, HASHES),
        created_by=st.none() | ADDRESSES,
    ),
    max_size=2,
).map(tuple)
MESSAGES = st.builds(
    Message,
    HASHES,
    ADDRESSES,
    receiver=st.none() | ADDRESSES,
    creates=st.booleans(),
    created=st.none() | ADDRESSES,
    succeeded=st.booleans(),
    gas_used=AMOUNTS,
    gas_limit=AMOUNTS,
    gas_fee_cap=AMOUNTS,
    gas_premium=AMOUNTS,
    value_attofil=AMOUNTS,
    selector=st.just("") | SELECTORS,
)
CREATIONS = st.builds(Creation, ADDRESSES, ADDRESSES, st.none() | HASHES, st.integers(0, 10**6), st.booleans())
LOGS = st.builds(Log, st.integers(0, 10**6), st.integers(0, 10**6), ADDRESSES, st.lists(HASHES, max_size=4).map(tuple), hexes(10))
COMMON = {"network": st.text(max_size=9), "sequence": SEQUENCES, "height": HEIGHTS}
PLACE = {"parent_height": st.none() | HEIGHTS, "hash": HASHES, "noticed_at": TIMES, "contracts": CONTRACTS}
RECORDS = st.one_of(
    st.builds(
        TipsetRecord,
        **COMMON,
        **PLACE,
        parent_hash=HASHES,
        timestamp_seconds=HEIGHTS,
        base_fee_attofil=AMOUNTS,
        messages=st.lists(MESSAGES, max_size=3).map(tuple),
        burnt_rise_attofil=st.none() | AMOUNTS,
        incomplete=st.booleans(),
        creations=st.none() | st.lists(CREATIONS, max_size=3).map(tuple),
        inner_burns=st.lists(st.builds(InnerBurn, st.integers(0, 10**6), AMOUNTS), max_size=3).map(tuple),
        traced=st.booleans(),
    ),
    st.builds(LogsRecord, **COMMON, **PLACE, logs=st.lists(LOGS, max_size=3).map(tuple)),
    st.builds(
        StateRecord,
        **COMMON,
        **{name: value for name, value in PLACE.items() if name != "contracts"},
        timestamp_seconds=HEIGHTS,
        samples=st.dictionaries(st.text(max_size=9), AMOUNTS | AMOUNTS.map(lambda amount: -amount), max_size=3),
        failed=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    ),
    st.builds(Rewind, **(COMMON | {"height": st.integers(-2000, 2**48)}), stream=st.sampled_from(list(STREAMS)), top=HEIGHTS),
)
REWIND = Rewind(network="net", sequence=1, stream="logs", height=-1, top=5)


@given(RECORDS)
def test_what_is_written_is_what_is_read(record: Record) -> None:
    """Every record comes back as it was, amounts of any size included, and is one line."""
    line = encode(record)
    assert decode(line) == record
    assert b"\n" not in line


@given(RECORDS)
def test_a_record_names_its_stream(record: Record) -> None:
    """Tipsets, logs and state are streams of their own; a rewind says which it is about."""
    expected = {"tipset": "tipsets", "logs": "logs", "state": "state"}
    kind = json.loads(encode(record))["type"]
    assert stream_of(record) == (record.stream if isinstance(record, Rewind) else expected[kind])


def test_the_version_is_written_and_may_be_left_out() -> None:
    """A record says its version; one without is of this one."""
    written = json.loads(encode(REWIND))
    assert written.pop("version") == VERSION
    assert decode(json.dumps(written).encode()) == REWIND


def test_a_record_of_before_there_were_creations_is_read() -> None:
    """It says nothing of them, and was not traced; its contracts were made by nobody knows whom."""
    record = TipsetRecord(
        network="net",
        sequence=1,
        height=5,
        parent_height=4,
        hash="0x1",
        parent_hash="0x2",
        timestamp_seconds=9,
        noticed_at=1.5,
        base_fee_attofil=7,
        contracts=(Contract("0x3", "0x4"),),
    )
    written = json.loads(encode(record))
    for name in ("creations", "inner_burns", "traced"):
        del written[name]
    assert "created_by" not in written["contracts"][0]
    assert decode(json.dumps(written).encode()) == record
    assert (record.creations, record.inner_burns, record.traced) == (None, (), False)


@pytest.mark.parametrize("record", [{"type": "rewind"}, {"type": "something new"}, {}])
def test_a_record_from_the_future_says_so(record: dict[str, Any]) -> None:
    """A later version is named, and what to do about it, whatever else the record holds by then."""
    with pytest.raises(RecordFault, match=rf"^record of version {VERSION + 1}: this release reads up to {VERSION}, upgrade the workers"):
        decode(json.dumps(record | {"version": VERSION + 1}).encode())


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"\xff"',
        b"{}",
        b'{"type":"\xff"}',
        b'{"type":"tipset"}',
        b'{"type":"other","network":"n"}',
        b'{"version":"2"}',
        b'{"version":1' + b"0" * 5000 + b"}",
        b'{"a":' * 100_000,
        encode(REWIND).replace(b"-1", b"1.5"),
        encode(REWIND).replace(b'"logs"', b'"traces"'),
        encode(REWIND).replace(b'"net"', b'"\xfe"'),
        encode(REWIND).replace(b'"top":5', b'"top":-5'),
        encode(REWIND) + b"{}",
    ],
)
def test_garbage_is_no_record(garbage: bytes) -> None:
    """Wrong kinds, wrong shapes, no JSON and no text at all: one kind of fault, which a worker sets aside."""
    with pytest.raises(RecordFault, match="not a record"):
        decode(garbage)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_only_faults_over_any_bytes(noise: bytes, at: int) -> None:
    """Bytes alone, or in the middle of a record: a record or a fault, nothing else."""
    line = encode(REWIND)
    for data in (noise, line[:at] + noise + line[at:]):
        with contextlib.suppress(RecordFault):
            decode(data)
