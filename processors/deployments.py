"""What a tipset's traces and creations add to the totals: deployments, deployers, FIL that calls sent to f099. Pure."""

from collections.abc import Container
from dataclasses import dataclass, field

from streams.records import Address, Creation, Message, TipsetRecord


@dataclass(frozen=True, slots=True)
class Deployed:
    """The contracts that a tipset made: how many by messages and by contracts, their distinct codes, and who sent the messages."""

    direct: int = 0
    internal: int = 0
    codes: frozenset[str] = field(default_factory=frozenset)
    deployers: frozenset[Address] = field(default_factory=frozenset)


def deployed(record: TipsetRecord) -> Deployed:
    """What this tipset made. A record that says nothing of creations is of an older release: there it is what messages made.

    The deployer of a contract that a contract made is who sent the message.
    """
    creations = _by_messages(record.messages) if record.creations is None else record.creations
    if not creations:
        return _NOTHING
    return Deployed(
        direct=sum(not one.internal for one in creations),
        internal=sum(one.internal for one in creations),
        codes=frozenset(one.code_hash for one in creations if one.code_hash is not None),
        deployers=frozenset(record.messages[one.message].sender for one in creations if one.message < len(record.messages)),
    )


def sent_inside(record: TipsetRecord, contracts: Container[Address]) -> tuple[int, int]:
    """AttoFIL that calls inside of messages sent to f099: in all, and in FEVM messages; `contracts` are the receivers with code."""
    total = fevm = 0
    for burn in record.inner_burns:
        total += burn.value_attofil
        message = record.messages[burn.message] if burn.message < len(record.messages) else None
        if message is not None and (message.creates or message.receiver in contracts):
            fevm += burn.value_attofil
    return total, fevm


def _by_messages(messages: tuple[Message, ...]) -> tuple[Creation, ...]:
    made = ((place, one) for place, one in enumerate(messages) if one.creates and one.created is not None)
    return tuple(Creation(one.created or "", one.sender, None, place, False) for place, one in made)


_NOTHING = Deployed()
