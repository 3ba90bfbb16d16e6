"""The catalogue's rows about the network's economy: storage power, supply, staking."""

from processors import samples as s
from processors.growth import annualised, growth
from processors.row import Row
from processors.samples import ATTOFIL_PER_FIL
from processors.state_samples import BACK, KINDS, VERSION, power_growth, ratio, smoothed_growth, staking_yield, value
from processors.thresholds import Indicator, Threshold
from processors.windows import DAY_EPOCHS

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
        needs=("power",),
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
        needs=("power",),
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
                stretches=(*BACK, "smoothed"),
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
        needs=("power",),
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
                stretches=tuple(BACK),
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
        needs=("circulating",),
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
        needs=("supply",),
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
        needs=("supply",),
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
        needs=("circulating",),
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
        needs=("circulating",),
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
        needs=("reward", "power"),
        stretch_epochs=DAY_EPOCHS,
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
