"""The catalogue's rows about contracts that are made: how many, whose, how new."""

from processors import samples as s
from processors.row import Row
from processors.thresholds import Indicator, Threshold

_INTERNAL = "`internal`: contracts that contracts made, from the traces of calls that held; absent where no traces are told."

DEPLOYMENTS = (
    Row(
        metric="fvm_rolling_contract_deployments",
        help="Contracts created in the window, by kind of creation.",
        unit="contracts",
        group="activity",
        labels=("kind", "window"),
        samples=s.joined(
            s.summed("deployments:direct", kind="direct"),
            s.per_window(s.internal_deployments, kind="internal"),
        ),
        definition="`direct`: successful messages that created a contract. "
        + _INTERNAL
        + " A contract made again at its old address is none.",
        silent="How many are of use: factories and tests inflate it. `internal` misses tipsets without traces: pulse_trace_coverage_ratio.",
        claim="More than 270,000 contracts were deployed since March 2023.",
    ),
    Row(
        metric="fvm_contract_deployments",
        help="Contracts created since the first epoch kept.",
        unit="contracts",
        group="activity",
        samples=s.kept_deployments,
        definition="Both kinds over every epoch that is kept: twice the longest window and 900 epochs, or since pulse_first_epoch.",
        silent="What was deployed before: to compare it with the article's total, history must be filled and windows be long. Of tipsets "
        "without traces only direct creations count.",
        claim="More than 270,000 contracts were deployed since March 2023.",
        indicators=(
            Indicator(
                name="deployments",
                title="Contracts deployed since the first epoch kept",
                window="",
                presets={"article": Threshold("below", goal=270_000)},
            ),
        ),
    ),
    Row(
        metric="fvm_unique_contract_deployments",
        help="Distinct codes of the contracts created in the window.",
        unit="contracts",
        group="activity",
        labels=("window",),
        samples=s.distinct("deployed_code"),
        definition="Contracts created, direct and internal, each code (by its keccak hash) once.",
        silent="Contracts that differ in a constant only count as different; all proxies of one kind count once.",
    ),
    Row(
        metric="fvm_active_deployers",
        help="Distinct senders of messages that created contracts in the window.",
        unit="addresses",
        group="activity",
        labels=("window",),
        samples=s.distinct("deployer"),
        definition="Senders of messages that created a contract, or made a contract create one; each once, exactly.",
        silent="Whose they are: one team may deploy from many addresses, and a service for many teams from one.",
        indicators=(
            Indicator(name="deployers", title="Daily deployers", window="24h"),
            Indicator(
                name="deployers_trend",
                title="Daily deployers against the last 7 days",
                window="24h",
                baseline_days=7,
                presets={"default": Threshold("below", warn=0.25)},
            ),
        ),
    ),
    Row(
        metric="fvm_new_deployers",
        help="Deployers of the window that had created no contract before it.",
        unit="addresses",
        group="activity",
        labels=("window",),
        samples=s.per_window(s.new_deployers),
        needs=("before",),
        definition="Those of fvm_active_deployers that created none before the window, as far back as is kept: up to twice the longest "
        "window before now. Absent until the window of the same length just before is covered in full.",
        silent="Who deployed longer ago than is kept, in tipsets that are missing, or through a contract in tipsets without traces: it "
        "counts as new. Nor who is behind a fresh address.",
        claim="Projects grow by 40 % a month on average.",
        indicators=(Indicator(name="new_deployers", title="New deployers within 30 days", window="30d"),),
    ),
    Row(
        metric="fvm_deployment_growth_ratio",
        help="Growth of direct deployments against the window of the same length just before.",
        unit="ratio",
        group="activity",
        labels=("window",),
        samples=s.per_window(s.deployment_growth),
        needs=("before",),
        definition="Direct deployments now over direct deployments then, less 1. Only where both windows are covered in full.",
        silent="Contracts that contracts made: whether a node tells traces may differ between the two windows.",
        claim="Projects grow by 40 % a month on average.",
        indicators=(
            Indicator(
                name="deployment_growth",
                title="Monthly growth of deployments",
                window="30d",
                hold="6h",
                presets={"default": Threshold("below", warn=-0.8), "article": Threshold("below", goal=0.40)},
            ),
        ),
    ),
    Row(
        metric="fvm_deployer_growth_ratio",
        help="Growth of deployers against the window of the same length just before.",
        unit="ratio",
        group="activity",
        labels=("window",),
        samples=s.per_window(s.deployer_growth),
        needs=("before",),
        definition="Distinct deployers now over distinct deployers then, less 1. Only where both windows are covered in full.",
        silent="How many of them are new: the same address may deploy in both. See fvm_new_deployers.",
        claim="Projects grow by 40 % a month on average.",
        indicators=(
            Indicator(
                name="deployer_growth",
                title="Monthly growth of deployers",
                window="30d",
                hold="6h",
                presets={"default": Threshold("below", warn=-0.8), "article": Threshold("below", goal=0.40)},
            ),
        ),
    ),
)

TRACES = (
    Row(
        metric="pulse_trace_coverage_ratio",
        help="Share of the window's processed tipsets whose traces are known, 0 to 1.",
        unit="ratio",
        group="truth",
        labels=("window",),
        samples=s.per_window(s.traced),
        definition="Tipsets for which a node told the traces of every message, over tipsets processed.",
        silent="Why: many nodes do not serve trace_block, or `traces` is off. Without traces, internal deployments and burns inside of "
        "messages are not known; nothing else is missing.",
    ),
    Row(
        metric="pulse_first_epoch",
        help="Oldest epoch that is kept.",
        unit="epochs",
        group="truth",
        samples=s.first_epoch,
        definition="The lowest epoch of which anything is kept; below it nothing counts.",
    ),
)
