"""Folds: what one record adds to the totals. Pure; each looks at every message or event once.

The names of the sums and of the kinds of members are listed at the two folds; `{c}` is a class of contracts.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from processors.deployments import deployed, sent_inside
from processors.flows import Flows
from processors.gas import burn
from streams.records import Address, Contract, LogsRecord, TipsetRecord

BURNT_FUNDS: Address = "0xff00000000000000000000000000000000000063"
"""f099, the actor whose balance is what was ever burnt."""

UNKNOWN = "unknown"

_Value = TypeVar("_Value", int, frozenset[str])


class Verdict(Protocol):
    """What a contract is taken for."""

    @property
    def contract_class(self) -> str:
        """One of the catalogue's classes."""
        ...

    @property
    def project(self) -> str | None:
        """The project that the contract belongs to, None if it is not known."""
        ...


class Classifier(Protocol):
    """Whoever can tell the class of a contract from its evidence."""

    def classify(self, contract: Contract) -> Verdict:
        """The class and the project of `contract`."""
        ...

    @property
    def flows(self) -> Flows:
        """Which events move money."""
        ...


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one height adds to every window that it is in.

    Attributes:
        sums: field to integer, of any size and sign.
        members: kind to distinct members.
        lasting_sums: as `sums`, kept for twice the longest window: for comparison with the window before.
        lasting_members: as `members`, kept as long.
        ranked: as `sums`, by address: the largest over a day are kept in order. Positive and below 2^53 over any window.
    """

    sums: Mapping[str, int] = field(default_factory=dict)
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    lasting_sums: Mapping[str, int] = field(default_factory=dict)
    lasting_members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    ranked: Mapping[Address, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Tally:
    """The messages of one tipset that went to one contract, or to contracts of one class."""

    contract_class: str = UNKNOWN
    project: str | None = None
    messages: int = 0
    failed: int = 0
    gas: int = 0
    burn: int = 0
    senders: set[Address] = field(default_factory=set)

    def add(self, other: "_Tally") -> None:
        self.messages += other.messages
        self.failed += other.failed
        self.gas += other.gas
        self.burn += other.burn
        self.senders |= other.senders


_NONE = _Tally()


@dataclass(slots=True)
class _Totals:
    """The messages of one tipset, FEVM or not."""

    gas: int = 0
    base_fee_burn: int = 0
    over_estimation_burn: int = 0
    sent_to_burnt_funds: int = 0


def fold_tipset(record: TipsetRecord, classifier: Classifier) -> Contribution:
    """The contribution of a tipset to stream `tipsets`; amounts in attoFIL, gas in units.

    Sums: `messages:{c}`, `failed:{c}`, `gas:{c}`, `burn:{c}` of FEVM messages; `all_messages`, `all_gas`, `all_base_fee_burn`,
    `all_over_estimation_burn` of all messages; `project_gas:{project}`; `incomplete`; `traced`. Where the rise of f099 is known:
    `f099_rise`, `f099_known` (1), `f099_gas_burn`, `f099_fevm_burn`, `f099_sent` (by messages and by calls inside of them),
    `f099_fevm_sent` (by calls inside of FEVM messages), `unreconciled`. Lasting: `deployments:direct`, `deployments:internal`.
    No field is 0. Members: `sender`, `sender:{c}`, `contract`; lasting: `project`, `deployed_code`, `deployer`.
    Ranked: gas of FEVM messages by the contract of class `unknown` that they went to.

    A FEVM message has a receiver with evidence in the record, or creates a contract; its class is the receiver's, for a
    creation that of the contract created, `unknown` where there is none.
    """
    by_contract = {contract.address: _tally(classifier.classify(contract)) for contract in record.contracts}
    touched: set[Address] = set()
    stray = _Tally()
    totals = _count(record, by_contract, stray, touched)
    by_class: dict[str, _Tally] = {}
    by_project: dict[str, int] = {}
    for tally in (*by_contract.values(), stray):
        if tally.messages:
            by_class.setdefault(tally.contract_class, _Tally()).add(tally)
            if tally.project is not None:
                by_project[tally.project] = by_project.get(tally.project, 0) + tally.gas
    sums = _sums_by_class(by_class) | {f"project_gas:{project}": gas for project, gas in by_project.items()}
    sums |= _sums_of_all(record, totals, sum(tally.burn for tally in by_class.values()), by_contract)
    members = {f"sender:{name}": frozenset(tally.senders) for name, tally in by_class.items()}
    members["sender"] = frozenset().union(*members.values())
    members["contract"] = frozenset(touched)
    made = deployed(record)
    lasting = {"deployments:direct": made.direct, "deployments:internal": made.internal}
    lasting_members = {"project": frozenset(by_project), "deployed_code": made.codes, "deployer": made.deployers}
    unknown = {address: tally.gas for address, tally in by_contract.items() if tally.gas and tally.contract_class == UNKNOWN}
    return Contribution(_known(sums), _known(members), _known(lasting), _known(lasting_members), unknown)


def fold_logs(record: LogsRecord, classifier: Classifier) -> Contribution:
    """The contribution of a tipset's events to stream `logs`: `events:{c}` by the class of the emitter, and what `flows` says moved."""
    classes = {contract.address: classifier.classify(contract).contract_class for contract in record.contracts}
    moved = classifier.flows.of(record)
    sums = moved.sums
    for log in record.logs:
        name = f"events:{classes.get(log.emitter, UNKNOWN)}"
        sums[name] = sums.get(name, 0) + 1
    members = {kind: frozenset(of_kind) for kind, of_kind in moved.members.items()}
    return Contribution(_known(sums), members, _known(moved.lasting))


def _tally(verdict: Verdict) -> _Tally:
    return _Tally(verdict.contract_class, verdict.project)


def _count(record: TipsetRecord, by_contract: dict[Address, _Tally], stray: _Tally, touched: set[Address]) -> _Totals:
    """Adds each FEVM message to its contract's tally, or to `stray` where there is none; answers with the totals of all.

    `touched` takes the contracts. This loop is what a worker's processor is busy with.
    """
    base_fee = record.base_fee_attofil
    gas = base_fee_burn = over_estimation_burn = sent = 0
    for message in record.messages:
        used, address = message.gas_used, message.receiver
        of_base_fee, of_over_estimation = burn(used, message.gas_limit, base_fee, message.gas_fee_cap)
        gas += used
        base_fee_burn += of_base_fee
        over_estimation_burn += of_over_estimation
        if address == BURNT_FUNDS and message.succeeded:
            sent += message.value_attofil
        if message.creates:
            address = message.created
            tally = by_contract.get(address or "", stray)
        elif (tally := by_contract.get(address or "", _NONE)) is _NONE:
            continue
        if address is not None:
            touched.add(address)
        tally.messages += 1
        tally.failed += not message.succeeded
        tally.gas += used
        tally.burn += of_base_fee + of_over_estimation
        tally.senders.add(message.sender)
    return _Totals(gas, base_fee_burn, over_estimation_burn, sent)


def _sums_by_class(by_class: Mapping[str, _Tally]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, tally in by_class.items():
        sums[f"messages:{name}"] = tally.messages
        sums[f"failed:{name}"] = tally.failed
        sums[f"gas:{name}"] = tally.gas
        sums[f"burn:{name}"] = tally.burn
    return sums


def _sums_of_all(record: TipsetRecord, totals: _Totals, fevm_burn: int, contracts: Container[Address]) -> dict[str, int]:
    gas_burn = totals.base_fee_burn + totals.over_estimation_burn
    sums = {
        "all_messages": len(record.messages),
        "all_gas": totals.gas,
        "all_base_fee_burn": totals.base_fee_burn,
        "all_over_estimation_burn": totals.over_estimation_burn,
        "incomplete": int(record.incomplete),
        "traced": int(record.traced),
    }
    if (rise := record.burnt_rise_attofil) is not None:
        sums["f099_rise"] = rise
        sums["f099_known"] = 1
        sums["f099_gas_burn"] = gas_burn
        sums["f099_fevm_burn"] = fevm_burn
        inside, inside_fevm = sent_inside(record, contracts)
        sums["f099_sent"] = totals.sent_to_burnt_funds + inside
        sums["f099_fevm_sent"] = inside_fevm
        sums["unreconciled"] = abs(rise - gas_burn - sums["f099_sent"])
    return sums


def _known(values: Mapping[str, _Value]) -> dict[str, _Value]:
    """`values` without zeros and empty sets: a field that is not there is 0."""
    return {name: value for name, value in values.items() if value}
