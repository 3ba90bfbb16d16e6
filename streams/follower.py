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

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from streams.chain import FINALITY_EPOCHS, Link, Published
from streams.contents import Learnt
from streams.endpoints import OPENING_SECONDS, Endpoint, Endpoints
from streams.enrich import Assembled
from streams.errors import NodeFault, Oversize, Refusal
from streams.events import Dropped, Event, Incomplete, Live, LogMismatch, NoSample, Policy, Position, Reorg, doubts
from streams.greeting import Greeting, greet, latest_link
from streams.heads import Heads
from streams.history import NEVER_NOTICED, PAST, History
from streams.memory import Memory
from streams.others import KINDS, Asked, Others
from streams.publication import Publication
from streams.pursuit import Pursuit
from streams.questions import Question, Questions
from streams.ranges import LogCounts, count_logs
from streams.records import Record
from streams.rereads import Found
from streams.rpc import Notice, Session
from streams.sampler import Sampler
from streams.sampling import Probe
from streams.streamed import StreamedLogs
from streams.tasks import GREETING, Answered, Done, Failed, Outcome, Tasks
from streams.witnesses import Compared, Vouched

PATIENCE = 4
"""How many times a question may fail before the endpoint is left."""


class Follower:
    """Follows the chain through a list of endpoints; see the module's text.

    Args:
        endpoints: names, preferred first.
        chain_id: what every node must say, None to learn it from the first.
        network: the label of records, None to learn it from the first node.
        policy: numbers.
        jitter: numbers in [0, 1) for the back-off.
        probes: what is sampled of the state, and how often.
    """

    def __init__(
        self,
        endpoints: Iterable[str],
        *,
        chain_id: int | None = None,
        network: str | None = None,
        policy: Policy | None = None,
        jitter: Callable[[], float] = lambda: 0.0,
        probes: Sequence[Probe] = (),
    ) -> None:
        self.chain_id = chain_id
        self.network = network
        self.head: Link | None = None
        """The newest head that the leader announced."""
        self._policy = policy = policy or Policy()
        self._endpoints = Endpoints(endpoints, jitter, self._policy.witnesses, self._policy.stale_after_seconds)
        places = max(2 * policy.concurrency, 8)
        self._tasks = Tasks(places, policy.request_timeout_seconds, policy.requests_per_second, background=places * 3 // 4)
        self._sessions: dict[str, Session] = {}
        self._position: Position | None = None
        self._memory = Memory()
        self._pursuit = Pursuit(self._policy.look_back_epochs)
        self._publication = Publication()
        self._questions = Questions(self._policy)
        self._sampler = Sampler(probes)
        self.history = History(self._policy)
        self._said_network: str | None = None
        self._streamed = StreamedLogs()
        self._heads = Heads(self._pursuit, self._publication, self._streamed)
        self._others = Others(self._endpoints, self._policy)
        self._events: list[Event] = []
        self._now = 0.0

    # What the shell tells

    def resume(self, position: Position) -> None:
        """Go on from what the store holds; nothing is published before this."""
        self._position = position
        self._memory.join(position.memory)
        self.history.clear()
        self._others.rereads.resume(position.published, position.told)
        self._publication.resume(position.incarnation)
        self._sampler.resume(position.probes)
        self._pursuit.resume(position.published, position.reserved, position.since)

    def connected(self, name: str, now: float) -> None:
        """A connection to the endpoint is open."""
        self._now, endpoint = now, self._endpoints.all[name]
        endpoint.opened(now)
        self._sessions[name] = self._tasks.open(name)
        self._settle(self._tasks.start(name, (GREETING, 0), greet(), now))

    def disconnected(self, name: str, reason: str, now: float, *, refused: bool = False, oversize: bool = False) -> None:
        """The connection is gone, or could not be made; `refused` if another try would end the same way, `oversize` by a long frame."""
        self._now, endpoint = now, self._endpoints.all[name]
        if oversize:
            self._tasks.overflowed(name, now)
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
                    self._settle(self._tasks.answer(name, *said, self._now))
                else:
                    self._notice(endpoint, said)
                if name not in self._sessions:
                    break
        except NodeFault as fault:
            if isinstance(fault, Oversize):
                self._tasks.overflowed(name, now)
            self._leave(endpoint, fault)
        self._advance()

    def tick(self, now: float) -> None:
        """Time went by."""
        self._now = now
        self._settle(self._tasks.expire(now))
        for endpoint in self._endpoints.silent(now):
            self._drop(endpoint, f"silent for {now - max(endpoint.since, endpoint.heard_at):.0f} s", refused=False)
        self._advance()

    # What the shell asks

    def wanted(self, now: float) -> dict[str, int]:
        """The endpoints to be connected to; another number than before asks for a new connection."""
        wanted = self._endpoints.wanted(now)
        for endpoint in self._endpoints.all.values():
            if endpoint.busy and endpoint.name not in wanted:
                self._close(endpoint)
                endpoint.left()
        return wanted

    def requests(self) -> list[tuple[str, bytes]]:
        """What to send since the last time: endpoint and frame."""
        return self._tasks.frames()

    def events(self) -> list[Event]:
        """What happened since the last time, for metrics and the log."""
        events, self._events = [*self._endpoints.sought(), *self._heads.take(), *self._others.rereads.take(), *self._events], []
        return events

    def wake_at(self) -> float:
        """When to `tick` at the latest."""
        retries = self._questions.retries.wake_at(self._now)
        times = [self._endpoints.wake_at(), self._tasks.deadline(), retries, self.history.wake_at(self._now)]
        if self._pursuit.path and self._others.first is not None:
            times.append(self._now + self._policy.hedge_after_seconds)
        return min([time for time in times if time is not None] + [self._now + OPENING_SECONDS])

    @property
    def caught_up(self) -> bool:
        """Whether everything up to the leader's head is published."""
        leader = self._endpoints.leader
        return leader is not None and leader.target is not None and self._pursuit.settled and not self._publication.queue

    @property
    def tip(self) -> Published | None:
        """The highest published tipset."""
        return self._pursuit.tip

    @property
    def sampled(self) -> bool:
        """Whether no sample is waited for."""
        return self._sampler.idle

    def no_endpoint_left(self) -> str | None:
        """Why no node can ever be followed, None while one may be."""
        return self._endpoints.all_refused()

    def next_record(self) -> Record | None:
        """The next record to publish, None until there is one. It takes its number now."""
        pursuit = self._pursuit
        if not self._publication.queue and self._position is not None and self.network is not None:
            if pursuit.rewind_to is not None:
                self._rewind(self.network, pursuit.rewind_to)
            elif pursuit.path and pursuit.path[0].hash in self._questions:
                self._publish(self.network, pursuit.path[0])
            elif not pursuit.stale and pursuit.gap is None and (sampled := self._sampler.take()) is not None:
                self._publication.sample(self.network, sampled)
            elif (past := self._others.rereads.next() or self.history.next()) is not None:
                self._publication.publish(self.network, past.assembled, self._memory, past.parent_height, NEVER_NOTICED)
                self._others.filled_in(past)
            self._advance()
        return self._publication.queue.popleft() if self._publication.queue else None

    def take_learnt(self) -> Learnt:
        """What was learnt since the last time, to be kept before anything that is published after it."""
        return Learnt(self._memory.take_learnt(), self._others.rereads.take_told())

    # Publishing

    def _rewind(self, network: str, height: int) -> None:
        top, undone_epochs = self._pursuit.rewound(height)
        self._publication.rewind(network, height, top)
        # What is deeper than finality is no reorg: after a long gap it is only not trusted any more.
        if 0 < undone_epochs <= FINALITY_EPOCHS:
            self._events.append(Reorg(undone_epochs))
        for one in (self._streamed, self._sampler, self._others, self.history):
            one.rewound(height)

    def _publish(self, network: str, link: Link) -> None:
        assembled = self._questions.take(link.hash)
        parent_height = self._pursuit.height_of(link.parent_hash)
        record = self._publication.publish(network, assembled, self._memory, parent_height, self._now)
        self._pursuit.published(link)
        self._sampler.published(link, parent_height, self.head.height if self.head is not None else link.height, record.noticed_at)
        if assembled.complaint is not None:
            self._events.append(Incomplete(link.height, assembled.complaint))
        self._streamed.published(link, record.logs, [tx.hash for tx in assembled.block.transactions], self._now)
        self._events += [LogMismatch(height) for height in self._streamed.mismatches(link.height, self._now)]
        self._others.published(assembled, parent_height)
        self._endpoints.succeeded()

    # What nodes say

    def _notice(self, endpoint: Endpoint, notice: Notice) -> None:
        if self._heads.notice(endpoint, notice, self._now):
            self._ask(endpoint, [(("latest", 0), latest_link)])

    def _greeted(self, endpoint: Endpoint, greeting: Greeting) -> None:
        greeting.check(self.chain_id, self._said_network)
        self.chain_id = greeting.chain_id
        self.network = self.network or greeting.label
        self._said_network = self._said_network or greeting.network
        endpoint.greeted(self._now, native=greeting.native)
        if greeting.streams_logs:
            self._streamed.subscribed(endpoint.name)
        self._events.append(Live(endpoint.name, greeting.native))
        if greeting.head is not None and endpoint.target is None:
            self._heads.latest(endpoint, greeting.head, self._now)

    # What tasks bring

    def _settle(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            match outcome:
                case Answered():
                    self._events.append(outcome)
                case Done():
                    self._questions.retries.succeeded(outcome.key)
                    try:
                        self._done(self._endpoints.all[outcome.endpoint], outcome)
                    except NodeFault as fault:
                        self._failed(Failed(outcome.key, outcome.endpoint, fault))
                case Failed():
                    self._failed(outcome)

    def _done(self, endpoint: Endpoint, done: Done) -> None:
        match done.result:
            case _ if done.key[0] in PAST:
                self._events += self.history.done(done.key, done.result, self._now)
            case Greeting():
                self._greeted(endpoint, done.result)
            case _ if done.key[0] == "probe":
                self._sampler.answered(done.key, done.result)
            case Assembled():
                self._ask_others(self._others.hold(done.result))
                self._accept()
            case Vouched() | Compared() | Found():
                self._events += self._others.said(endpoint.name, done.result)
                self._accept()
            case LogCounts(heights, counts):
                self._events += [LogMismatch(height) for height in self._streamed.counted(heights, counts)]
            case Link() if done.key[0] == "latest":
                self._heads.latest(endpoint, done.result, self._now)
            case Link():
                self._pursuit.learn(done.result)

    def _accept(self) -> None:
        for assembled in self._others.settled():
            self._questions.accept(("tipset", assembled.link.hash), assembled, self._now)

    def _failed(self, failed: Failed) -> None:
        endpoint = self._endpoints.all[failed.endpoint]
        self._events += (doubtful := doubts(failed.endpoint, failed.fault))
        match failed.key:
            case ("greet", _):
                self._drop(endpoint, str(failed.fault), refused=not failed.fault.retryable)
            case ("probe", _):
                self._events += [NoSample(name, str(failed.fault)) for name in self._sampler.failed(failed.key)]
            case ("at", _):
                endpoint.counts_heights = False
            case ("logs", _):
                self._streamed.forget_missed()
            case (kind, _) if kind in PAST:
                self._events += self.history.failed(failed.key, failed.fault, self._now)
            case (kind, _) if kind in KINDS:
                if self._others.failed(endpoint.name, failed.key, failed.fault):
                    self._questions.retries.failed(failed.key, self._now)
                self._accept()
            case ("tipset", block) if isinstance(failed.fault, Oversize):
                self._events += self._pursuit.skip(str(block), str(failed.fault))
            case _:
                self._not_told(endpoint, failed, doubtful=bool(doubtful))

    def _not_told(self, endpoint: Endpoint, failed: Failed, *, doubtful: bool) -> None:
        """What the plan needs was not told: it is asked for again, of another node after a while, or left missing."""
        attempts = self._questions.retries.failed(failed.key, self._now)
        if isinstance(failed.fault, Refusal) and not failed.fault.busy:
            above = any(link.hash in self._questions for link in self._pursuit.path)
            if left := self._pursuit.refused(failed.key, str(failed.fault), often=attempts >= PATIENCE, told_above=above):
                self._events += left
                return
        if attempts >= PATIENCE:
            self._pursuit.doubt()
            self._drop(endpoint, str(failed.fault), refused=False)
        elif doubtful and failed.key[0] == "tipset":
            self._pursuit.doubt(str(failed.key[1]))

    def _leave(self, endpoint: Endpoint, fault: NodeFault) -> None:
        self._events += doubts(endpoint.name, fault)
        self._drop(endpoint, str(fault), refused=False)

    def _drop(self, endpoint: Endpoint, reason: str, *, refused: bool) -> None:
        self._close(endpoint)
        self._endpoints.failed(endpoint, reason, self._now, refused=refused)
        self._events.append(Dropped(endpoint.name, reason, refused))

    def _close(self, endpoint: Endpoint) -> None:
        self._tasks.close(endpoint.name)
        self._sessions.pop(endpoint.name, None)
        self._streamed.unsubscribed(endpoint.name)
        self._others.gone(endpoint.name)
        self._accept()
        if endpoint is self._endpoints.leader:
            self._questions.clear()
        self.history.interrupted(endpoint.name)

    # Deciding what to ask

    def _advance(self) -> None:
        pursuit = self._pursuit
        pursuit.stale |= self._endpoints.elect(lambda target: pursuit.below_tip(target.hash))
        leader = self._endpoints.leader
        if leader is None or leader.target is None or self._position is None:
            return
        self.head = leader.head or pursuit.links.get(leader.target.hash)
        if pursuit.stale:
            try:
                pursuit.replan(leader.target)
            except NodeFault as fault:
                self._leave(leader, fault)
                return
            self._forget()
        if pursuit.gap is not None:
            self._ask(leader, self._questions.links(leader, leader.target, pursuit.gap, pursuit.prefetch()))
        elif pursuit.path:
            self._ask(leader, self._others.not_held(self._questions.tipsets(leader, pursuit, self._memory)))
        elif not leader.native and (missed := self._streamed.missed(leader.target.head_height)):
            self._ask(leader, [(("logs", 0), partial(count_logs, missed))])
        if leader.head is not None:
            self._sampler.learn_child(leader.head)
        head = leader.head.key if leader.head is not None else ()
        self._ask(leader, self._sampler.questions(native=leader.native, head=head), background=True)
        self._ask(leader, self.history.questions(leader, self._memory, self._now), background=True)
        self._ask_others(self._others.questions(leader, pursuit, self._memory, self._tasks, self._now))
        self._ask_others(self._others.second_reads(leader, pursuit, self._memory), background=True)

    def _ask_others(self, questions: Asked, *, background: bool = False) -> None:
        for endpoint, question in questions:
            self._ask(endpoint, [question], background=background)

    def _ask(self, endpoint: Endpoint, questions: Iterable[Question], *, background: bool = False) -> None:
        for key, fetch in questions:
            if not self._tasks.running(endpoint.name, key) and self._questions.retries.due(key, self._now):
                self._settle(self._tasks.start(endpoint.name, key, fetch(), self._now, background=background))

    def _forget(self) -> None:
        """Drop what no plan needs any more."""
        if self._pursuit.gap is None:
            self._questions.forget(self._pursuit)
            if self._pursuit.trim():
                self._publication.forget(self._pursuit.links)
