from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from processors.flows import Flows
from processors.folds import BURNT_FUNDS, Contribution, fold_logs, fold_tipset
from processors.gas import burn
from streams.records import Contract, Creation, InnerBurn, Log, LogsRecord, Message, TipsetRecord

ALICE, BOB = "0x" + "a1" * 20, "0x" + "b0" * 20
POOL, TOKEN, CHILD, PERSON = "0x" + "01" * 20, "0x" + "02" * 20, "0x" + "03" * 20, "0x" + "04" * 20
ADDRESS_MANAGER = "0xff" + "00" * 18 + "0a"
HASH = "0x" + "00" * 32
BASE_FEE = 100


@dataclass(frozen=True)
class Verdict:
    """A class, maybe a project."""

    contract_class: str
    project: str | None = None


@dataclass(frozen=True)
class Table:
    """A classifier that looks up what the test says."""

    verdicts: Mapping[str, Verdict] = field(
        default_factory=lambda: {POOL: Verdict("dex", "swap"), TOKEN: Verdict("token"), CHILD: Verdict("dex", "other")}
    )

    flows: Flows = field(default_factory=Flows)

    def classify(self, contract: Contract) -> Verdict:
        """As the table has it."""
        return self.verdicts[contract.address]


def message(
    sender: str,
    receiver: str | None,
    gas_used: int = 1000,
    *,
    creates: bool = False,
    created: str | None = None,
    ok: bool = True,
    value: int = 0,
) -> Message:
    """A message of 2,000 gas at most, which pays whatever the base fee is."""
    return Message(HASH, sender, receiver, creates, created, ok, gas_used, 2000, 10**9, 1, value, "")


def tipset(*messages: Message, rise: int | None = None, incomplete: bool = False) -> TipsetRecord:
    """A tipset with evidence of the pool, the token and the child."""
    contracts = tuple(Contract(address=address, code_hash=HASH) for address in (POOL, TOKEN, CHILD))
    return TipsetRecord(
        network="testnet",
        sequence=1,
        height=10,
        parent_height=9,
        hash=HASH,
        parent_hash=HASH,
        timestamp_seconds=300,
        noticed_at=300.0,
        base_fee_attofil=BASE_FEE,
        messages=messages,
        contracts=contracts,
        burnt_rise_attofil=rise,
        incomplete=incomplete,
    )


def fold(*messages: Message, rise: int | None = None) -> Contribution:
    """What a tipset of these messages adds."""
    return fold_tipset(tipset(*messages, rise=rise), Table())


BURN = 1000 * BASE_FEE + 900 * BASE_FEE
"""Of one message: 1,000 gas used of 2,000; 900 of the rest are burnt."""


def test_an_empty_tipset_adds_nothing() -> None:
    """No field is 0, no kind is empty."""
    assert fold() == Contribution()


def test_calls_count_under_the_class_of_their_receiver() -> None:
    """Failed ones too; transfers to accounts count among all messages only."""
    folded = fold(message(ALICE, POOL), message(ALICE, POOL, ok=False), message(BOB, TOKEN), message(BOB, PERSON))
    assert folded.sums == {
        "messages:dex": 2,
        "failed:dex": 1,
        "gas:dex": 2000,
        "burn:dex": 2 * BURN,
        "project_gas:swap": 2000,
        "messages:token": 1,
        "gas:token": 1000,
        "burn:token": BURN,
        "all_messages": 4,
        "all_gas": 4000,
        "all_base_fee_burn": 4 * 1000 * BASE_FEE,
        "all_over_estimation_burn": 4 * 900 * BASE_FEE,
    }
    assert folded.members == {
        "sender": {ALICE, BOB},
        "sender:dex": {ALICE},
        "sender:token": {BOB},
        "contract": {POOL, TOKEN},
    }
    assert folded.lasting_sums == {}
    assert folded.lasting_members == {"project": {"swap"}}


def test_a_creation_counts_under_what_it_created() -> None:
    """By a null receiver or by the address manager; what was created is a contract that was touched, and a project's."""
    for receiver in (None, ADDRESS_MANAGER):
        folded = fold(message(ALICE, receiver, creates=True, created=CHILD))
        assert {
            name: {**folded.sums, **folded.lasting_sums}.get(name) for name in ("messages:dex", "deployments:direct", "project_gas:other")
        } == {
            "messages:dex": 1,
            "deployments:direct": 1,
            "project_gas:other": 1000,
        }
        assert folded.members == {"sender": {ALICE}, "sender:dex": {ALICE}, "contract": {CHILD}}


def test_a_creation_without_evidence_is_unknown() -> None:
    """A failed one creates nothing; one whose code is not known was a deployment all the same."""
    failed = fold(message(ALICE, None, creates=True, ok=False))
    assert (failed.sums["messages:unknown"], failed.sums["failed:unknown"]) == (1, 1)
    assert "deployments:direct" not in failed.lasting_sums
    assert failed.members == {"sender": {ALICE}, "sender:unknown": {ALICE}}
    strange = fold(message(ALICE, None, creates=True, created=PERSON))
    assert (strange.sums["messages:unknown"], strange.lasting_sums["deployments:direct"]) == (1, 1)
    assert strange.members["contract"] == {PERSON}


def test_a_message_that_never_ran_burns_nothing() -> None:
    """It counts as a message, of no gas."""
    folded = fold(message(ALICE, POOL, 0, ok=False))
    assert folded.sums == {"messages:dex": 1, "failed:dex": 1, "all_messages": 1}


def test_the_rise_of_f099_is_reconciled() -> None:
    """It is the gas burn and what successful messages sent there; the rest is unreconciled, whatever its sign."""
    messages = (message(ALICE, POOL), message(BOB, BURNT_FUNDS, value=7), message(BOB, BURNT_FUNDS, value=5, ok=False))
    for rest in (0, 3, -3):
        sums = fold(*messages, rise=3 * BURN + 7 + rest).sums
        assert {name: value for name, value in sums.items() if name.startswith(("f099", "unrec"))} == {
            "f099_rise": 3 * BURN + 7 + rest,
            "f099_known": 1,
            "f099_gas_burn": 3 * BURN,
            "f099_fevm_burn": BURN,
            "f099_sent": 7,
        } | ({"unreconciled": 3} if rest else {})


def test_where_the_rise_is_not_known_nothing_is_compared() -> None:
    """No field of f099 at all."""
    assert not any(name.startswith(("f099", "unrec")) for name in fold(message(BOB, BURNT_FUNDS, value=7)).sums)


def test_a_known_rise_of_nothing_is_known() -> None:
    """0 is a value."""
    assert fold(rise=0).sums == {"f099_known": 1}


def test_incomplete_receipts_are_counted() -> None:
    """The record says so, the sum repeats it."""
    assert fold_tipset(tipset(incomplete=True), Table()).sums == {"incomplete": 1}


def test_events_count_under_the_class_of_their_emitter() -> None:
    """An emitter without evidence is unknown."""
    emitters = (POOL, TOKEN, POOL, PERSON)
    record = LogsRecord(
        network="testnet",
        sequence=1,
        height=10,
        parent_height=9,
        hash=HASH,
        noticed_at=300.0,
        logs=tuple(Log(index, 0, emitter, (), "0x") for index, emitter in enumerate(emitters)),
        contracts=tuple(Contract(address=address, code_hash=HASH) for address in (POOL, TOKEN)),
    )
    assert fold_logs(record, Table()) == Contribution({"events:dex": 2, "events:token": 1, "events:unknown": 1})


messages = st.lists(
    st.builds(
        message,
        st.sampled_from((ALICE, BOB, PERSON)),
        st.sampled_from((POOL, TOKEN, PERSON, None, BURNT_FUNDS)),
        st.integers(0, 2000),
        creates=st.booleans(),
        created=st.sampled_from((CHILD, PERSON, None)),
        ok=st.booleans(),
        value=st.integers(0, 10**27),
    ),
    max_size=30,
)


@given(messages)
def test_the_classes_add_up(messages: Sequence[Message]) -> None:
    """The sum over the classes is all FEVM messages, and each field is what a plain count finds."""
    sums = fold(*messages).sums
    fevm = [one for one in messages if one.creates or one.receiver in {POOL, TOKEN}]

    def total(name: str) -> int:
        return sum(value for field_, value in sums.items() if field_.startswith(name + ":"))

    assert total("messages") == len(fevm)
    assert total("failed") == sum(not one.succeeded for one in fevm)
    assert total("gas") == sum(one.gas_used for one in fevm)
    assert total("burn") == sum(sum(burn(one.gas_used, one.gas_limit, BASE_FEE, one.gas_fee_cap)) for one in fevm)
    assert sums.get("all_gas", 0) == sum(one.gas_used for one in messages)


def test_traces_add_deployments_and_burns() -> None:
    """What was made inside is counted beside what messages made; what calls sent to f099 reconciles, and is FEVM's where its message is."""
    record = structs.replace(
        tipset(message(ALICE, POOL), message(BOB, PERSON), rise=2 * BURN + 12),
        creations=(Creation(CHILD, POOL, HASH, 0, True), Creation(TOKEN, POOL, HASH, 0, True)),
        inner_burns=(InnerBurn(0, 5), InnerBurn(1, 7)),
        traced=True,
    )
    folded = fold_tipset(record, Table())
    assert {name: folded.sums.get(name) for name in ("traced", "f099_sent", "f099_fevm_sent", "unreconciled")} == {
        "traced": 1,
        "f099_sent": 12,
        "f099_fevm_sent": 5,
        "unreconciled": None,
    }
    assert folded.lasting_sums == {"deployments:internal": 2}
    assert folded.lasting_members == {"project": {"swap"}, "deployed_code": {HASH}, "deployer": {ALICE}}


def test_gas_of_unknown_contracts_is_ranked() -> None:
    """By contract; those of a known class, and creations that made nothing, are not."""
    table = Table({POOL: Verdict("unknown"), TOKEN: Verdict("token"), CHILD: Verdict("unknown")})
    messages = (message(ALICE, POOL), message(BOB, POOL, 500), message(BOB, TOKEN), message(BOB, None, creates=True, ok=False))
    assert fold_tipset(tipset(*messages), table).ranked == {POOL: 1500}
