"""Addresses in their forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.addresses import delegated, parse
from streams.errors import UsageError
from streams.wire import eth_name

ETH, TEXT = "0xd388ab098ed3e84c0d808776440b48f685198498", "f410f2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gmy"


def test_the_vector_of_the_specification() -> None:
    """Both ways; the prefix of a test network means the same actor."""
    assert delegated(ETH) == TEXT
    assert parse(TEXT) == parse("t" + TEXT[1:]) == parse(ETH.upper().replace("X", "x")) == ETH


@given(st.binary(min_size=20, max_size=20))
def test_there_and_back(body: bytes) -> None:
    """Every 20 bytes have one delegated form, and it leads back to them."""
    address = "0x" + body.hex()
    assert parse(delegated(address)) == eth_name(delegated(address)) == address


def test_ids_are_masked() -> None:
    """As the eth view shows actors without a delegated address."""
    assert parse("f099") == "0xff00000000000000000000000000000000000063"
    assert parse("t01234") == "0xff000000000000000000000000000000000004d2"


@pytest.mark.parametrize(
    "text", ["", "0x12", ETH + "00", "f1abjxfbp274xpdqcpuaykwkfb43omjotacm2p3za", "f0", "f007", "f0-1", f"f0{2**64}", TEXT[:-1], " " + ETH]
)
def test_anything_else_is_refused(text: str) -> None:
    """With what is allowed."""
    with pytest.raises(UsageError, match="allowed are 0x and 40 hex digits, f410f and 39 letters, or f0"):
        parse(text)


def test_a_wrong_checksum_is_refused() -> None:
    """One letter of another address."""
    with pytest.raises(UsageError, match="checksum is wrong"):
        parse(TEXT.replace("2oek", "2oel"))
