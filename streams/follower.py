"""The follower: told frames and times, it answers with requests and records.

It knows no websocket, no clock and no Redis. The heads that nodes announce only move its *target*; what is true is read from the
blocks, which are linked by hash down to what was published last (`streams.chain.reconcile`). So start, reconnect, missed and
out-of-order notices, a slow reader's lost channel, a silent node and a failover are one thing: a new target.

::

    shell                         Follower
    connected / disconnected  ->
    receive(endpoint, frame)  ->  requests()      what to send, to whom
    tick(now)                 ->  wanted(now)     which endpoints to be connected to
                                  next_record()   the next record, or None
                                  wake_at()       when to tick at the latest
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from streams.chain import Link
from streams.endpoints import Endpoint, Endpoints, Phase, Target
from streams.enrich import Assembled, assemble, build
from streams.errors import NodeFault
from streams.events import Dropped, Event, Incomplete, Live, LogMismatch, Policy, Position, Reorg
from streams.greeting import Greeting, fetch_link, fetch_link_at, greet, latest_link
from streams.memory import Memory
from streams.pursuit import Pursuit
from streams.records import STREAMS, Contract, Hash, Record, Rewind
from streams.rpc import Answer, ChannelClosed, HeadChanges, Notice, Session
from streams.streamed import StreamedLogs
from streams.tasks import Answered, Done, Failed, Fetch, Key, Outcome, Tasks
from streams.wire import EthHeader, StreamedLog, tipset_hash

OPENING_SECONDS = 30.0
PATIENCE = 4
"""How many times a question may fail before the endpoint is left."""
COUNTER_BITS = 32
NETWORKS = {314: "mainnet", 314159: "calibrationnet", 31415926: "devnet"}
"""Labels for chain ids whose node does not tell its network's name."""


@dataclass(slots=True)
class _Retry:
    attempts: int
    at: float


class Follower:
    """Follows the chain through a list of endpoints; see the module's text.

    Args:
        endpoints: names, preferred first.
        chain_id: what every node must say, None to learn it from the first.
        network: the label of records, None to learn it from the first node.
        policy: numbers.
        jitter: numbers in [0, 1) for the back-off.
    """

    def __init__(
        self,
        endpoints: Iterable[str],
        *,
        chain_id: int | None = None,
        network: str | None = None,
        policy: Policy | None = None,
        jitter: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.chain_id = chain_id
        self.network = network
        self.head: Link | None = None
        """The newest head that the leader announced."""
        self._policy = policy or Policy()
        self._endpoints = Endpoints(endpoints, jitter)
        self._tasks = Tasks(in_flight=max(2 * self._policy.concurrency, 8), timeout_seconds=self._policy.request_timeout_seconds)
        self._sessions: dict[str, Session] = {}
        self._position: Position | None = None
        self._memory = Memory()
        self._pursuit = Pursuit(self._policy.look_back_epochs)
        self._next_sequence = 0
        self._noticed: dict[Hash, float] = {}
        self._assembled: dict[Hash, Assembled] = {}
        self._retries: dict[Key, _Retry] = {}
        self._complaints: dict[Key, int] = {}
        self._prefetched: set[int] = set()
        self._learnt_network: str | None = None
        self._streamed = StreamedLogs()
        self._outbox: deque[Record] = deque()
        self._events: list[Event] = []
        self._now = 0.0

    # What the shell tells

    def resume(self, position: Position) -> None:
        """Go on from what the store holds; nothing is published before this."""
        self._position = position
        self._memory = position.memory
        self._next_sequence = position.incarnation << COUNTER_BITS
        self._pursuit.resume(position.published, position.reserved)

    def connected(self, name: str, now: float) -> None:
        """A connection to the endpoint is open."""
        self._now = now
        endpoint = self._endpoints.all[name]
        endpoint.phase, endpoint.since, endpoint.heard_at = Phase.OPENING, now, now
        self._sessions[name] = self._tasks.open(name)
        self._settle(self._tasks.start(name, ("greet", 0), greet(), now))

    def disconnected(self, name: str, reason: str, now: float, *, refused: bool = False) -> None:
        """The connection is gone, or could not be made; `refused` if another try would end the same way."""
        self._now = now
        endpoint = self._endpoints.all[name]
        if endpoint.busy:
            self._drop(endpoint, reason, refused=refused)
            self._advance()

    def receive(self, name: str, frame: bytes | str, now: float) -> None:
        """The endpoint sent a frame."""
        self._now = now
        endpoint, session = self._endpoints.all[name], self._sessions.get(name)
        if session is None or not endpoint.connected:
            return
        try:
            for said in session.receive(frame):
                if isinstance(said, tuple):
                    self._answered(name, *said)
                else:
                    self._notice(endpoint, said)
        except NodeFault as fault:
            self._drop(endpoint, str(fault), refused=False)
        self._advance()

    def tick(self, now: float) -> None:
        """Time went by."""
        self._now = now
        self._settle(self._tasks.expire(now))
        for endpoint in self._endpoints.all.values():
            opening = endpoint.phase is Phase.OPENING and now - endpoint.since >= OPENING_SECONDS
            silent = endpoint.phase is Phase.LIVE and now - endpoint.heard_at >= self._policy.stale_after_seconds
            if opening or silent:
                self._drop(endpoint, f"silent for {now - max(endpoint.since, endpoint.heard_at):.0f} s", refused=False)
        self._advance()

    # What the shell asks

    def wanted(self, now: float) -> dict[str, int]:
        """The endpoints to be connected to; another number than before asks for a new connection."""
        wanted = self._endpoints.wanted(now)
        for endpoint in self._endpoints.all.values():
            if endpoint.busy and endpoint.name not in wanted:
                self._close(endpoint)
                endpoint.phase, endpoint.head, endpoint.target = Phase.IDLE, None, None
        return wanted

    def requests(self) -> list[tuple[str, bytes]]:
        """What to send since the last time: endpoint and frame."""
        return self._tasks.frames()

    def events(self) -> list[Event]:
        """What happened since the last time, for metrics and the log."""
        events, self._events = self._events, []
        return events

    def wake_at(self) -> float:
        """When to `tick` at the latest."""
        times = [self._endpoints.wake_at(), self._tasks.deadline()]
        times += [retry.at for retry in self._retries.values() if retry.at > self._now]
        times += [one.heard_at + self._policy.stale_after_seconds for one in self._endpoints.all.values() if one.phase is Phase.LIVE]
        times += [one.since + OPENING_SECONDS for one in self._endpoints.all.values() if one.phase is Phase.OPENING]
        return min((time for time in times if time is not None), default=self._now + OPENING_SECONDS)

    @property
    def caught_up(self) -> bool:
        """Whether everything up to the leader's head is published."""
        leader, pursuit = self._endpoints.leader, self._pursuit
        settled = not pursuit.stale and pursuit.gap is None and not pursuit.path and pursuit.rewind_to is None
        return leader is not None and leader.target is not None and settled and not self._outbox

    def no_endpoint_left(self) -> str | None:
        """Why no node can ever be followed, None while one may be."""
        return self._endpoints.all_refused()

    def next_record(self) -> Record | None:
        """The next record to publish, None until there is one. It takes its number now."""
        pursuit = self._pursuit
        if not self._outbox and self._position is not None and self.network is not None:
            if pursuit.rewind_to is not None:
                self._rewind(self.network, pursuit.rewind_to)
            elif pursuit.path and pursuit.path[0].hash in self._assembled:
                self._publish(self.network, pursuit.path[0])
            self._advance()
        return self._outbox.popleft() if self._outbox else None

    def take_learnt(self) -> list[Contract]:
        """Contracts learnt since the last time, to be kept for the next run."""
        learnt, self._memory.learnt = self._memory.learnt, []
        return learnt

    # Publishing

    def _rewind(self, network: str, height: int) -> None:
        top, undone_epochs = self._pursuit.rewound(height)
        for stream in STREAMS:
            number = self._number()
            self._outbox.append(Rewind(network=network, sequence=number, stream=stream, height=height, top=top))
        if undone_epochs:
            self._events.append(Reorg(undone_epochs))
        self._streamed.rewound(height)

    def _publish(self, network: str, link: Link) -> None:
        assembled = self._assembled.pop(link.hash)
        tipset, logs = build(
            assembled,
            self._memory,
            network=network,
            sequence=self._number(len(STREAMS)),
            parent_height=self._pursuit.height_of(link.parent_hash),
            noticed_at=self._noticed.pop(link.hash, self._now),
        )
        self._outbox += (tipset, logs)
        self._pursuit.published(link)
        if assembled.complaint is not None:
            self._events.append(Incomplete(link.height, assembled.complaint))
        self._streamed.published(link, logs.logs, [tx.hash for tx in assembled.block.transactions])
        self._events += [LogMismatch(height) for height in self._streamed.mismatches(link.height)]
        if self._endpoints.leader is not None:
            self._endpoints.leader.failures = 0

    def _number(self, count: int = 1) -> int:
        number, self._next_sequence = self._next_sequence, self._next_sequence + count
        return number

    # What nodes say

    def _answered(self, name: str, number: int, answer: Answer) -> None:
        self._settle(self._tasks.answer(name, number, answer, self._now))

    def _notice(self, endpoint: Endpoint, notice: Notice) -> None:
        match notice:
            case HeadChanges():
                endpoint.heard_at = self._now
                self._head_changes(endpoint, notice)
            case ChannelClosed():
                raise NodeFault("the node closed the ChainNotify channel (slow reader?)")
            case EthHeader():
                endpoint.heard_at = self._now
                link = Link.of_header(notice)
                if endpoint.phase is Phase.LIVE and not endpoint.native:
                    self._streamed.covers(endpoint.name, link.hash)
                self._new_head(endpoint, link)
            case StreamedLog():
                self._streamed.notice(endpoint.name, notice)

    def _head_changes(self, endpoint: Endpoint, notice: HeadChanges) -> None:
        """Follow the changes step by step: each must start where the one before ended."""
        head = endpoint.head
        for change in notice.changes:
            link = Link.of_tipset(change.val)
            self._pursuit.learn(link)
            match change.type:
                case "current":
                    head = link
                case "apply":
                    head = link
                    self._streamed.covers(endpoint.name, link.parent_hash)
                case "revert":
                    if head is None or link.hash != head.hash:
                        raise NodeFault(f"out-of-order notice: reverts height {link.height}, which is not the head")
                    head = self._pursuit.links.get(link.parent_hash)
                case _:
                    raise NodeFault(f"ChainNotify: unknown change {change.type!r}")
        if head is None:
            raise NodeFault("ChainNotify: reverted below what was announced")
        endpoint.head = head
        self._aim(endpoint, Target(tipset_hash(head.parent_key), head.parent_key, head.key, head.height))

    def _new_head(self, endpoint: Endpoint, link: Link) -> None:
        self._noticed.setdefault(link.hash, self._now)
        if endpoint.native and endpoint.head is not None:
            return  # ChainNotify decides the order
        self._pursuit.learn(link)
        if self._pursuit.below_tip(link) and endpoint.phase is Phase.LIVE:
            # Either the head went down or a notice came late: only the node can tell.
            if not self._tasks.running(endpoint.name, ("latest", 0)):
                self._settle(self._tasks.start(endpoint.name, ("latest", 0), latest_link(), self._now))
            return
        self._aim(endpoint, Target(link.hash, (), (), link.height))

    def _aim(self, endpoint: Endpoint, target: Target) -> None:
        self._noticed.setdefault(target.hash, self._now)
        if endpoint.target == target:
            return
        endpoint.target = target
        self._pursuit.stale = True

    def _greeted(self, endpoint: Endpoint, greeting: Greeting) -> None:
        if self.chain_id is not None and greeting.chain_id != self.chain_id:
            raise NodeFault(f"wrong chain id {greeting.chain_id}, expected {self.chain_id}", retryable=False)
        network = greeting.network or NETWORKS.get(greeting.chain_id, f"chain-{greeting.chain_id}")
        if self.network is None:
            self.network = network
        elif greeting.network is not None and self._learnt_network not in {None, greeting.network}:
            raise NodeFault(f"another network, {greeting.network!r} instead of {self._learnt_network!r}", retryable=False)
        self._learnt_network = self._learnt_network or greeting.network
        self.chain_id = greeting.chain_id
        endpoint.phase, endpoint.since, endpoint.native = Phase.LIVE, self._now, greeting.native
        endpoint.heard_at = self._now
        if greeting.streams_logs:
            self._streamed.subscribed(endpoint.name)
        self._events.append(Live(endpoint.name, greeting.native))
        if greeting.head is not None and endpoint.target is None:
            self._new_head(endpoint, greeting.head)

    # What tasks bring

    def _settle(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            match outcome:
                case Answered():
                    self._events.append(outcome)
                case Done():
                    self._retries.pop(outcome.key, None)
                    try:
                        self._done(self._endpoints.all[outcome.endpoint], outcome)
                    except NodeFault as fault:
                        self._failed(Failed(outcome.key, outcome.endpoint, fault))
                case Failed():
                    self._failed(outcome)

    def _done(self, endpoint: Endpoint, done: Done) -> None:
        match done.result:
            case Greeting():
                self._greeted(endpoint, done.result)
            case Assembled():
                self._accept(done.key, done.result)
            case Link() if done.key[0] == "latest":
                self._pursuit.learn(done.result)
                self._aim(endpoint, Target(done.result.hash, (), (), done.result.height))
            case Link():
                self._pursuit.learn(done.result)

    def _accept(self, key: Key, assembled: Assembled) -> None:
        attempts = self._complaints.get(key, 0)
        if assembled.complaint is not None and attempts < self._policy.incomplete_retries:
            self._complaints[key] = attempts + 1
            self._retries[key] = _Retry(0, self._now + self._policy.incomplete_delay_seconds * 2**attempts)
            return
        self._complaints.pop(key, None)
        self._assembled[assembled.link.hash] = assembled

    def _failed(self, failed: Failed) -> None:
        endpoint = self._endpoints.all[failed.endpoint]
        match failed.key:
            case ("greet", _):
                self._drop(endpoint, str(failed.fault), refused=not failed.fault.retryable)
            case ("at", _):
                endpoint.counts_heights = False
            case _:
                attempts = self._retries[failed.key].attempts + 1 if failed.key in self._retries else 1
                self._retries[failed.key] = _Retry(attempts, self._now + 0.25 * 2**attempts)
                if attempts >= PATIENCE:
                    self._drop(endpoint, str(failed.fault), refused=False)

    def _drop(self, endpoint: Endpoint, reason: str, *, refused: bool) -> None:
        self._close(endpoint)
        self._endpoints.failed(endpoint, reason, self._now, refused=refused)
        self._events.append(Dropped(endpoint.name, reason, refused))

    def _close(self, endpoint: Endpoint) -> None:
        self._tasks.close(endpoint.name)
        self._sessions.pop(endpoint.name, None)
        self._streamed.unsubscribed(endpoint.name)
        self._retries.clear()
        self._prefetched.clear()

    # Deciding what to ask

    def _advance(self) -> None:
        pursuit = self._pursuit
        if self._endpoints.elect():
            pursuit.stale = True
        leader = self._endpoints.leader
        if leader is None or leader.target is None or self._position is None:
            return
        self.head = leader.head or pursuit.links.get(leader.target.hash)
        if pursuit.stale:
            pursuit.replan(leader.target)
            self._forget()
        if pursuit.gap is not None:
            self._ask_links(leader, leader.target)
        else:
            self._ask_tipsets(leader)

    def _ask_links(self, leader: Endpoint, target: Target) -> None:
        gap = self._pursuit.gap
        if gap is None:
            return
        self._start(leader, ("link", gap.wanted), partial(fetch_link, gap.wanted, gap.key if leader.native else ()))
        key = target.child if leader.native else ()
        for height in self._pursuit.prefetch() if leader.counts_heights else ():
            if height not in self._prefetched:
                self._prefetched.add(height)
                self._start(leader, ("at", height), partial(fetch_link_at, height, key))

    def _ask_tipsets(self, leader: Endpoint) -> None:
        self._prefetched.clear()
        path = self._pursuit.path
        for place, link in enumerate(path):
            if place >= self._policy.concurrency:
                return
            if link.hash not in self._assembled:
                above = path[place + 1] if place + 1 < len(path) else leader.head
                fetch = partial(assemble, link, above, self._memory, native=leader.native)
                self._start(leader, ("tipset", link.hash), fetch)

    def _start(self, endpoint: Endpoint, key: Key, fetch: Callable[[], Fetch[Any]]) -> None:
        retry = self._retries.get(key)
        if self._tasks.running(endpoint.name, key) or (retry is not None and retry.at > self._now):
            return
        self._settle(self._tasks.start(endpoint.name, key, fetch(), self._now))

    def _forget(self) -> None:
        """Drop what no plan needs any more."""
        if self._pursuit.gap is not None:
            return
        wanted = {link.hash for link in self._pursuit.path}
        self._assembled = {block: one for block, one in self._assembled.items() if block in wanted}
        self._retries = {key: one for key, one in self._retries.items() if key[1] in wanted}
        self._complaints = {key: one for key, one in self._complaints.items() if key[1] in wanted}
        if self._pursuit.trim():
            self._noticed = {block: at for block, at in self._noticed.items() if block in self._pursuit.links}
