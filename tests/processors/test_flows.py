from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from processors.economy import BridgedToken, Economy, Gateway, PaymentContract, PaymentToken
from processors.flows import MOST, Flows, Moved
from streams.evidence import TRANSFER
from streams.rails import AMOUNTS_OF_PAYMENT
from streams.records import Log, LogsRecord, Rail
from tests.recount import Recount

GATEWAY, TOKEN, PAY, USDC, FIL, PAYER, OTHER = ("0x" + pair * 20 for pair in ("01", "02", "03", "04", "00", "05", "06"))
HASH = "0x" + "00" * 32
SETTLED, OLD_SETTLED, ONE_TIME, OLD_ONE_TIME = AMOUNTS_OF_PAYMENT

FLOWS = Flows(
    Economy(
        gateways=(Gateway(bridge="span", address=GATEWAY, incoming=("Arrived(bytes32)",), outgoing=("Left(address)", "Sent(uint256)")),),
        bridged_tokens=(BridgedToken(bridge="span", token="spUSD", address=TOKEN, decimals=6),),
        payment_contracts=(PaymentContract(name="pay", address=PAY),),
        payment_tokens=(PaymentToken(token="USDC", address=USDC, decimals=6),),
    )
)


def word(value: int) -> str:
    """A topic."""
    return "0x" + value.to_bytes(32).hex()


def topic(event: str) -> str:
    """The first topic of an event."""
    return "0x" + keccak(text=event).hex()


def log(emitter: str, event: str, *indexed: int, data: tuple[int, ...] = ()) -> Log:
    """An event with these words of data."""
    return Log(0, 0, emitter, (topic(event), *map(word, indexed)), "0x" + "".join(word(one)[2:] for one in data))


def moved(*logs: Log, rails: tuple[Rail, ...] = ()) -> Moved:
    """What these events move."""
    record = LogsRecord(network="n", sequence=1, height=1, parent_height=0, hash=HASH, noticed_at=0.0, logs=logs, rails=rails)
    return FLOWS.of(record)


def test_messages_count_by_bridge_and_direction() -> None:
    """One event of a gateway is one message; the same event of anybody else is none."""
    found = moved(
        log(GATEWAY, "Arrived(bytes32)", 1),
        log(GATEWAY, "Left(address)", 1),
        log(GATEWAY, "Sent(uint256)"),
        log(OTHER, "Sent(uint256)"),
        log(GATEWAY, "Upkeep()"),
        Log(0, 0, GATEWAY, (), "0x"),
    )
    assert found.sums == {"bridge_messages:span:in": 1, "bridge_messages:span:out": 2}


def test_mints_and_burns_are_the_value() -> None:
    """Minted came in, burnt went out, in 18 decimals; what changes hands between people crosses no bridge."""
    found = moved(
        log(TOKEN, TRANSFER, 0, 9, data=(5_000_000,)),
        log(TOKEN, TRANSFER, 0, 8, data=(1,)),
        log(TOKEN, TRANSFER, 9, 0, data=(2_500_000,)),
        log(TOKEN, TRANSFER, 9, 8, data=(7_000_000,)),
        log(TOKEN, TRANSFER, 0, 0, data=(7_000_000,)),
        log(OTHER, TRANSFER, 0, 9, data=(7_000_000,)),
    )
    assert found.sums == {"bridge_value:span:spUSD:in": 5 * 10**18 + 10**12, "bridge_value:span:spUSD:out": 25 * 10**17}


@pytest.mark.parametrize("data", ["0x", "0x12", "nonsense", "0x" + "zz" * 32, word(2**255), word(MOST)])
def test_what_is_no_amount_moves_nothing(data: str) -> None:
    """Cut off, not hex, or more than any total can hold: such an event must not stop the others."""
    broken = (Log(0, 0, TOKEN, (topic(TRANSFER), word(0), word(9)), data), Log(0, 0, TOKEN, (topic(TRANSFER), word(0)), word(1)))
    assert moved(*broken, log(TOKEN, TRANSFER, 0, 9, data=(10**6,))).sums == {"bridge_value:span:spUSD:in": 10**18}


def test_payments_are_gross_whatever_the_release() -> None:
    """What the payer paid: told by a settlement, the sum of net, commission and fee of a one-time payment."""
    found = moved(
        log(PAY, SETTLED, 7, data=(1_000_000, 985_000, 10_000, 5_000, 123)),
        log(PAY, ONE_TIME, 8, data=(199_000_000, 0, 1_000_000)),
        log(PAY, OLD_SETTLED, 7, data=(2_000_000, 1_990_000, 10_000, 99)),
        log(PAY, OLD_ONE_TIME, 7, data=(900_000, 100_000)),
        rails=(Rail(PAY, word(7), USDC, PAYER), Rail(PAY, word(8), USDC, OTHER)),
    )
    assert found.lasting == {"payments:usd_e18": 204 * 10**18}
    assert found.sums == {"payments:settlements": 4}
    assert found.members == {"payer": {PAYER, OTHER}, "rail": {f"{PAY}/{word(7)}", f"{PAY}/{word(8)}"}}


def test_a_rail_that_nobody_told_of_is_counted_as_such() -> None:
    """Its payment is in no sum of USD, and the count of those without says so."""
    events = (log(PAY, SETTLED, 7, data=(5, 5, 0, 0, 1)), log(PAY, SETTLED, 8, data=(5,)), Log(0, 0, PAY, (topic(SETTLED),), "0x"))
    found = moved(*events, rails=(Rail(OTHER, word(7), USDC, PAYER), Rail(PAY, word(8), FIL, PAYER)))
    assert found.sums == {"payments:settlements": 3, "payments:unattributed": 2}
    assert found.lasting == {"payments:usd_e18": 0}
    assert found.members["payer"] == {PAYER}


def test_events_of_no_interest_move_nothing() -> None:
    """Without declarations nothing is looked at."""
    assert Flows().of(LogsRecord(network="n", sequence=1, height=1, parent_height=0, hash=HASH, noticed_at=0.0)).sums == {}
    record = LogsRecord(
        network="n", sequence=1, height=1, parent_height=0, hash=HASH, noticed_at=0.0, logs=(log(TOKEN, TRANSFER, 0, 9, data=(1,)),)
    )
    assert Flows().of(record) == Moved()


@given(st.lists(st.tuples(st.sampled_from((0, 8, 9)), st.sampled_from((0, 8, 9)), st.integers(0, 2**90)), max_size=30))
def test_what_came_less_what_left_is_the_rise_of_the_supply(transfers: list[tuple[int, int, int]]) -> None:
    """In whatever order, and however the events fall on tipsets."""
    balances: Counter[int] = Counter()
    for sender, receiver, amount in transfers:
        balances[sender] -= amount
        balances[receiver] += amount
    supply = sum(amount for owner, amount in balances.items() if owner != 0)
    events = [log(TOKEN, TRANSFER, *pair, data=(amount,)) for *pair, amount in transfers]
    whole = moved(*events).sums
    parts: Counter[str] = Counter()
    for event in events:
        parts.update(moved(event).sums)
    assert whole == dict(parts)
    assert whole.get("bridge_value:span:spUSD:in", 0) - whole.get("bridge_value:span:spUSD:out", 0) == supply * 10**12


ROOT = Path(__file__).parents[2]
VAULT, COIN = "0x8941c19c5765b9c59b7e0b150921a4ed95a836af", "0x990c9b8a74608bf3b4593fbae1c547486a4417d9"
DEPOSIT = "Deposit(address,address,uint256,uint256)"


def test_the_recording_recounted() -> None:
    """Real contracts as a bridge: its mints and its messages are those that a walk over the raw receipts of the chain finds."""
    recount = Recount(ROOT / "streams" / "recordings" / "devnet.jsonl.xz", lambda _: "any")
    receipts = [receipt for block in recount.chain() for receipt in recount.receipts[block["hash"]]]
    raw = [event for receipt in receipts for event in receipt["logs"]]
    minted = deposits = 0
    for event in raw:
        if event["address"].lower() == COIN and event["topics"][0] == topic(TRANSFER) and int(event["topics"][1], 16) == 0:
            minted += int(event["data"], 16)
        deposits += event["address"].lower() == VAULT and event["topics"][0] == topic(DEPOSIT)
    flows = Flows(
        Economy(
            gateways=(Gateway(bridge="vault", address=VAULT, incoming=(DEPOSIT,)),),
            bridged_tokens=(BridgedToken(bridge="vault", token="COIN", address=COIN, decimals=18),),
        )
    )

    def plain(event: dict[str, Any]) -> Log:
        return Log(0, 0, event["address"].lower(), tuple(event["topics"]), event["data"])

    logs = tuple(map(plain, raw))
    found = flows.of(LogsRecord(network="n", sequence=1, height=1, parent_height=0, hash=HASH, noticed_at=0.0, logs=logs))
    assert found.sums == {"bridge_value:vault:COIN:in": minted, "bridge_messages:vault:in": deposits}
    assert minted > 0
    assert deposits > 40
