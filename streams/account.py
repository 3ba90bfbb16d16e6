"""What a follower tells of itself: which endpoints are up, how often each came back, the last reorgs.

Small enough to lie beside the figures as one fact, so that an exporter in another process can show it.
"""

import msgspec

from streams.events import Dropped, Event, Live, Reorg

REORGS_KEPT = 5


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint by its configured name; `connections` counts how often it went live, `native` that it then served `Filecoin.*`."""

    up: bool = False
    connections: int = 0
    native: bool = False

    @property
    def reconnects(self) -> int:
        """How often it was live again."""
        return max(self.connections - 1, 0)


class PastReorg(msgspec.Struct, frozen=True):
    """A reorg that was followed, and when it was seen."""

    at_seconds: int
    depth_epochs: int


class Account(msgspec.Struct, frozen=True):
    """The state of one follower at `at_seconds` (Unix time, 0 before anything was told); reorgs are newest first."""

    at_seconds: int = 0
    endpoints: dict[str, Endpoint] = {}
    reorgs: tuple[PastReorg, ...] = ()

    def after(self, event: Event, at_seconds: int) -> "Account":
        """With what `event` tells; most events tell nothing of this."""
        match event:
            case Live(endpoint, native):
                known = self.endpoints.get(endpoint, Endpoint())
                return self._with(endpoint, Endpoint(up=True, connections=known.connections + 1, native=native))
            case Dropped(endpoint):
                known = self.endpoints.get(endpoint, Endpoint())
                return self._with(endpoint, Endpoint(up=False, connections=known.connections, native=known.native))
            case Reorg(depth):
                return msgspec.structs.replace(self, reorgs=(PastReorg(at_seconds, depth), *self.reorgs)[:REORGS_KEPT])
            case _:
                return self

    def _with(self, name: str, endpoint: Endpoint) -> "Account":
        return msgspec.structs.replace(self, endpoints={**self.endpoints, name: endpoint})

    def fact(self, at_seconds: int) -> str:
        """As JSON, told at this time."""
        return msgspec.json.encode(msgspec.structs.replace(self, at_seconds=at_seconds)).decode()


def read(fact: str | None) -> Account | None:
    """The account of `fact`; None where there is none, or it is of a release that writes it otherwise."""
    if fact is None:
        return None
    try:
        return msgspec.json.decode(fact, type=Account)
    except msgspec.MsgspecError:
        return None
