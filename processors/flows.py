"""What events move money: messages and values of bridges, payments for storage. Pure.

`Flows` is made once of what is declared; to an event that is none of these it costs one look-up by first topic, and for
transfers one more by emitter. Amounts are integers with 18 decimals, whatever the token has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from processors.economy import BridgedToken, Economy, topic_of
from streams.evidence import TRANSFER
from streams.rails import AMOUNTS_OF_PAYMENT
from streams.records import Address, Hash, Log, LogsRecord, Rail

MOST = 2**140
"""What no amount reaches: a token that says it moved more is left out, for no total could hold it."""

_WORD = 64
_NOBODY = "0x" + "0" * _WORD
_HEX = frozenset("0123456789abcdefABCDEF")
_ADDRESS_TOPICS = 3
"""A transfer of ERC-20 has three topics; one of ERC-721 has four."""


@dataclass(slots=True)
class Moved:
    """What the events of one tipset moved.

    `sums` and `members` are fields and kinds of a contribution; `lasting` those of `sums` that are compared with the window before.
    """

    sums: dict[str, int] = field(default_factory=dict)
    lasting: dict[str, int] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    rails: dict[tuple[Address, Hash], Rail] = field(default_factory=dict)

    def add(self, name: str, value: int) -> None:
        """Add to a sum."""
        self.sums[name] = self.sums.get(name, 0) + value

    def meet(self, kind: str, member: str) -> None:
        """Note a member."""
        self.members.setdefault(kind, set()).add(member)


Watcher: TypeAlias = Callable[[Log, Moved], None]


class Flows:
    """Who looks at which event.

    Sums: `bridge_messages:{bridge}:{direction}`, `bridge_value:{bridge}:{token}:{direction}`, `payments:settlements`,
    `payments:unattributed`; lasting: `payments:usd_e18`. Members: `payer`, `rail`.
    """

    def __init__(self, economy: Economy | None = None) -> None:
        economy = economy or Economy()
        watchers: dict[Hash, dict[Address, Watcher]] = {}
        for gateway in economy.gateways:
            for direction, events in (("in", gateway.incoming), ("out", gateway.outgoing)):
                for event in events:
                    name = f"bridge_messages:{gateway.bridge}:{direction}"
                    watchers.setdefault(topic_of(event), {})[gateway.address] = partial(_message, name)
        for token in economy.bridged_tokens:
            watchers.setdefault(topic_of(TRANSFER), {})[token.address] = partial(_bridged, token)
        scales = {one.address: 10 ** (18 - one.decimals) for one in economy.payment_tokens}
        for event, places in AMOUNTS_OF_PAYMENT.items():
            for contract in economy.payment_contracts:
                watchers.setdefault(topic_of(event), {})[contract.address] = partial(_paid, scales, places)
        self._watchers: Mapping[Hash, Mapping[Address, Watcher]] = watchers

    def of(self, record: LogsRecord) -> Moved:
        """What the events of a tipset moved."""
        moved = Moved()
        watchers = self._watchers
        for log in record.logs:
            emitters = watchers.get(log.topics[0]) if log.topics else None
            if emitters is not None and (watcher := emitters.get(log.emitter)) is not None:
                if not moved.rails and record.rails:
                    moved.rails = {(rail.contract, rail.number): rail for rail in record.rails}
                watcher(log, moved)
        return moved


def _message(name: str, _: Log, moved: Moved) -> None:
    moved.add(name, 1)


def _bridged(token: BridgedToken, log: Log, moved: Moved) -> None:
    """A transfer of a bridged token: minted for what arrived, burnt for what leaves, else no business of the bridge."""
    amount = _amount(log, (0,))
    if len(log.topics) != _ADDRESS_TOPICS or not amount:
        return
    minted, burnt = (topic == _NOBODY for topic in log.topics[1:])
    scaled = amount * 10 ** (18 - token.decimals)
    if minted != burnt and scaled < MOST:
        moved.add(f"bridge_value:{token.bridge}:{token.token}:{'in' if minted else 'out'}", scaled)


def _paid(scales: Mapping[Address, int], places: tuple[int, ...], log: Log, moved: Moved) -> None:
    """A settlement or a one-time payment of Filecoin Pay, gross: what the payer paid, fees included."""
    rail = moved.rails.get((log.emitter, log.topics[1])) if len(log.topics) > 1 else None
    amount = _amount(log, places)
    moved.add("payments:settlements", 1)
    if rail is None or amount is None:
        moved.add("payments:unattributed", 1)
        return
    moved.meet("payer", rail.payer)
    moved.meet("rail", f"{rail.contract}/{rail.number}")
    scaled = amount * scales.get(rail.token, 0)
    if scaled < MOST:
        moved.lasting["payments:usd_e18"] = moved.lasting.get("payments:usd_e18", 0) + scaled


def _amount(log: Log, places: tuple[int, ...]) -> int | None:
    """The sum of the words of the data at these places, None where the data are too short or no hex."""
    words = [log.data[2 + _WORD * place : 2 + _WORD * (place + 1)] for place in places]
    if any(len(word) != _WORD or not _HEX.issuperset(word) for word in words):
        return None
    return sum(int(word, 16) for word in words)
