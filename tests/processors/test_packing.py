import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.folds import Contribution
from processors.packing import LIMB, MOST_LIMBS, Config, facts, joined, limbs, member, part, parts, reading
from processors.readings import StreamReading, WindowReading
from processors.windows import LONGEST_EPOCHS
from streams.errors import RecordFault
from tests.processors.strategies import tipset

CONFIG = Config(1, 900, (("3e", 3),))
EXACT = 2**53


@given(st.integers(-(LIMB**MOST_LIMBS) + 1, LIMB**MOST_LIMBS - 1))
def test_an_amount_survives_its_limbs(value: int) -> None:
    """Cut and joined it is itself; a double holds the sum of each limb over the longest window."""
    cut = limbs("amount", value)
    assert joined(cut) == ({"amount": value} if value else {})
    assert all(abs(limb) < LIMB for limb in cut.values())
    assert LIMB * LONGEST_EPOCHS < EXACT


@given(st.lists(st.integers(-(10**40), 10**40), max_size=10))
def test_limbs_add_up_without_carry(values: list[int]) -> None:
    """The limbs of many amounts, each added by itself, join to the sum of the amounts."""
    counters: dict[str, int] = {}
    for value in values:
        for name, limb in limbs("amount", value).items():
            counters[name] = counters.get(name, 0) + limb
    assert joined(counters).get("amount", 0) == sum(values)


def test_small_amounts_are_one_counter() -> None:
    """A count costs one field, 0 costs none."""
    assert limbs("count", 5) == {"0count": 5}
    assert limbs("count", -5) == {"0count": -5}
    assert limbs("count", 0) == {}
    assert limbs("burn", 3 * LIMB) == {"1burn": 3}


@pytest.mark.parametrize("value", [LIMB**MOST_LIMBS, -(LIMB**MOST_LIMBS), 10**4000])
def test_an_amount_beyond_reason_is_refused(value: int) -> None:
    """Such a number is no amount: the record is at fault."""
    with pytest.raises(RecordFault, match="amount"):
        limbs("amount", value)


@given(st.lists(st.text(max_size=30), unique=True))
def test_members_stay_apart(texts: list[str]) -> None:
    """Different members are stored differently, and only an address has 20 bytes."""
    texts = [text.rstrip("\0") for text in texts]
    address = "0x" + "ab" * 20
    stored = {msgspec.msgpack.encode(member(text)) for text in {*texts, address}}
    assert len(stored) == len({*texts, address})
    assert member(address) == msgspec.Raw(b"\xd9\x14" + b"\xab" * 20)


def test_a_member_is_stored_once_however_many_kinds_count_it() -> None:
    """Members are grouped by the set of their kinds."""
    packed = part({"count": 2}, {"sender": frozenset("ab"), "sender:dex": frozenset("a")})
    assert packed[:2] == [["0count"], [2]]
    assert packed[2] == [("sender", "sender:dex"), [member("a")], ("sender",), [member("b")]] or packed[2] == [
        ("sender",),
        [member("b")],
        ("sender", "sender:dex"),
        [member("a")],
    ]


def test_the_facts_of_a_tipset_travel_with_it() -> None:
    """Hash, time and base fee go with the short half, and come back as text."""
    short, lasting = parts(tipset(7, 6, 255), Contribution())
    assert short[3:] == [msgspec.Raw(b"\xd9\x20" + bytes(31) + b"\xff"), 210, "107"]
    assert lasting == [[], [], []]
    assert facts([b"height", b"7", b"hash", bytes(31) + b"\xff"]) == {"height": "7", "hash": "0x" + "00" * 31 + "ff"}


@pytest.mark.parametrize("value", [0, -1, 2**40, 10**40])
def test_a_ranked_value_beyond_reason_is_refused(value: int) -> None:
    """What fits travels at the end, member by member."""
    record = tipset(7, 6, 1)
    assert parts(record, Contribution(ranked={"0x" + "01" * 20: 2**40 - 1}))[0][6] == [member("0x" + "01" * 20), 2**40 - 1]
    with pytest.raises(RecordFault, match="no tipset uses that much gas"):
        parts(record, Contribution(ranked={"0x" + "01" * 20: value}))


def test_a_hash_that_is_none_is_refused() -> None:
    """The record is at fault."""
    record = msgspec.structs.replace(tipset(7, 6, 1), hash="0xnothing")
    with pytest.raises(RecordFault, match="hash"):
        parts(record, Contribution())


def test_an_answer_is_read() -> None:
    """Field numbers become names, limbs amounts; empty kinds and fields are left out; missing is what the ledger lacks."""
    fields = [b"0count", b"1", b"0burn", b"2", b"1burn", b"3"]
    now = [b"window-3", [b"processed", b"2", b"null", b"1", b"1", b"0", b"2", b"5", b"3", b"7"], [b"sender", 4, b"contract", 0], 97, [], 3]
    before = [b"before-3", [b"null", b"1", b"1", b"4"], [b"sender", 0, b"contract", 0], 94, [], -1]
    ranked = [b"ranked-3", [], [], 97, [b"\x01" * 20, b"12", b"\x02" * 20, b"5"], -1]
    ledger = [b"ledger", [b"processed", b"2", b"null", b"2", b"1", b"9"], [], -1000, [], -1]
    window = WindowReading("3e", 3, {"burn": 7 * LIMB + 5}, {"sender": 4}, 2, 1, {}, 0, 1, {"count": 4}, new_deployers=3)
    top = (("0x" + "01" * 20, 12), ("0x" + "02" * 20, 5))
    expected = StreamReading(100, 2, 2, 2, {"3e": window}, 95, {"count": 9}, top, 3)
    assert reading(CONFIG, [100, 95, [], fields, [now, before, ranked, ledger]]) == expected


def test_a_stream_without_a_head_shows_empty_windows() -> None:
    """Nothing is known, so nothing is covered."""
    assert reading(CONFIG, [-1, -1, [], [], []]) == StreamReading(windows={"3e": WindowReading("3e", 3)})
