"""Samples of the state: what is asked after a tipset, and how often.

A `Probe` declares one question: its cadence, and a fetch that answers with named integers. Names in use:

- `power:{raw_bytes,quality_adjusted_bytes,position_q128,velocity_q128,pledge_attofil}`,
- `supply:{vested,mined,burnt,locked,circulating,reserve_disbursed}_attofil`, `supply:recomputed` (0 by the node, 1 from actors),
- `burnt:attofil` (balance of f099), `reward:{minted,burnt_minted,explicit_minted}_attofil`, `network_version`, `base_fee_attofil`,
- `pool:<pool>:{assets_attofil,balance_attofil,price_e18,borrowed_attofil,supply}`, `price:fil_usd_e18`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streams.records import Hash
from streams.tasks import Fetch
from streams.wire import Cid


@dataclass(frozen=True, slots=True)
class Moment:
    """A tipset that was executed; the probes ask for the state after it.

    `child_key` is the key of a tipset on top of it, at which `Filecoin.State*` tells the state after this one; `()` where the
    node is eth-only or no child is known. `eth_call` and `eth_getBalance` at block `height` tell the same state.
    """

    height: int
    hash: Hash
    child_key: tuple[Cid, ...]
    timestamp_seconds: int


@dataclass(frozen=True, slots=True)
class Probe:
    """One question about the state.

    Attributes:
        name: one of a bounded set; shown in metrics.
        every_epochs: due at the first tipset at or above each multiple of this.
        native: whether it needs `Filecoin.*`, and so a `child_key`.
        ask: the samples by name; a NodeFault means that there is none.
    """

    name: str
    every_epochs: int
    native: bool
    ask: Callable[[Moment], Fetch[Mapping[str, int]]]

    def due(self, height: int, parent_height: int | None, least_epochs: int = 1) -> bool:
        """Whether the probe is asked after the tipset at `height`; it is the same on every run, and on every fork of that shape."""
        every = max(self.every_epochs, least_epochs)
        return parent_height is None or parent_height // every < height // every
