"""The recount itself: its burn is the chain's, its two views agree, and its numbers are those of the recording."""

from functools import cache

import pytest

from tests.end_to_end.product import BUNDLED, WINDOWS
from tests.recount import Recount, message_burn


@cache
def recount(*, native: bool = True) -> Recount:
    """The recount of the bundled recording."""
    return Recount(BUNDLED, lambda address: address, native=native)


def test_burn_is_what_the_chain_burnt() -> None:
    """On every tipset that ever ran, orphans included, f099 rises by the gas burn and what messages send to it."""
    one = recount()
    checked = 0
    for block in one.blocks.values():
        rise = one.rise(block["hash"])
        if rise is None:
            continue
        receipts = {receipt["transactionHash"]: receipt for receipt in one.receipts[block["hash"]]}
        burnt = 0
        for transaction in block["transactions"]:
            receipt = receipts[transaction["hash"]]
            burnt += sum(message_burn(transaction, receipt, int(block["baseFeePerGas"], 16)))
            if transaction["to"] == "0xff00000000000000000000000000000000000063" and receipt["status"] == "0x1":
                burnt += int(transaction["value"], 16)
        assert burnt == rise, block["number"]
        checked += 1
    assert checked >= len(one.blocks) - 5


@pytest.mark.parametrize("epochs", WINDOWS)
def test_both_views_count_the_same(epochs: int) -> None:
    """What eth alone tells gives the same figures, but for the rise of f099."""
    native, eth = recount().figures(epochs), recount(native=False).figures(epochs)
    assert (eth.pop("rise"), eth.pop("rise_known")) == (0, 0)
    assert native.pop("rise") == native["base_fee_burn"] + native["over_estimation_burn"] + native["sent"]
    del native["rise_known"]
    assert native == eth
