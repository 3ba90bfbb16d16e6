"""The border to the node: shapes are checked, names and hashes computed as Lotus does."""

import contextlib
import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import NodeFault
from streams.wire import (
    BURNT_FUNDS,
    EAM,
    Actor,
    Cid,
    EthBlock,
    EthHeader,
    Fee,
    HeadChange,
    HexHash,
    HexHeight,
    NativeEvent,
    NativeReceipt,
    Receipt,
    ReceiptLog,
    StreamedLog,
    Tipset,
    Transaction,
    actor_id,
    eth_name,
    may_have_eth_name,
    read,
    tipset_hash,
)

HASH = "0x" + "Ab" * 32
ADDRESS = "0x" + "Cd" * 20
CID = {"/": "bafy2bzacecefj5u6mnyocompswu57c4zsaqxbx3cfalydgpjk5z56ucchoehy"}
MESSAGE = {"hash": HASH, "from": ADDRESS, "to": ADDRESS, "gas": "0x10", "value": "0x0", "input": "0x"}
EXAMPLES: dict[Any, dict[str, Any]] = {
    Tipset: {"Cids": [CID], "Blocks": [{"Parents": [CID], "Height": 1, "Timestamp": 2}], "Height": 1},
    EthBlock: {
        "hash": HASH,
        "parentHash": HASH,
        "number": "0x1",
        "timestamp": "0x2",
        "baseFeePerGas": "0x64",
        "transactions": [MESSAGE],
    },
    EthHeader: {"hash": HASH, "parentHash": HASH, "number": "0x1"},
    Transaction: MESSAGE | {"maxFeePerGas": "0x2", "maxPriorityFeePerGas": "0x1", "gasPrice": "0x2"},
    ReceiptLog: {"address": ADDRESS, "topics": [HASH], "data": "0x"},
    StreamedLog: {"address": ADDRESS, "topics": [HASH], "data": "0x", "blockHash": HASH, "transactionHash": HASH, "removed": True},
    Receipt: {
        "transactionHash": HASH,
        "blockHash": HASH,
        "blockNumber": "0x1",
        "gasUsed": "0x5",
        "status": "0x1",
        "contractAddress": ADDRESS,
        "logs": [{"address": ADDRESS}],
    },
    NativeReceipt: {"ExitCode": 0, "GasUsed": 5, "EventsRoot": CID},
    NativeEvent: {"Entries": [{"Key": "t1"}]},
    Actor: {"Balance": "-5", "DelegatedAddress": None},
}
TEXTS = (Transaction, Receipt, ReceiptLog)
"""What has its texts checked together."""
OPTIONAL = {
    "Timestamp",
    "to",
    "value",
    "input",
    "maxFeePerGas",
    "maxPriorityFeePerGas",
    "gasPrice",
    "contractAddress",
    "topics",
    "data",
    "removed",
    "EventsRoot",
    "DelegatedAddress",
}


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "key, block",
    [
        (
            ["bafy2bzacecefj5u6mnyocompswu57c4zsaqxbx3cfalydgpjk5z56ucchoehy"],
            "0x28c7400c37ddbfa3d105425cf0d5153a27a9416cb6d39c81759ba7c9447984f5",
        ),
        (
            ["bafy2bzacect4y4ovsuwrfkkz3ej7gr2jueme2cnkgdtw5sz32225ktorrglt2"],
            "0x833fd5040d9f45893c58b29c405e0839af7bd01154e5802ed664db21c6cb0f16",
        ),
        (
            ["bafy2bzaced4ilwethlb6oautrvge7paiow2kabcfauxh7hofjzo5k4c4hgkly"],
            "0x5592db6c2b4c2c48f534b4074d9a8f7bef385240df44f65fd43e3fecd5c7a9f4",
        ),
        (
            [
                "bafy2bzaceaiqns2vsqm7zee3uzb6vw4a6tptyjwpq2s6s3y47f257aohlgt3e",
                "bafy2bzaceb7i74pqwlcrpftfrgcyoj2lhd5towrhimhi2t4gol6mjhp6bsspw",
            ],
            "0xa11c39caccd0e74e255444e52f982f4c7fb08e5dc4b9ea0f374b1daea90ba324",
        ),
    ],
)
def test_the_hash_of_a_key_is_what_lotus_says(key: list[str], block: str) -> None:
    """Keys of one block and of two, with the eth hashes that a Lotus devnet gave them."""
    assert tipset_hash([Cid(one) for one in key]) == block


def test_keys_of_any_size_have_a_hash() -> None:
    """The CBOR head grows with the key: none, few, many and very many blocks all end in hashes of their own."""
    one = Cid(CID["/"])
    hashes = {tipset_hash([one] * count) for count in (0, 1, 7, 8, 1000)} | {tipset_hash([Cid("b" + "a" * 192)] * 600)}
    assert len(hashes) == 6
    assert tipset_hash([]) == "0x" + hashlib.blake2b(b"\x40", digest_size=32).hexdigest()


@pytest.mark.parametrize("text", ["ba", "baaa", "bafy2bzacefj5u6mnyocompswu57c4zsaqxbx3cfalydgpjk5z56ucchoehy"])
def test_a_key_that_is_not_base32_is_a_fault(text: str) -> None:
    """A text of a length that base32 does not have can not be an identifier."""
    with pytest.raises(NodeFault, match="tipset key"):
        tipset_hash([Cid(text)])


@pytest.mark.parametrize(
    "prices, cap, premium",
    [
        ({"maxFeePerGas": "0xb2d05e00", "maxPriorityFeePerGas": "0xdbba0"}, 3 * 10**9, 900_000),
        ({"gasPrice": "0x64"}, 100, 100),
        ({"gasPrice": "0x64", "maxFeePerGas": None, "maxPriorityFeePerGas": None}, 100, 100),
        ({"gasPrice": "0x64", "maxFeePerGas": "0x65", "maxPriorityFeePerGas": "0x0"}, 101, 0),
        ({}, 0, 0),
    ],
)
def test_a_legacy_message_has_one_price(prices: dict[str, Any], cap: int, premium: int) -> None:
    """Its gas price is both the fee cap and the premium; where both are told they win."""
    message = read(encoded(MESSAGE | prices), Transaction, "message")
    assert (message.gas_fee_cap, message.gas_premium) == (cap, premium)


def test_a_receipt_tells_success_and_what_was_created() -> None:
    """Only a successful message made the contract that its receipt names."""
    receipt = read(encoded(EXAMPLES[Receipt]), Receipt, "receipt")
    assert (receipt.succeeded, receipt.created) == (True, ADDRESS.lower())
    for status in ("0x0", "0x2"):
        failed = read(encoded(EXAMPLES[Receipt] | {"status": status}), Receipt, "receipt")
        assert (failed.succeeded, failed.created) == (False, None)
    assert read(encoded(EXAMPLES[Receipt] | {"contractAddress": None}), Receipt, "receipt").created is None


def test_masked_ids() -> None:
    """An id address has its number, any other has none; built-in actors below 100 have no other name."""
    assert (actor_id(EAM), actor_id(BURNT_FUNDS)) == (10, 99)
    assert actor_id("0xff" + "00" * 11 + "ffffffffffffffff") == 2**64 - 1
    assert actor_id("0xff" + "00" * 10 + "01" + "00" * 7 + "0a") is None
    assert actor_id(ADDRESS.lower()) is None
    assert [may_have_eth_name(f"0xff{number:038x}") for number in (10, 99, 100, 1234)] == [False, False, True, True]
    assert not may_have_eth_name(ADDRESS.lower())


def test_delegated_addresses_have_an_eth_name() -> None:
    """The f410 form of an address and back (the vector of FIP-0048's text and of Lotus), on mainnet and elsewhere; no other form."""
    text = "410f2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gmy"
    for prefix in "ft":
        assert eth_name(prefix + text) == "0xd388ab098ed3e84c0d808776440b48f685198498"
    others = (None, "", "f01234", "f1abc", "x" + text, "f" + text[:-1], "f" + text + "a", "f" + text + "\n", "f" + text.upper())
    assert [eth_name(other) for other in others] == [None] * len(others)


@pytest.mark.parametrize("shape", EXAMPLES)
def test_examples_are_read(shape: Any) -> None:
    """What a node says is read, whatever else it says beside; optional fields may be missing."""
    read(encoded(EXAMPLES[shape]), shape, "x")
    read(encoded(EXAMPLES[shape] | {"more": [1, {}]}), shape, "x")
    read(encoded({key: value for key, value in EXAMPLES[shape].items() if key not in OPTIONAL}), shape, "x")


@pytest.mark.parametrize("shape, field", [(shape, key) for shape, example in EXAMPLES.items() for key in example])
def test_odd_fields_are_faults(shape: Any, field: str) -> None:
    """A required field that is missing, and any field of another kind, is the node's fault, and the message says what was asked."""
    example = EXAMPLES[shape]
    if field not in OPTIONAL:
        with pytest.raises(NodeFault, match="the question"):
            read(encoded({key: value for key, value in example.items() if key != field}), shape, "the question")
    odds: tuple[Any, ...] = (1.5, {"a": 1}, [7], "0xzz", [[]])
    for odd in odds:
        if shape is Actor and field == "DelegatedAddress" and isinstance(odd, str):
            continue
        with pytest.raises(NodeFault, match="the question: the answer has another shape"):
            read(encoded(example | {field: odd}), shape, "the question")


@pytest.mark.parametrize("odd", ["", "0x", "12", "0x-1", "0x 1", "0x1_0", "0x1\n", "0x" + "1" * 13, 5, None])
def test_heights_are_short_hex(odd: Any) -> None:
    """Signs, spaces, underscores, line ends and more than 48 bits are refused, though Python would take some for a number."""
    assert read(b'"0x1fF"', HexHeight, "x") == "0x1fF"
    with pytest.raises(NodeFault):
        read(encoded(odd), HexHeight, "x")


@pytest.mark.parametrize("field, bits", [("gas", 36), ("maxFeePerGas", 96), ("maxPriorityFeePerGas", 96), ("gasPrice", 96), ("value", 128)])
def test_amounts_have_a_size(field: str, bits: int) -> None:
    """What no message can hold is the node's fault, told before anything is counted; leading zeros are no size."""
    most = hex(2**bits - 1)
    for allowed in (most, "0x" + most[2:].zfill(64)):
        read(encoded(MESSAGE | {field: allowed}), Transaction, "x")
    with pytest.raises(NodeFault):
        read(encoded(MESSAGE | {field: hex(2**bits)}), Transaction, "x")


def test_the_price_of_a_header_has_a_size() -> None:
    """As those of messages have."""
    assert read(encoded(hex(2**96 - 1)), Fee, "x")
    with pytest.raises(NodeFault):
        read(encoded(hex(2**96)), Fee, "x")


@pytest.mark.parametrize(
    "shape, field", [(shape, key) for shape in TEXTS for key, value in EXAMPLES[shape].items() if isinstance(value, str)]
)
@pytest.mark.parametrize("odd", ["", "None", "'0x1'", "0x1 0x1", "0x1\n", " 0x1", "0x" + "1" * 200])
def test_a_text_that_does_not_fit_is_named(shape: Any, field: str, odd: str) -> None:
    """Texts that are checked together are checked as strictly as one by one, and what is odd is told with its place."""
    if field in {"data", "input"} and odd.startswith("0x1") and odd.isalnum():
        return
    with pytest.raises(NodeFault, match=r"the answer has another shape \(.*is .* - at `\$\[1\]`\)") as fault:
        read(encoded([EXAMPLES[shape], EXAMPLES[shape] | {field: odd}]), list[shape], "x")
    assert len(str(fault.value)) < 200


@pytest.mark.parametrize("shape", TEXTS)
def test_every_text_is_checked(shape: Any) -> None:
    """The examples above have every text of what has its texts checked together, so a new one can not be forgotten."""
    texts = {one.encode_name for one in msgspec.structs.fields(shape) if one.type in {str, str | None}}
    assert texts == {key for key, value in EXAMPLES[shape].items() if isinstance(value, str)}


def test_more_topics_than_the_evm_has_are_a_fault() -> None:
    """Four are the most, and each is 32 bytes."""
    log = {"address": ADDRESS, "data": "0x"}
    for count in range(5):
        assert len(read(encoded(log | {"topics": [HASH] * count}), ReceiptLog, "x").topics) == count
    for odd in ([HASH] * 5, [HASH, ""], [""], [HASH[:-1]], [f"{HASH},{HASH}0"]):
        with pytest.raises(NodeFault):
            read(encoded(log | {"topics": odd}), ReceiptLog, "x")


def test_line_ends_are_no_part_of_a_hash() -> None:
    """A pattern that ends in `$` would let one through."""
    for odd in (HASH + "\n", HASH + "0", "\n" + HASH):
        with pytest.raises(NodeFault):
            read(encoded(odd), HexHash, "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.just(HASH),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(list(EXAMPLES)), st.data())
def test_only_faults_whatever_stands_in_a_field(shape: Any, data: st.DataObject) -> None:
    """Any JSON in any field is read, or a fault of the node; never anything else."""
    field = data.draw(st.sampled_from(list(EXAMPLES[shape])))
    with contextlib.suppress(NodeFault):
        read(encoded(EXAMPLES[shape] | {field: data.draw(JSON)}), shape, "x")


@given(st.binary(max_size=40))
def test_only_faults_whatever_the_bytes(raw: bytes) -> None:
    """Bytes that are no JSON, or no text, are faults."""
    with contextlib.suppress(NodeFault):
        read(raw, HeadChange, "x")
