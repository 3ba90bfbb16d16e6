"""What to ask of the leader to get along the pursuit's plan: links while there is a gap, then the tipsets of the path.

A question is a key, by which its answer is known again, and a fetch that is made only if it is asked.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

from streams.chain import Gap
from streams.endpoints import Endpoint, Target
from streams.enrich import Assembled, assemble
from streams.events import Policy
from streams.greeting import fetch_link, fetch_link_at
from streams.memory import Memory
from streams.pursuit import Pursuit
from streams.records import Hash
from streams.retries import Retries
from streams.tasks import Fetch, Key

Question: TypeAlias = tuple[Key, Callable[[], Fetch[Any]]]


class Questions:
    """The questions about the chain, and the tipsets that are answered and wait for their turn.

    Attributes:
        retries: what failed, and when it may be asked again.
    """

    def __init__(self, policy: Policy) -> None:
        self.retries = Retries(policy.incomplete_retries, policy.incomplete_delay_seconds)
        self._ahead = policy.concurrency
        self._traces = policy.traces
        self._assembled: dict[Hash, Assembled] = {}
        self._prefetched: set[int] = set()

    def __contains__(self, block: Hash) -> bool:
        """Whether everything about this tipset is there."""
        return block in self._assembled

    def take(self, block: Hash) -> Assembled:
        """Everything about this tipset; it is not kept any longer."""
        return self._assembled.pop(block)

    def links(self, leader: Endpoint, target: Target, gap: Gap, heights: Sequence[int]) -> list[Question]:
        """The link that is missing, and those at `heights` below it that were not asked for yet."""
        questions: list[Question] = [(("link", gap.wanted), partial(fetch_link, gap.wanted, gap.key if leader.native else ()))]
        key = target.child if leader.native else ()
        for height in heights if leader.counts_heights else ():
            if height not in self._prefetched:
                self._prefetched.add(height)
                questions.append((("at", height), partial(fetch_link_at, height, key)))
        return questions

    def tipsets(self, leader: Endpoint, pursuit: Pursuit, memory: Memory) -> list[Question]:
        """The next tipsets of the path, with what is known to be on top of each."""
        self._prefetched.clear()
        path = list(islice(pursuit.path, self._ahead + 1))
        above = (*path[1:], leader.head if len(path) <= self._ahead else None)
        tracing = leader.tracing if self._traces else None
        return [
            (("tipset", link.hash), partial(assemble, link, child, memory, native=leader.native, tracing=tracing))
            for link, child in list(zip(path, above, strict=True))[: self._ahead]
            if link.hash not in self._assembled
        ]

    def accept(self, key: Key, assembled: Assembled, now: float) -> None:
        """An answer about a tipset; one that lacks something is asked for again for a while."""
        if assembled.complaint is None or not self.retries.complained(key, now):
            self.retries.settled(key)
            self._assembled[assembled.link.hash] = assembled

    def forget(self, pursuit: Pursuit) -> None:
        """Drop what no plan needs any more."""
        wanted = {link.hash for link in pursuit.path}
        self._assembled = {block: one for block, one in self._assembled.items() if block in wanted}
        self.retries.keep(lambda key: key[0] == "tipset" and key[1] in wanted)

    def clear(self) -> None:
        """The connection is another: everything may be asked at once."""
        self.retries.clear()
        self._prefetched.clear()
