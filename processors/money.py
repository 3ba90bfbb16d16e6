"""From a snapshot to the samples about money: pools, bridges, payments. Small functions, none of which knows a metric's name.

What is declared (names, projects, classes) comes with the snapshot, as whoever follows the chain has written it; amounts come from
samples of the state and from sums of the stream `logs`. What is not known gives no sample, never 0.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import msgspec
from msgspec import Struct

from processors.economy import DIRECTIONS, Economy
from processors.growth import YEAR_EPOCHS, annualised, growth
from processors.readings import Sample as Point
from processors.readings import Snapshot, WindowReading
from processors.samples import Sample, Samples, against_before, per_window, ratio, windows
from processors.state_samples import earlier, newest
from processors.windows import DAY_EPOCHS
from streams.prices import NAME as PRICE

FACT = "economy"
"""Under which name the declarations stand among the facts of a snapshot."""
E18 = 10**18
BACK = {"24h": DAY_EPOCHS, "7d": 7 * DAY_EPOCHS, "30d": 30 * DAY_EPOCHS}
"""Windows over which pools are compared with themselves, in epochs."""


class PoolFacts(Struct, frozen=True):
    """What figures need to know of a pool; `unit` ends its amounts' names, `reports` tells whether it is asked for its assets."""

    pool: str
    project: str
    contract_class: str
    unit: str
    counted: bool
    reports: bool

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return {"pool": self.pool, "project": self.project, "class": self.contract_class}

    @property
    def total(self) -> str:
        """The sample that stands for its size: what it reports, else what it holds."""
        return self.name("assets" if self.reports else "balance")

    def name(self, amount: str) -> str:
        """The name of a sample in its unit."""
        return f"pool:{self.pool}:{amount}_{self.unit}"


class Declared(Struct, frozen=True):
    """What figures need to know of an economy."""

    pools: tuple[PoolFacts, ...] = ()
    bridges: tuple[str, ...] = ()
    tokens: tuple[tuple[str, str], ...] = ()
    payments: bool = False


def facts(economy: Economy) -> dict[str, str]:
    """The declarations as a fact, for whoever shows figures and has no contracts file."""
    pools = tuple(
        PoolFacts(
            one.pool,
            one.project,
            one.contract_class,
            (questions := one.questions()).unit,
            one.counted,
            bool(questions.assets) or questions.assets_are_supply,
        )
        for one in economy.pools
    )
    tokens = tuple((one.bridge, one.token) for one in economy.bridged_tokens)
    declared = Declared(pools, economy.bridges(), tokens, bool(economy.payment_contracts))
    return {FACT: msgspec.json.encode(declared).decode()}


def declared(snapshot: Snapshot) -> Declared:
    """What is declared about this network; nothing where nobody said."""
    return _decoded(snapshot.latest.get(FACT, ""))


@lru_cache(maxsize=8)
def _decoded(text: str) -> Declared:
    try:
        return msgspec.json.decode(text, type=Declared)
    except msgspec.MsgspecError:
        return Declared()


# Pools.


def _value(snapshot: Snapshot, name: str) -> int | None:
    point = newest(snapshot, name)
    return None if point is None else point.value


def pool_assets(unit: str) -> Samples:
    """What the pools of this unit report, and what they hold."""

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for pool in declared(snapshot).pools:
            for source, amount in (("reported", "assets"), ("balance", "balance")):
                if pool.unit == unit and (value := _value(snapshot, pool.name(amount))) is not None:
                    yield {**pool.labels, "source": source}, value / E18

    return samples


def pool_borrowed(snapshot: Snapshot) -> Iterator[Sample]:
    """FIL that each pool has lent."""
    for pool in declared(snapshot).pools:
        if pool.unit == "attofil" and (value := _value(snapshot, pool.name("borrowed"))) is not None:
            yield pool.labels, value / E18


def pool_share_price(snapshot: Snapshot) -> Iterator[Sample]:
    """What a share of each pool is worth in its underlying."""
    for pool in declared(snapshot).pools:
        if (value := _value(snapshot, f"pool:{pool.pool}:price_e18")) is not None:
            yield {"pool": pool.pool}, value / E18


def pool_utilization(snapshot: Snapshot) -> Iterator[Sample]:
    """The share of each pool's assets that is lent."""
    for pool in declared(snapshot).pools:
        borrowed, assets = (_value(snapshot, pool.name(amount)) for amount in ("borrowed", "assets"))
        if borrowed is not None and assets:
            yield {"pool": pool.pool}, borrowed / assets


def pool_unbacked(snapshot: Snapshot) -> Iterator[Sample]:
    """The share of each pool's reported assets that is neither there nor lent; of pools that say what they lent."""
    for pool in declared(snapshot).pools:
        assets, balance, borrowed = (_value(snapshot, pool.name(amount)) for amount in ("assets", "balance", "borrowed"))
        if assets and balance is not None and borrowed is not None:
            yield {"pool": pool.pool}, (assets - balance - borrowed) / assets


def _compared(name: Callable[[PoolFacts], str], figure: Callable[[Point, Point, int], float | None], names: tuple[str, ...]) -> Samples:
    """One sample per pool and window where `figure` of its sample now and then is known."""

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for pool in declared(snapshot).pools:
            now = newest(snapshot, name(pool))
            for window in names:
                then = earlier(snapshot, name(pool), BACK[window])
                value = figure(now, then, BACK[window]) if now is not None and then is not None else None
                if value is not None:
                    yield {"pool": pool.pool, "window": window}, value

    return samples


APY_WINDOWS = ("7d", "30d")
pool_apy = _compared(lambda pool: f"pool:{pool.pool}:price_e18", lambda now, then, _: annualised(now, then), APY_WINDOWS)
"""The yield of each pool's share, annualised."""
pool_growth = _compared(lambda pool: pool.total, growth, tuple(BACK))
"""The growth of what each pool reports, or else holds."""


def _counted(snapshot: Snapshot) -> Iterator[tuple[PoolFacts, int]]:
    """The pools that make up the total, with their sizes, as far as these are known."""
    for pool in declared(snapshot).pools:
        if pool.counted and (value := _value(snapshot, pool.total)) is not None:
            yield pool, value


def tvl_fil(snapshot: Snapshot) -> Iterator[Sample]:
    """Value locked in pools of FIL, by class."""
    classes: dict[str, int] = {}
    for pool, value in _counted(snapshot):
        if pool.unit == "attofil":
            classes[pool.contract_class] = classes.get(pool.contract_class, 0) + value
    for name, value in sorted(classes.items()):
        yield {"class": name}, value / E18


def tvl_growth(snapshot: Snapshot) -> Iterator[Sample]:
    """The growth of value locked in FIL, over the pools that are known now and then."""
    for window, epochs in BACK.items():
        pairs = [
            (value, then.value)
            for pool, value in _counted(snapshot)
            if pool.unit == "attofil" and (then := earlier(snapshot, pool.total, epochs)) is not None
        ]
        if before := sum(then for _, then in pairs):
            yield {"window": window}, (sum(now for now, _ in pairs) - before) / before


def _in_usd(snapshot: Snapshot, amounts: Iterator[tuple[PoolFacts, int]]) -> float | None:
    """The sum in USD; None without a price, or without an amount."""
    price = _value(snapshot, PRICE)
    found = [(pool.unit, value) for pool, value in amounts]
    if price is None or not found:
        return None
    return sum(value * (price if unit == "attofil" else E18) for unit, value in found) / E18**2


def tvl_usd(snapshot: Snapshot) -> Iterator[Sample]:
    """All value locked, at the price on chain."""
    if (value := _in_usd(snapshot, _counted(snapshot))) is not None:
        yield {}, value


def tvl_coverage(snapshot: Snapshot) -> Iterator[Sample]:
    """The share of the counted pools whose size is known."""
    counted = sum(pool.counted for pool in declared(snapshot).pools)
    if counted and snapshot.state.head is not None:
        yield {}, len(list(_counted(snapshot))) / counted


def _lent(snapshot: Snapshot) -> Iterator[tuple[PoolFacts, int]]:
    for pool in declared(snapshot).pools:
        if pool.counted and (value := _value(snapshot, pool.name("borrowed"))) is not None:
            yield pool, value


def lent_fil(snapshot: Snapshot) -> Iterator[Sample]:
    """FIL that the counted pools have lent."""
    values = [value for pool, value in _lent(snapshot) if pool.unit == "attofil"]
    if values:
        yield {}, sum(values) / E18


def lent_usd(snapshot: Snapshot) -> Iterator[Sample]:
    """The same at the price on chain."""
    if (value := _in_usd(snapshot, _lent(snapshot))) is not None:
        yield {}, value


def price_usd(snapshot: Snapshot) -> Iterator[Sample]:
    """USD per FIL."""
    if (value := _value(snapshot, PRICE)) is not None:
        yield {}, value / E18


# Bridges.


def bridge_transfers(snapshot: Snapshot) -> Iterator[Sample]:
    """Messages by bridge, direction and window; every declared bridge is there from the start, with 0."""
    for window in windows(snapshot, "logs"):
        for bridge in declared(snapshot).bridges:
            for direction in DIRECTIONS:
                value = window.sums.get(f"bridge_messages:{bridge}:{direction}", 0)
                yield {"bridge": bridge, "direction": direction, "window": window.name}, value


def bridged_value(snapshot: Snapshot) -> Iterator[Sample]:
    """What was minted and burnt, in units of the token; every declared token is there from the start, with 0."""
    for window in windows(snapshot, "logs"):
        for bridge, token in declared(snapshot).tokens:
            for direction in DIRECTIONS:
                value = window.sums.get(f"bridge_value:{bridge}:{token}:{direction}", 0)
                yield {"bridge": bridge, "token": token, "direction": direction, "window": window.name}, value / E18


# Payments.


def _paying(figure: Callable[[WindowReading], float | None]) -> Samples:
    """One sample per window of the events, where there is a payment contract at all."""
    of_windows = per_window(figure, "logs")

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        if declared(snapshot).payments:
            yield from of_windows(snapshot)

    return samples


def _paid(window: WindowReading) -> int:
    return window.sums.get("payments:usd_e18", 0)


payments_usd = _paying(lambda window: _paid(window) / E18)
"""What was paid for storage in stablecoins."""
payments_annualized_usd = _paying(lambda window: _paid(window) * YEAR_EPOCHS / window.epochs / E18 if window.coverage == 1 else None)
"""The same as a rate a year, of windows that are known in full."""
payments_growth = _paying(lambda window: against_before(window, _paid(window), window.prior_sums.get("payments:usd_e18", 0)))
"""Against the window just before, where both are known in full."""
payers = _paying(lambda window: window.distinct.get("payer", 0))
"""Who paid."""
rails = _paying(lambda window: window.distinct.get("rail", 0))
"""What was paid on."""
payments_unattributed = _paying(
    lambda window: ratio(window.sums.get("payments:unattributed", 0), window.sums.get("payments:settlements", 0))
)
"""The share of payments whose rail no node told."""
