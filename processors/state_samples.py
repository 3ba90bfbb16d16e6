"""From a snapshot to the samples about the state of the network: power, supply, staking. Small functions, as in `processors.samples`."""

from collections.abc import Callable, Iterator

from processors import samples as s
from processors.growth import momentary, reward_yield
from processors.readings import Sample, Snapshot
from processors.upgrades import Quantity, between, changed
from processors.windows import DAY_EPOCHS

KINDS: tuple[Quantity, ...] = ("raw", "quality_adjusted")
BACK = {"7d": 7 * DAY_EPOCHS, "30d": 30 * DAY_EPOCHS, "90d": 90 * DAY_EPOCHS}
STRETCHES = {"24h": DAY_EPOCHS} | BACK
"""What figures look back over, whatever windows are kept."""
VERSION = "network_version"
NEVER_VESTED = "the node does not tell the supply, and what vested is known of mainnet alone"


def newest(snapshot: Snapshot, name: str) -> Sample | None:
    """The newest sample of one name, None where there is no fresh one."""
    return snapshot.state.latest.get(name)


def earlier(snapshot: Snapshot, name: str, back: int) -> Sample | None:
    """The sample of one name so many epochs back, None where none lies near."""
    return snapshot.state.past.get(back, {}).get(name)


def value(name: str, scale: int = 1, **fixed: str) -> s.Samples:
    """The newest sample of one name, over `scale`."""

    def samples(snapshot: Snapshot) -> Iterator[s.Sample]:
        if (sample := newest(snapshot, name)) is not None:
            yield dict(fixed), sample.value / scale

    return samples


def ratio(part: str, *whole: str) -> s.Samples:
    """The newest sample of one name over the sum of others."""

    def samples(snapshot: Snapshot) -> Iterator[s.Sample]:
        latest = snapshot.state.latest
        if part in latest and all(name in latest for name in whole):
            share = s.ratio(latest[part].value, sum(latest[name].value for name in whole))
            if share is not None:
                yield {}, share

    return samples


def versions(snapshot: Snapshot, back: int) -> tuple[int | None, int | None]:
    """The network versions so far back, and now."""
    then, now = earlier(snapshot, VERSION, back), newest(snapshot, VERSION)
    return (then.value if then is not None else None), (now.value if now is not None else None)


def compared(snapshot: Snapshot, name: str, quantity: Quantity, back: int) -> tuple[Sample, Sample] | None:
    """The newest sample and the one so far back; None where one is missing, or an upgrade between them changed the formula."""
    now, then = newest(snapshot, name), earlier(snapshot, name, back)
    if now is None or then is None or changed(quantity, snapshot.network, then.height, now.height, versions(snapshot, back)):
        return None
    return now, then


def power_growth(rate: Callable[[Sample, Sample, int], float | None]) -> s.Samples:
    """One sample per kind of power and stretch, where both ends are known and mean the same."""

    def samples(snapshot: Snapshot) -> Iterator[s.Sample]:
        for kind in KINDS:
            for window, back in BACK.items():
                pair = compared(snapshot, f"power:{kind}_bytes", kind, back)
                if pair is not None and (found := rate(*pair, back)) is not None:
                    yield {"kind": kind, "window": window}, found

    return samples


def smoothed_growth(snapshot: Snapshot) -> Iterator[s.Sample]:
    """What the chain's own estimate says of quality-adjusted power at this moment."""
    head = snapshot.state.head or 0
    position, velocity = newest(snapshot, "power:position_q128"), newest(snapshot, "power:velocity_q128")
    if position is None or velocity is None:
        return
    if changed("quality_adjusted", snapshot.network, head - DAY_EPOCHS, head, versions(snapshot, DAY_EPOCHS)):
        return
    if (found := momentary(position, velocity)) is not None:
        yield {"kind": "quality_adjusted", "window": "smoothed"}, found


def staking_yield(snapshot: Snapshot) -> Iterator[s.Sample]:
    """The day's reward to storage providers over the pledge."""
    minted = compared(snapshot, "reward:minted_attofil", "reward", DAY_EPOCHS)
    locked = newest(snapshot, "power:pledge_attofil")
    if minted is None or locked is None:
        return
    given_away = 0
    for name in ("reward:burnt_minted_attofil", "reward:explicit_minted_attofil"):
        pair = compared(snapshot, name, "reward", DAY_EPOCHS)
        if (pair is None) != (name not in snapshot.state.latest):
            return  # only one end is known
        given_away += pair[0].value - pair[1].value if pair is not None else 0
    if (found := reward_yield(minted, given_away, locked)) is not None:
        yield {}, found


def window_upgrade(snapshot: Snapshot) -> Iterator[s.Sample]:
    """Whether an upgrade lies inside each window, by the table of upgrades and by the network versions at both ends."""
    stretches = {window.name: window.epochs for window in s.windows(snapshot)} | STRETCHES
    reading = s.known(snapshot, "tipsets")
    head = snapshot.state.head if reading is None else reading.head
    if head is None:
        return
    for name, epochs in stretches.items():
        yield {"window": name}, float(any(between(snapshot.network, head - epochs, head, versions(snapshot, epochs))))
