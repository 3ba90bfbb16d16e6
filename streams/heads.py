"""What nodes announce: the head of each endpoint, and with it the target that the pursuit goes for."""

from streams.chain import Link
from streams.endpoints import Endpoint, Phase, Target
from streams.errors import Refusal
from streams.events import Announced
from streams.publication import Publication
from streams.pursuit import Pursuit
from streams.rpc import ChannelClosed, HeadChanges, Notice
from streams.streamed import StreamedLogs
from streams.wire import EthHeader, StreamedLog, tipset_hash


class Heads:
    """Takes the notices of all endpoints.

    Attributes:
        announced: the new heads since the last `take`.
    """

    def __init__(self, pursuit: Pursuit, publication: Publication, streamed: StreamedLogs) -> None:
        self._pursuit = pursuit
        self._publication = publication
        self._streamed = streamed
        self._announced: list[Announced] = []

    def take(self) -> list[Announced]:
        """The heads that are new since the last time."""
        announced, self._announced = self._announced, []
        return announced

    def notice(self, endpoint: Endpoint, notice: Notice, now: float) -> bool:
        """A node said something unasked. Whether it has to be asked for its newest tipset.

        Raises:
            NodeFault: it can not be so, or the node ends what it was to tell.
        """
        match notice:
            case HeadChanges():
                endpoint.heard_at = now
                head, executed = self._pursuit.walk(endpoint.head, notice.changes)
                for block in executed:
                    self._streamed.covers(endpoint.name, block)
                endpoint.head = head
                self._aim(endpoint, Target(tipset_hash(head.parent_key), head.parent_key, head.key, head.height), now)
            case ChannelClosed():
                raise Refusal("the node closed the ChainNotify channel (slow reader?)")
            case EthHeader():
                endpoint.heard_at = now
                link = Link.of_header(notice)
                if endpoint.phase is Phase.LIVE and not endpoint.native:
                    self._streamed.covers(endpoint.name, link.hash)
                return self.new_head(endpoint, link, now)
            case StreamedLog():
                self._streamed.notice(endpoint.name, notice)
        return False

    def new_head(self, endpoint: Endpoint, link: Link, now: float) -> bool:
        """The newest executed tipset by the eth view. Whether only the node can tell if its head went down, or the notice came late."""
        self._publication.notice(link.hash, now)
        if endpoint.native and endpoint.head is not None:
            return False  # ChainNotify decides the order
        self._pursuit.learn(link)
        if self._pursuit.below_tip(link.hash) and endpoint.phase is Phase.LIVE:
            return True
        self._aim(endpoint, Target(link.hash, (), (), link.height), now)
        return False

    def latest(self, endpoint: Endpoint, link: Link, now: float) -> None:
        """What the node says when asked."""
        self._pursuit.learn(link)
        self._aim(endpoint, Target(link.hash, (), (), link.height), now)

    def _aim(self, endpoint: Endpoint, target: Target, now: float) -> None:
        self._publication.notice(target.hash, now)
        if endpoint.target == target:
            return
        endpoint.target = target
        self._announced.append(Announced(endpoint.name, target.head_height))
        self._pursuit.stale = True
