"""A quorum for receipts: a tipset waits until enough nodes have told the same of it.

Whoever does not answer, or answers otherwise, does not vouch. Where too few do, the tipset carries a complaint, and is asked for
again or published as incomplete like any other that lacks something.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from streams.enrich import Assembled
from streams.records import Hash
from streams.witnesses import digest


@dataclass(slots=True)
class _Held:
    assembled: Assembled
    digest: bytes
    asked: set[str]
    agreeing: int = 1
    """The leader is one of them."""


class Quorum:
    """The tipsets that wait for others to vouch for them.

    Args:
        needed: how many nodes must tell the same receipts, the leader included.
    """

    def __init__(self, needed: int) -> None:
        self._needed = needed
        self._held: dict[Hash, _Held] = {}

    def hold(self, assembled: Assembled, others: Iterable[str]) -> list[str]:
        """Keep a tipset back; whom to ask to vouch for it."""
        asked = list(others) if self._needed > 1 else []
        own = digest(assembled.receipts.values()) if asked else b""
        self._held[assembled.link.hash] = _Held(assembled, own, set(asked))
        return asked

    def __contains__(self, block: Hash) -> bool:
        """Whether this tipset waits for others."""
        return block in self._held

    def vouched(self, name: str, block: Hash, said: bytes | None) -> None:
        """A node told the digest of a tipset's receipts, None if it would not."""
        held = self._held.get(block)
        if held is not None and name in held.asked:
            held.asked.discard(name)
            held.agreeing += said == held.digest

    def gone(self, name: str) -> None:
        """This node will not answer any more."""
        for held in self._held.values():
            held.asked.discard(name)

    def settled(self) -> Iterator[Assembled]:
        """The tipsets that have their quorum, and those that can not get it any more, with a complaint."""
        for block, held in list(self._held.items()):
            enough = held.agreeing >= self._needed
            if enough or not held.asked:
                del self._held[block]
                yield held.assembled if enough else replace(held.assembled, complaint=held.assembled.complaint or self._lack(held))

    def _lack(self, held: _Held) -> str:
        return f"{held.agreeing} of {self._needed} nodes tell these receipts"
