"""The live endpoints besides the leader, put to use: they compare, vouch, answer where the leader is slow, and are read again."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeAlias

from streams.endpoints import Endpoint, Endpoints
from streams.enrich import Assembled, assemble
from streams.errors import NodeFault
from streams.events import Event, Policy, WitnessSays
from streams.greeting import latest_link
from streams.history import Past
from streams.memory import Memory
from streams.pursuit import Pursuit
from streams.questions import Question
from streams.quorum import Quorum
from streams.rereads import KIND, Found, Rereads
from streams.tasks import Key, Tasks
from streams.witnesses import Compared, Seen, Vouched, Witnesses, compare, digest, vouch

KINDS = frozenset(("compare", "vouch", "hedge", KIND))
"""Keys of the questions beside the plan: one of these that fails says nothing about it."""

Asked: TypeAlias = Iterable[tuple[Endpoint, Question]]


class Others:
    """What is asked of the other endpoints, and what comes of it."""

    def __init__(self, endpoints: Endpoints, policy: Policy) -> None:
        self._endpoints = endpoints
        self._hedge_after_seconds = policy.hedge_after_seconds
        self._compares = policy.witnesses > 0 and len(endpoints.all) > 1
        self._witnesses = Witnesses(policy.compare_depth_epochs)
        self._quorum = Quorum(policy.receipts_quorum)
        self.rereads = Rereads(policy)

    @property
    def first(self) -> Endpoint | None:
        """The preferred one of them."""
        return next(iter(self._endpoints.others()), None)

    def hold(self, assembled: Assembled) -> list[tuple[Endpoint, Question]]:
        """Keep a tipset until it is `settled`; what to ask about it of those that may know it."""
        link = assembled.link
        higher = {one.name: one for one in self._endpoints.others() if one.target and one.target.head_height > link.height}
        asked = self._quorum.hold(assembled, higher)
        return [(higher[name], (("vouch", link.hash), partial(vouch, link.hash))) for name in asked]

    def not_held(self, questions: Iterable[Question]) -> Iterator[Question]:
        """Those of the questions for tipsets that no answer waits for others of."""
        return (one for one in questions if str(one[0][1]) not in self._quorum)

    def settled(self) -> Iterator[Assembled]:
        """The tipsets that need not wait for anybody any more."""
        return self._quorum.settled()

    def said(self, name: str, result: Compared | Vouched | Found) -> list[Event]:
        """An endpoint answered."""
        match result:
            case Found():
                leads = self._endpoints.leader is not None and self._endpoints.leader.name == name
                self.rereads.answered(name, result, leads=leads)
                return []
            case Vouched():
                self._quorum.vouched(name, result.block, result.digest)
                return []
            case Compared():
                return [WitnessSays(name, result.seen.height, result.verdict)]

    def failed(self, name: str, key: Key, fault: NodeFault) -> bool:
        """An endpoint did not answer a question of ours; whether it waits before the same is asked again.

        Not so where it is to vouch: the tipset that is held for it has to be asked about at once.
        """
        kind, block = key
        if kind == "vouch":
            self._quorum.vouched(name, str(block), None)
        elif kind == KIND:
            self.rereads.failed(name, str(block), fault)
        return kind != "vouch"

    def gone(self, name: str) -> None:
        """An endpoint is lost."""
        self._quorum.gone(name)

    def published(self, assembled: Assembled, parent_height: int | None) -> None:
        """A tipset was published."""
        self.filled_in(Past(assembled, parent_height))
        if self._compares:
            link = assembled.link
            names = [one.name for one in self._endpoints.others()]
            self._witnesses.published(Seen(link.height, link.hash, digest(assembled.receipts.values())), names)

    def filled_in(self, past: Past) -> None:
        """A tipset was published that may lie below others."""
        leader = self._endpoints.leader
        self.rereads.published(past.assembled, past.parent_height, leader.name if leader is not None else "")

    def rewound(self, height: int) -> None:
        """Everything above `height` is undone."""
        self._witnesses.rewound(height)
        self.rereads.rewound(height)

    def questions(
        self, leader: Endpoint, pursuit: Pursuit, memory: Memory, tasks: Tasks, now: float
    ) -> Iterator[tuple[Endpoint, Question]]:
        """What to compare now, and the tipset that holds up the path where the leader has been too slow about it."""
        others = {one.name: one for one in self._endpoints.others()}
        for name, seen in self._witnesses.next({name: one.target.head_height for name, one in others.items() if one.target}):
            yield others[name], (("compare", seen.hash), partial(compare, seen))
        other = self.first
        if other is None or not pursuit.path:
            return
        link, *above = islice(pursuit.path, 2)
        if tasks.waiting_seconds(leader.name, ("tipset", link.hash), now) >= self._hedge_after_seconds:
            child = above[0] if above else leader.head
            yield other, (("hedge", link.hash), partial(assemble, link, child, memory, native=other.native))

    def second_reads(self, leader: Endpoint, pursuit: Pursuit, memory: Memory) -> Iterator[tuple[Endpoint, Question]]:
        """What is to be read again, while nothing is to be got that is new."""
        if self.rereads.astray:
            self.rereads.astray = False
            yield leader, (("latest", 0), latest_link)
        if pursuit.settled:
            yield from self.rereads.questions(leader, self._endpoints.others(), memory)
