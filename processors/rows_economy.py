"""The catalogue's rows about the network's economy: storage power, supply, staking."""

from collections.abc import Callable, Iterator

from processors import samples as s
from processors.growth import annualised, growth, momentary, reward_yield
from processors.readings import Sample, Snapshot
from processors.row import Row
from processors.samples import ATTOFIL_PER_FIL
from processors.thresholds import Indicator, Threshold
from processors.upgrades import Quantity, between, changed
from processors.windows import DAY_EPOCHS

KINDS: tuple[Quantity, ...] = ("raw", "quality_adjusted")
BACK = {"7d": 7 * DAY_EPOCHS, "30d": 30 * DAY_EPOCHS, "90d": 90 * DAY_EPOCHS}
VERSION = "network_version"


def value(name: str, scale: int = 1, **fixed: str) -> s.Samples:
    """The newest sample of one name, over `scale`."""

    def samples(snapshot: Snapshot) -> Iterator[s.Sample]:
        if (sample := snapshot.state.latest.get(name)) is not None:
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
    then, now = snapshot.state.past.get(back, {}).get(VERSION), snapshot.state.latest.get(VERSION)
    return (then.value if then is not None else None), (now.value if now is not None else None)


def compared(snapshot: Snapshot, name: str, quantity: Quantity, back: int) -> tuple[Sample, Sample] | None:
    """The newest sample and the one so far back; None where one is missing, or an upgrade between them changed the formula."""
    now, then = snapshot.state.latest.get(name), snapshot.state.past.get(back, {}).get(name)
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
    latest, head = snapshot.state.latest, snapshot.state.head or 0
    position, velocity = latest.get("power:position_q128"), latest.get("power:velocity_q128")
    if position is None or velocity is None:
        return
    if changed("quality_adjusted", snapshot.network, head - DAY_EPOCHS, head, versions(snapshot, DAY_EPOCHS)):
        return
    if (found := momentary(position, velocity)) is not None:
        yield {"kind": "quality_adjusted", "window": "smoothed"}, found


def staking_yield(snapshot: Snapshot) -> Iterator[s.Sample]:
    """The day's reward to storage providers over the pledge."""
    minted = compared(snapshot, "reward:minted_attofil", "reward", DAY_EPOCHS)
    locked = snapshot.state.latest.get("power:pledge_attofil")
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
    stretches = {window.name: window.epochs for window in s.windows(snapshot)} | BACK
    reading = s.known(snapshot, "tipsets")
    head = snapshot.state.head if reading is None else reading.head
    if head is None:
        return
    for name, epochs in stretches.items():
        yield {"window": name}, float(any(between(snapshot.network, head - epochs, head, versions(snapshot, epochs))))


_UPGRADES = "Absent while the stretch contains an upgrade that changed what the power means."
_SUPPLY = "As StateVMCirculatingSupplyInternal has it; from the actors' states where the node does not serve that."

ECONOMY = (
    Row(
        metric="filecoin_power_bytes",
        help="Storage power of the network, by kind.",
        unit="bytes",
        group="economy",
        labels=("kind",),
        samples=s.joined(*(value(f"power:{kind}_bytes", kind=kind) for kind in KINDS)),
        definition="Raw and quality-adjusted power of f04, of providers above the minimum. Raw power is the capacity that is sealed.",
        silent="How much of the capacity holds data: since network version 29 quality no longer tells that. 1 EB is 0.87 EiB.",
        claim="The network stores 1.8 EB.",
        counted=False,
        indicators=(
            Indicator(
                name="stored_capacity",
                title="Sealed capacity",
                window="",
                labels={"kind": "raw"},
                presets={"article": Threshold("below", goal=1.8e18)},
            ),
            Indicator(
                name="stored_capacity_trend",
                title="Sealed capacity against the last 7 days",
                window="",
                labels={"kind": "raw"},
                baseline_days=7,
                presets={"default": Threshold("below", warn=0.95)},
            ),
        ),
    ),
    Row(
        metric="filecoin_power_growth_annualized_ratio",
        help="Growth of storage power a year, by kind and by the stretch that it is measured over.",
        unit="ratio",
        group="economy",
        labels=("kind", "window"),
        samples=s.joined(power_growth(lambda now, then, _: annualised(now, then)), smoothed_growth),
        definition="Compound: (now / then) ^ (year / elapsed) - 1. `smoothed` is the chain's own estimate of this moment: "
        "velocity / position over a year, simple. " + _UPGRADES,
        silent="Whether more is stored: since network version 29 a new sector counts tenfold, so renewing raises it. See `raw` beside it.",
        claim="Effective storage power grows by 62 % a year.",
        counted=False,
        indicators=(
            Indicator(
                name="power_growth",
                title="Growth of effective storage power, a year",
                window="30d",
                labels={"kind": "quality_adjusted"},
                hold="6h",
                presets={"default": Threshold("below", warn=-0.5), "article": Threshold("below", goal=0.62)},
            ),
        ),
    ),
    Row(
        metric="filecoin_power_growth_ratio",
        help="Growth of storage power over the stretch, by kind.",
        unit="ratio",
        group="economy",
        labels=("kind", "window"),
        samples=power_growth(growth),
        definition="Now over then, less 1, brought to exactly the stretch. 90d is quarter on quarter. " + _UPGRADES,
        silent="What came and went in between.",
        claim="Capacity grew by 58 % quarter on quarter after the launch.",
        counted=False,
        indicators=(
            Indicator(
                name="capacity_growth",
                title="Quarterly growth of sealed capacity",
                window="90d",
                labels={"kind": "raw"},
                hold="6h",
                presets={"default": Threshold("below", warn=-0.2), "article": Threshold("below", goal=0.58)},
            ),
        ),
    ),
    Row(
        metric="filecoin_circulating_fil",
        help="Circulating supply.",
        unit="FIL",
        group="economy",
        samples=value("supply:circulating_attofil", ATTOFIL_PER_FIL),
        definition="Vested + mined + disbursed of the reserve - burnt - locked, not below 0. "
        + _SUPPLY
        + " What vested is no actor's state: there the supply is known on mainnet only, where all has vested.",
        silent="What is locked elsewhere: in multisigs, in pools, as vesting rewards of providers.",
        counted=False,
    ),
    Row(
        metric="filecoin_locked_fil",
        help="FIL that storage providers locked as pledge.",
        unit="FIL",
        group="economy",
        samples=value("supply:locked_attofil", ATTOFIL_PER_FIL),
        definition=_SUPPLY + " Since network version 23 the pledge alone.",
        silent="Whose it is: much of it is lent. Vesting rewards are locked as well, and not in here.",
        claim="More than 140 M FIL are staked.",
        counted=False,
        indicators=(
            Indicator(name="locked", title="FIL locked as pledge", window="", presets={"article": Threshold("below", goal=140e6)}),
            Indicator(
                name="locked_trend",
                title="FIL locked against the last 7 days",
                window="",
                baseline_days=7,
                presets={"default": Threshold("below", warn=0.95)},
            ),
        ),
    ),
    Row(
        metric="filecoin_supply_recomputed",
        help="Whether the supply is recomputed from actors, 1, or told by the node, 0.",
        unit="state",
        group="economy",
        samples=value("supply:recomputed"),
        definition="1 where the node refuses StateVMCirculatingSupplyInternal, as gateways do.",
        silent="Any difference in the figures: where all parts are known there is none.",
        counted=False,
    ),
    Row(
        metric="filecoin_locked_to_circulating_ratio",
        help="Locked over circulating supply.",
        unit="ratio",
        group="economy",
        samples=ratio("supply:locked_attofil", "supply:circulating_attofil"),
        definition="filecoin_locked_fil over filecoin_circulating_fil, both of the same tipset.",
        silent="No share of a whole: the circulating supply excludes what is locked, so it may be above 1.",
        claim="29 % of the circulating supply is staked.",
        counted=False,
        indicators=(
            Indicator(
                name="locked_share",
                title="Locked over circulating FIL",
                window="",
                hold="6h",
                presets={"default": Threshold("below", warn=0.05), "article": Threshold("below", goal=0.29)},
            ),
        ),
    ),
    Row(
        metric="filecoin_locked_share_ratio",
        help="Locked over locked and circulating supply together.",
        unit="ratio",
        group="economy",
        samples=ratio("supply:locked_attofil", "supply:locked_attofil", "supply:circulating_attofil"),
        definition="The share of the two that is locked.",
        silent="The supply that is neither: unvested, unmined, burnt, in the reserve.",
        counted=False,
    ),
    Row(
        metric="filecoin_staking_apy_ratio",
        help="Reward to storage providers over a day, as a yearly yield on what is locked.",
        unit="ratio",
        group="economy",
        samples=staking_yield,
        definition="Rise of the minted reward of f02 in about 24 h, less what of it was burnt or given out (since network version 29), "
        "over the epochs elapsed, over the pledge of f04, times a year. Simple, not compound.",
        silent="What a provider earns: costs, fees, penalties, interest and vesting are not in it; nor is a loan's yield.",
        claim="Staking yields rose by 23 % after the launch.",
        counted=False,
        indicators=(
            Indicator(
                name="staking_apy",
                title="Yield of storage staking",
                window="",
                hold="6h",
                presets={"default": Threshold("below", warn=0.01), "article": Threshold("below", goal=0.23)},
            ),
        ),
    ),
    Row(
        metric="filecoin_burnt_fil",
        help="All FIL ever burnt: the balance of f099.",
        unit="FIL",
        group="economy",
        samples=value("burnt:attofil", ATTOFIL_PER_FIL),
        definition="StateGetActor f099, after the newest sampled tipset.",
        silent="What for: gas is a small part of it since daily fees are burnt by cron.",
        counted=False,
    ),
    Row(
        metric="filecoin_network_version",
        help="Version of the network's rules.",
        unit="state",
        group="economy",
        samples=value(VERSION),
        definition="StateNetworkVersion, read with each sample of the power.",
        silent="When the next upgrade is due.",
        counted=False,
    ),
)
