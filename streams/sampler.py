"""Which samples are wanted of which tipset, which are there, and what is ready to be published.

A tipset is sampled from when it is published until all its probes have answered or failed, or it is undone. Near the head each
probe keeps its cadence; on the way through a long gap there is a point about every hour. What is waited for survives the loss
of a node: the next one is asked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from streams.chain import Link
from streams.errors import NodeFault
from streams.greeting import fetch_link_at
from streams.questions import Question
from streams.records import Hash
from streams.rpc import Answer, RpcError
from streams.sampling import Moment, Probe
from streams.tasks import Fetch, Key
from streams.wire import Cid

NEAR_EPOCHS = 120
"""Within this distance of the head each probe keeps its own cadence."""
SPARSE_EPOCHS = 120
"""Further away there is a point this often."""
MOST_WAITING = 256
"""Tipsets whose samples are waited for; beyond, the lowest is given up."""
ASKED_AT_ONCE = 16
"""Tipsets that are asked about at once, the newest first."""
CHILD = ""
"""In place of a probe's name: the question for the tipset on top."""
LARGEST_ANSWER_BYTES = 1 << 20
LARGEST_SAMPLE = 2**256


@dataclass(slots=True)
class Sampled:
    """The samples of one tipset, and the probes that gave none."""

    link: Link
    parent_height: int | None
    noticed_at: float
    samples: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Waiting:
    sampled: Sampled
    probes: dict[str, Probe]
    child_key: tuple[Cid, ...] = ()
    has_child: bool = False


class Sampler:
    """The samples that are wanted, by tipset.

    Args:
        probes: what to ask on every chain.
    """

    def __init__(self, probes: Sequence[Probe] = ()) -> None:
        self._everywhere = tuple(probes)
        self._probes = self._everywhere
        self._waiting: dict[Hash, _Waiting] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is waited for."""
        return not self._waiting

    def resume(self, probes: Sequence[Probe] = ()) -> None:
        """Start afresh, with these probes of the chain beside those of every one."""
        self._probes = (*self._everywhere, *probes)
        self.rewound(-1)

    def published(self, link: Link, parent_height: int | None, head_height: int, noticed_at: float) -> None:
        """A tipset was published; the nodes' head is at `head_height`."""
        self.learn_child(link)
        least = 1 if head_height - link.height <= NEAR_EPOCHS else SPARSE_EPOCHS
        due = {probe.name: probe for probe in self._probes if probe.due(link.height, parent_height, least)}
        if due:
            self._waiting[link.hash] = _Waiting(Sampled(link, parent_height, noticed_at), due)
        while len(self._waiting) > MOST_WAITING + 1:
            lowest = min(self._waiting.values(), key=lambda one: one.sampled.link.height)
            del self._waiting[lowest.sampled.link.hash]

    def learn_child(self, link: Link) -> None:
        """A tipset's key tells where to ask for the state after its parent; it may have come without one."""
        waiting = self._waiting.get(link.parent_hash)
        if waiting is not None and not waiting.child_key:
            waiting.child_key, waiting.has_child = link.key, True

    def rewound(self, height: int) -> None:
        """Everything above `height` is undone, and so is what was asked about it."""
        self._waiting = {block: one for block, one in self._waiting.items() if one.sampled.link.height <= height}

    def questions(self, *, native: bool, head: tuple[Cid, ...] = ()) -> list[Question]:
        """What to ask of a node, Lotus (`native`, its head is `head`) or eth-only; what it can never answer is waited for no more."""
        if not native:
            for one in self._waiting.values():
                one.probes = {name: probe for name, probe in one.probes.items() if not probe.native}
        asked = [one for one in reversed(self._waiting.values()) if one.probes][:ASKED_AT_ONCE]
        return [question for one in asked for question in _questions(one, head)]

    def answered(self, key: Key, answer: Any) -> None:
        """One of the questions was answered: samples, or the tipset that tells where to ask for them."""
        block, name = cast("tuple[Hash, str]", key[1])
        waiting = self._waiting.get(block)
        if waiting is None:
            return
        if isinstance(answer, Link):
            self.learn_child(answer)
            if not waiting.child_key:
                self.failed(key)
        elif waiting.probes.pop(name, None) is not None:
            waiting.sampled.samples |= answer

    def failed(self, key: Key) -> list[str]:
        """One of the questions has no answer; the names of the probes that thus give no sample."""
        block, name = cast("tuple[Hash, str]", key[1])
        waiting = self._waiting.get(block)
        if waiting is None:
            return []
        names = [one for one, probe in waiting.probes.items() if one == name or (name == CHILD and probe.native)]
        waiting.sampled.failed += names
        for one in names:
            del waiting.probes[one]
        return names

    def take(self) -> Sampled | None:
        """A tipset with nothing left to wait for; one without any sample or failure is passed over."""
        for block in [block for block, one in self._waiting.items() if not one.probes]:
            sampled = self._waiting.pop(block).sampled
            if sampled.samples or sampled.failed:
                return sampled
        return None


def _questions(waiting: _Waiting, head: tuple[Cid, ...]) -> Iterator[Question]:
    link = waiting.sampled.link
    for probe in waiting.probes.values():
        if waiting.child_key or not probe.native:
            yield ("probe", (link.hash, probe.name)), partial(_ask, probe, _moment(waiting))
        elif waiting.has_child and head:
            yield ("probe", (link.hash, CHILD)), partial(fetch_link_at, link.height + 1, head)


def _moment(waiting: _Waiting) -> Moment:
    link = waiting.sampled.link
    return Moment(link.height, link.hash, waiting.child_key, link.timestamp_seconds)


def _ask(probe: Probe, moment: Moment) -> Fetch[Mapping[str, int]]:
    """The probe's fetch; an answer too long to be one, and a sample too large, are faults of the node."""
    fetch = probe.ask(moment)
    answers: tuple[Answer, ...] | None = None
    while True:
        try:
            calls = fetch.send(answers)  # type: ignore[arg-type]  # (a generator that has not started takes None)
        except StopIteration as stop:
            return _checked(probe, stop.value)
        answers = tuple(_bounded(answer) for answer in (yield calls))


def _bounded(answer: Answer) -> Answer:
    size = len(bytes(answer.result)) if answer.result is not None else 0
    if size <= LARGEST_ANSWER_BYTES:
        return answer
    return Answer(answer.call, None, RpcError(message=f"an answer of {size} bytes: more than {LARGEST_ANSWER_BYTES}"))


def _checked(probe: Probe, samples: Mapping[str, int]) -> Mapping[str, int]:
    for name, value in samples.items():
        if abs(value) >= LARGEST_SAMPLE:
            raise NodeFault(f"probe {probe.name}: {name} is beyond 256 bits")
    return samples
