"""Between contributions and what the script of the store counts with: names, small integers, groups of members. Pure.

The script counts in doubles, exact up to 2^53, and in sets of members; so an amount of any size is cut into limbs of
`LIMB`, each a counter of its own that is never carried, and the limbs meet again when they are read. Members are grouped by
the kinds that they are of, so that each is stored once however many kinds count it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from processors.folds import Contribution
from processors.readings import StreamReading, WindowReading
from streams.errors import RecordFault
from streams.records import LogsRecord, TipsetRecord

LIMB = 2**32
"""Small enough that a double holds the sum over the longest window (1,152,000 heights) exactly; MessagePack takes 5 bytes."""

MOST_LIMBS = 5
MOST_RANKED = 2**40
"""Below this, the sum over a day of heights is exact in a double."""

_HEIGHTS = ("processed", "null")

Part = list[Any]
"""`[names, values, [kinds, members, kinds, members, …]]`, then the facts of a tipset, and `[member, value, …]` that are ranked."""


class Config(msgspec.Struct, array_like=True, frozen=True):
    """What every process of a network must agree on. It lives in Redis; the script reads it too."""

    schema: int
    survive_reorg_epochs: int
    windows: tuple[tuple[str, int], ...]

    @property
    def longest(self) -> int:
        """The longest window, in epochs."""
        return max((epochs for _, epochs in self.windows), default=0)


class _Range(NamedTuple):
    """What is accounted for of a range: totals, counts of members by kind, the lower edge, and new deployers (below 0: not known)."""

    totals: dict[str, int]
    counts: dict[bytes, int]
    low: int
    new: int


def limbs(field: str, value: int) -> dict[str, int]:
    """`value` as counters, each named by its place and `field`; all have the sign of `value`, zeros are left out.

    Raises:
        RecordFault: no amount on any chain is that large.
    """
    if abs(value) >= LIMB**MOST_LIMBS:
        raise RecordFault(f"{field} is beyond {MOST_LIMBS} limbs of {LIMB}: no amount is that large")
    sign = 1 if value > 0 else -1
    cut = ((place, abs(value) // LIMB**place % LIMB) for place in range(MOST_LIMBS))
    return {f"{place}{field}": sign * limb for place, limb in cut if limb}


def joined(counters: Mapping[str, int]) -> dict[str, int]:
    """The values by field that `limbs` had cut; zeros are left out."""
    sums: dict[str, int] = {}
    for name, count in counters.items():
        place, field = int(name[0]), name[1:]
        sums[field] = sums.get(field, 0) + count * LIMB**place
    return {field: value for field, value in sums.items() if value}


def _raw(data: bytes) -> msgspec.Raw:
    """Bytes as MessagePack text, which they are not: the script's decoder is older than the type for bytes."""
    return msgspec.Raw(b"\xd9" + bytes([len(data)]) + data)


def member(text: str) -> msgspec.Raw | str:
    """A member as it is stored: the 20 bytes of an address; anything else as text that is never 20 bytes long."""
    if len(text) == 42 and text.startswith("0x"):
        try:
            return _raw(bytes.fromhex(text[2:]))
        except ValueError:
            pass
    return text.ljust(21, "\0")


def part(sums: Mapping[str, int], members: Mapping[str, frozenset[str]]) -> Part:
    """One half of a contribution, the short or the lasting one.

    Raises:
        RecordFault: a sum is beyond reason.
    """
    counters: dict[str, int] = {}
    for field, value in sums.items():
        if 0 < value < LIMB:
            counters["0" + field] = value
        else:
            counters |= limbs(field, value)
    kinds_of: dict[str, tuple[str, ...]] = {}
    for kind, of_kind in members.items():
        for text in of_kind:
            kinds_of[text] = (*kinds_of.get(text, ()), kind)
    groups: dict[tuple[str, ...], list[msgspec.Raw | str]] = {}
    for text, kinds in kinds_of.items():
        groups.setdefault(kinds, []).append(member(text))
    return [list(counters), list(counters.values()), [item for pair in groups.items() for item in pair]]


def parts(record: TipsetRecord | LogsRecord, contribution: Contribution) -> tuple[Part, Part]:
    """The short half with the facts of the tipset, and the lasting half.

    Raises:
        RecordFault: a sum is beyond reason, or the hash is no hash.
    """
    short = part(contribution.sums, contribution.members)
    try:
        short.append(_raw(bytes.fromhex(record.hash.removeprefix("0x"))))
    except ValueError as error:
        raise RecordFault(f"{record.hash!r} is not a hash") from error
    if isinstance(record, TipsetRecord):
        short += [record.timestamp_seconds, str(record.base_fee_attofil)]
        if contribution.ranked:
            short.append(_ranked(contribution.ranked))
    return short, part(contribution.lasting_sums, contribution.lasting_members)


def _ranked(values: Mapping[str, int]) -> list[msgspec.Raw | str | int]:
    if any(not 0 < value < MOST_RANKED for value in values.values()):
        raise RecordFault(f"a ranked value is not from 1 to {MOST_RANKED - 1}: no tipset uses that much gas")
    return [one for address, value in values.items() for one in (member(address), value)]


def _pairs(flat: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def facts(head: Sequence[bytes]) -> dict[str, str]:
    """The facts of a stream's newest tipset, as the script answers with them."""
    found: dict[str, bytes] = {name.decode(): value for name, value in _pairs(head).items()}
    return {name: "0x" + value.hex() if name == "hash" else value.decode() for name, value in found.items()}


def reading(config: Config, answer: Sequence[Any]) -> StreamReading:
    """What the script's `read` answered: head, lowest height, facts, field numbers, and per range its totals, counts, lower edge, news."""
    head, lowest, _, fields, ranges = answer
    if head < 0:
        return StreamReading(windows={name: WindowReading(name, epochs) for name, epochs in config.windows})
    names = {int(number): name.decode() for name, number in _pairs(fields).items()}
    by_range = {name.decode(): _Range(_counters(names, totals), _pairs(counts), low, new) for name, totals, counts, low, _, new in ranges}
    ledger, _, floor, _ = by_range["ledger"]
    below = max(lowest - 1, floor)
    processed, null = ledger["processed"], ledger["null"]
    ranked, top = next((name, top) for name, _, _, _, top, _ in ranges if name.startswith(b"ranked-"))
    return StreamReading(
        head=head,
        processed=processed,
        null=null,
        missing=max(0, head - below - processed - null),
        windows={name: _window(name, epochs, by_range) for name, epochs in config.windows},
        since=below + 1,
        sums=_sums(ledger),
        ranked=tuple(("0x" + member.hex(), int(value)) for member, value in _pairs(top).items()),
        ranked_epochs=int(ranked.removeprefix(b"ranked-")),
    )


def _sums(totals: Mapping[str, int]) -> dict[str, int]:
    """The totals of a range without the numbers of its heights."""
    return joined({field: value for field, value in totals.items() if field not in _HEIGHTS})


def _counters(names: Mapping[int, str], flat: Sequence[bytes]) -> dict[str, int]:
    totals = {"processed": 0, "null": 0}
    for field, value in _pairs(flat).items():
        totals[names[int(field)] if field.isdigit() else field.decode()] = int(value)
    return totals


def _window(name: str, epochs: int, by_range: Mapping[str, _Range]) -> WindowReading:
    totals, distinct, _, new = by_range[f"window-{epochs}"]
    before, distinct_before, _, _ = by_range[f"before-{epochs}"]
    return WindowReading(
        name=name,
        epochs=epochs,
        sums=_sums(totals),
        distinct={kind.decode(): count for kind, count in distinct.items() if count},
        processed=totals["processed"],
        null=totals["null"],
        prior_sums=_sums(before),
        prior_distinct={kind.decode(): count for kind, count in distinct_before.items() if count},
        prior_processed=before["processed"],
        prior_null=before["null"],
        new_deployers=new if new >= 0 else None,
    )
