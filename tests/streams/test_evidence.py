from pathlib import Path

import pytest
from eth_utils.address import is_address
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from streams import evidence
from streams.evidence import EVENT_SHAPES, STANDARDS, scan, selector_of, topic_of

CODES = Path(__file__).parents[1] / "data"
ADDRESS = "0x" + "5e" * 20
WORD = ADDRESS[2:].rjust(64, "0")
OTHER = "11" * 32


def code(name: str) -> bytes:
    """The code of a contract that runs on a Lotus devnet (solc 0.8)."""
    return bytes.fromhex((CODES / f"{name}.hex").read_text(encoding="ascii"))


def answers(selector: str) -> bytes:
    """DUP1 PUSH4 selector EQ PUSH2 place JUMPI: how solc dispatches."""
    return b"\x80\x63" + bytes.fromhex(selector[2:]) + b"\x14\x61\x00\x00\x57"


def calls(selector: str) -> bytes:
    """PUSH4 selector PUSH1 0xe0 SHL: how solc prepares a call of another contract."""
    return b"\x63" + bytes.fromhex(selector[2:]) + b"\x60\xe0\x1b"


def logs(topic: str) -> bytes:
    """PUSH32 topic."""
    return b"\x7f" + bytes.fromhex(topic[2:])


def shapes(contract: bytes) -> list[str]:
    """The names of all shapes that fit."""
    selectors, topics = (frozenset(found) for found in scan(contract))
    return [shape.name for shape in (*STANDARDS, *EVENT_SHAPES) if shape.fits(selectors, topics)]


def test_tables_are_the_hashes_of_their_signatures() -> None:
    """Selectors are four bytes, topics all 32, of the keccak of the signature."""
    assert {one: "0x" + keccak(text=name)[:4].hex() for one, name in evidence.SELECTORS.items()} == {one: one for one in evidence.SELECTORS}
    assert {one: "0x" + keccak(text=name).hex() for one, name in evidence.TOPICS.items()} == {one: one for one in evidence.TOPICS}


def test_tables_hold_what_the_shapes_need_and_nothing_else() -> None:
    """Each signature of a shape or factory has its row, each row its shape or factory."""
    every = (*STANDARDS, *EVENT_SHAPES)
    assert {one for shape in every for one in shape.functions} == set(evidence.SELECTORS.values())
    events = {one for shape in every for one in shape.events} | {factory.event for factory in evidence.FACTORIES}
    assert events == set(evidence.TOPICS.values())
    assert len({shape.name for shape in every}) == len(every)
    assert all(shape.functions for shape in STANDARDS)
    assert all(shape.events and not shape.functions for shape in EVENT_SHAPES)


@pytest.mark.parametrize(
    "slot, name",
    [(evidence.IMPLEMENTATION_SLOT, "implementation"), (evidence.BEACON_SLOT, "beacon")],
)
def test_slots_are_those_of_eip_1967(slot: str, name: str) -> None:
    """A slot is the keccak of its name, less one."""
    assert int(slot, 16) == int.from_bytes(keccak(text=f"eip1967.proxy.{name}")) - 1


def test_beacon_is_asked_for_its_implementation() -> None:
    """The call is `implementation()`."""
    assert keccak(text="implementation()")[:4].hex() == evidence.BEACON_CALL[2:]


@pytest.mark.parametrize(
    "name, found",
    [
        ("token", ["ERC-20", "ERC-20 transfers"]),
        ("vault", ["ERC-4626", "ERC-20", "vault deposits and withdrawals", "ERC-20 transfers"]),
        ("nft", ["ERC-721", "ERC-721 transfers", "ERC-20 transfers"]),
        ("proxy", []),
        ("counter", []),
        ("factory", []),
    ],
)
def test_real_contracts_show_their_shapes(name: str, found: list[str]) -> None:
    """What compilers made of real sources is read as what it is."""
    assert shapes(code(name)) == found


def test_called_functions_are_not_answered_functions() -> None:
    """A contract that calls a token is no token."""
    token = next(shape for shape in STANDARDS if shape.name == "ERC-20")
    assert scan(b"".join(calls(selector_of(one)) for one in token.functions)) == ((), ())
    assert shapes(b"".join(answers(selector_of(one)) for one in token.functions)) == ["ERC-20"]


def test_code_of_contracts_that_are_created_does_not_count() -> None:
    """The factory of tokens carries their code behind its own, and is no token."""
    assert shapes(code("factory")[:-1] + b"\xfe" + code("token")) == []


def test_code_goes_on_behind_an_invalid_that_is_jumped_over() -> None:
    """Older solc ends a failed `assert` with INVALID; what is jumped to behind it is still the code."""
    transfer = selector_of("transfer(address,uint256)")
    assert scan(b"\xfe\x5b" + answers(transfer)) == ((transfer,), ())
    assert scan(b"\xfe" + answers(transfer)) == ((), ())


@pytest.mark.parametrize(
    "dispatch",
    [
        b"\x80\x63%b\x14\x61\x00\x00\x57",  # solc
        b"\x63%b\x81\x14\x61\x00\x00\x57",  # solc before 0.5
        b"\x63%b\x81\x18\x61\x00\x00\x57",  # Vyper
        b"\x63%b\x60\x00\x51\x14\x15\x61\x00\x00\x57",  # Vyper before 0.3.4
    ],
)
def test_every_compiler_is_understood(dispatch: bytes) -> None:
    """The forms in which compilers compare the selector."""
    assert scan(dispatch.replace(b"%b", bytes.fromhex("a9059cbb"))) == (("0xa9059cbb",), ())


def test_selectors_may_lose_their_leading_zero() -> None:
    """Compilers push the shortest form: 0x00a718a9 is three bytes."""
    assert scan(b"\x80\x62\xa7\x18\xa9\x14\x61\x00\x00\x57") == (("0x00a718a9",), ())


def test_safe_proxy_is_known_by_its_code() -> None:
    """It compares the input's first word with the whole word of `masterCopy()`, and answers nothing else."""
    opening = bytes.fromhex("608060405273ffffffffffffffffffffffffffffffffffffffff600054167fa619486e")
    proxy = opening + bytes(28) + bytes.fromhex("60003514156050578060005260206000f35b3660008037600080366000845af43d6000803e6000811415")
    assert shapes(proxy) == ["Safe proxy"]


@given(st.binary(max_size=400))
def test_any_bytes_can_be_scanned(data: bytes) -> None:
    """Nothing raises, and only what is known is found, sorted."""
    selectors, topics = scan(data)
    assert list(selectors) == sorted(set(selectors) & evidence.SELECTORS.keys())
    assert list(topics) == sorted(set(topics) & evidence.TOPICS.keys())


SELECTORS = st.sampled_from(sorted(evidence.SELECTORS))
TOPICS = st.sampled_from(sorted(evidence.TOPICS))
NOISE = st.one_of(
    st.sampled_from([bytes([one]) for one in range(0x5F) if one not in {0x14, 0x18}]),
    st.builds(lambda inner, pad: bytes([0x60 + 30]) + (answers(inner) + pad)[:31], SELECTORS, st.just(bytes(31))),
    st.builds(lambda inner, width: bytes([0x5F + width]) + (b"\x63" + bytes.fromhex(inner[2:]) + b"\x14")[:width], SELECTORS, st.just(6)),
    SELECTORS.map(calls),
)


@given(st.lists(st.one_of(NOISE, st.tuples(SELECTORS), TOPICS)))
def test_only_instructions_count(parts: list[bytes | tuple[str] | str]) -> None:
    """Dispatches and topics are found between any instructions; the same bytes as data of a PUSH, or in calls, are not."""
    selectors = {part[0] for part in parts if isinstance(part, tuple)}
    topics = {part for part in parts if isinstance(part, str)}
    built = [part if isinstance(part, bytes) else logs(part) if isinstance(part, str) else answers(part[0]) for part in parts]
    assert scan(b"".join(built)) == (tuple(sorted(selectors)), tuple(sorted(topics)))


@pytest.mark.parametrize(
    "form",
    [
        "363d3d373d3d3d363d73{}5af43d82803e903d91602b57fd5bf3",
        "365f5f375f5f365f73{}5af43d5f5f3e5f3d91602a57fd5bf3",
        "363d3d373d3d3d363d73{}5af43d82803e903d91602b57fd5bf3c0ffee",
    ],
)
def test_minimal_proxies_tell_their_target(form: str) -> None:
    """EIP-1167, ERC-7511, and with immutable arguments behind."""
    assert evidence.minimal_proxy_target(bytes.fromhex(form.format(ADDRESS[2:]))) == ADDRESS


@given(st.one_of(st.binary(max_size=60), st.sampled_from([code(name) for name in ("token", "proxy", "factory")])))
def test_other_code_is_no_minimal_proxy(data: bytes) -> None:
    """Whatever else it is."""
    assert evidence.minimal_proxy_target(data) is None


PAIR = topic_of("PairCreated(address,address,address,uint256)")
POOL = topic_of("PoolCreated(address,address,uint24,int24,address)")
SAFE = topic_of("ProxyCreation(address,address)")
AGENT = topic_of("CreateAgent(uint256,address,address)")
X = "0x" + OTHER


@pytest.mark.parametrize(
    "topics, data",
    [
        ((PAIR, X, X), "0x" + WORD + OTHER),
        ((POOL, X, X, X), "0x" + OTHER + WORD),
        ((SAFE, "0x" + WORD), "0x" + OTHER),
        ((SAFE,), "0x" + WORD + OTHER),
        ((AGENT, X, "0x" + WORD, X), "0x"),
    ],
)
def test_factories_announce_their_children(topics: tuple[str, ...], data: str) -> None:
    """Each kind where its event has the child; the Safe's in either indexing."""
    assert evidence.child(topics, data) == ADDRESS


@pytest.mark.parametrize(
    "topics, data",
    [
        ((), "0x" + WORD),
        ((X,), "0x" + WORD),
        ((PAIR, X, X), "0x"),
        ((PAIR, X, X), "0x" + WORD[:63]),
        ((PAIR, X, X), "0x" + "0" * 64),
        ((PAIR, X, X), "0x" + OTHER),
        ((PAIR,), "0x" + WORD * 4),
    ],
)
def test_other_logs_announce_nobody(topics: tuple[str, ...], data: str) -> None:
    """No such event, too short, the zero address, no address, or other indexing than the event's."""
    assert evidence.child(topics, data) is None


@given(st.lists(st.one_of(st.text(), st.sampled_from([PAIR, POOL, SAFE, AGENT, "0x" + WORD])), max_size=4), st.text())
def test_a_child_is_an_address_or_nobody(topics: list[str], data: str) -> None:
    """Whatever a log holds."""
    found = evidence.child(tuple(topics), data)
    assert found is None or is_address(found)
