"""The catalogue's rows about this program: how true its figures are, how far it is, what it watches."""

from processors import samples as s
from processors.row import Row
from processors.state_samples import window_upgrade
from processors.thresholds import Indicator, Threshold

TRUTH = (
    Row(
        metric="pulse_window_coverage_ratio",
        help="Share of the window's epochs that are processed or known to be null, in every stream, 0 to 1.",
        unit="ratio",
        group="truth",
        labels=("window",),
        samples=s.coverage,
        definition="The least over the streams of known epochs over epochs of the window. Indicators alert at 1 only.",
    ),
    Row(
        metric="fvm_window_upgrade",
        help="Whether an upgrade of the network lies inside the window: 1 or 0.",
        unit="state",
        group="truth",
        labels=("window",),
        samples=window_upgrade,
        definition="Formulae change at an upgrade, and figures jump: indicators over such a window do not alert.",
        silent="Upgrades that this release does not know of.",
    ),
    Row(
        metric="pulse_epochs",
        help="Epochs kept, by state, of the stream that misses most.",
        unit="epochs",
        group="truth",
        labels=("state",),
        samples=s.epochs,
        definition="`processed`, `null` (no tipset) and `missing` (not known), over all that is kept; `incomplete`: those of the longest "
        "window that lack receipts, logs or the code of a contract.",
    ),
    Row(
        metric="pulse_burn_unreconciled_attofil",
        help="Difference of computed burn and rise of f099 over the shortest window, in attoFIL.",
        unit="attoFIL",
        group="truth",
        samples=s.unreconciled,
        definition="Sum over tipsets of |rise of f099 - gas burn - value sent to f099|, by messages or in them, where the rise is known.",
        silent="Why: without traces, what contracts send to f099 is not seen; "
        "where cron burns sector fees outside of messages (mainnet, calibration) a rest is normal; elsewhere it is 0.",
    ),
    Row(
        metric="pulse_burn_coverage_ratio",
        help="Share of the window's processed tipsets whose rise of f099 is known, 0 to 1.",
        unit="ratio",
        group="truth",
        labels=("window",),
        samples=s.per_window(s.burnt_known),
        definition="Tipsets whose rise of f099 a node told, over tipsets processed.",
    ),
    Row(
        metric="pulse_unclassified_gas_share_ratio",
        help="Gas of FEVM messages to contracts of unknown class over gas of all FEVM messages, 0 to 1.",
        unit="ratio",
        group="truth",
        labels=("window",),
        samples=s.per_window(s.unclassified_share),
        definition="Gas under `unknown` over all FEVM gas.",
        silent="Whether a class that was found is right.",
        indicators=(
            Indicator(
                name="unclassified_gas_share",
                title="Gas of unknown contracts",
                window="24h",
                hold="6h",
                presets={"default": Threshold("above", warn=0.9)},
            ),
        ),
    ),
)

PIPELINE = (
    Row(
        metric="pulse_head_epoch",
        help="Epoch of the node's head.",
        unit="epochs",
        group="pipeline",
        samples=s.fact("node_head_epoch"),
        definition="The highest head that the followed node announced.",
    ),
    Row(
        metric="pulse_processed_epoch",
        help="Newest epoch that every stream has processed.",
        unit="epochs",
        group="pipeline",
        samples=s.processed_epoch,
        definition="The least of the streams' heads. One epoch behind the node is normal: receipts exist once a tipset has a child.",
    ),
    Row(
        metric="pulse_head_timestamp_seconds",
        help="Unix time of the node's head.",
        unit="seconds",
        group="pipeline",
        samples=s.fact("node_head_timestamp_seconds"),
        definition="The timestamp in the head tipset, not the time of its arrival.",
    ),
    Row(
        metric="pulse_processed_timestamp_seconds",
        help="Unix time of the newest processed tipset.",
        unit="seconds",
        group="pipeline",
        samples=s.fact("timestamp_seconds"),
        definition="The timestamp in the newest tipset whose messages are in the figures.",
    ),
    Row(
        metric="pulse_redis_up",
        help="Whether the last read of Redis succeeded.",
        unit="state",
        group="pipeline",
        samples=None,
        definition="1 or 0. At 0 every chain series is absent.",
    ),
    Row(
        metric="pulse_build_info",
        help="Always 1; the labels say what runs.",
        unit="state",
        group="pipeline",
        labels=("role", "version", "python"),
        samples=None,
        definition="The command that this process runs as `role`, the version of FVM Pulse and of Python.",
    ),
)

REDIS = (
    Row(
        metric="pulse_redis_memory_bytes",
        help="Memory that Redis uses, and how much it may use.",
        unit="bytes",
        group="redis",
        labels=("kind",),
        samples=None,
        definition="`used` and `max` of the server. Without `maxmemory` the limit is the memory of its machine.",
        silent="Limits of a container that Redis does not know of.",
    ),
    Row(
        metric="pulse_redis_keys",
        help="Keys in Redis.",
        unit="keys",
        group="redis",
        samples=None,
        definition="Keys of every database of the server.",
        silent="Their size: members and fields live in few keys.",
    ),
    Row(
        metric="pulse_redis_clients",
        help="Connections to Redis.",
        unit="connections",
        group="redis",
        samples=None,
        definition="Connections of clients, ours and others'.",
    ),
    Row(
        metric="pulse_redis_commands_total",
        help="Commands that Redis has processed since it was started.",
        unit="commands",
        group="redis",
        kind="counter",
        samples=None,
        definition="Every command of every client; those inside of a script count too.",
    ),
    Row(
        metric="pulse_redis_evicted_keys_total",
        help="Keys that Redis threw away for lack of memory since it was started.",
        unit="keys",
        group="redis",
        kind="counter",
        samples=None,
        definition="It must stay 0: set `maxmemory-policy noeviction`.",
    ),
    Row(
        metric="pulse_redis_persistence_up",
        help="Whether the last write of Redis to its disk succeeded.",
        unit="state",
        group="redis",
        samples=None,
        definition="1 or 0, over append-only file, its rewriting, and snapshots; 1 where a server keeps nothing on disk.",
    ),
)

THRESHOLDS = (
    Row(
        metric="fvm_indicator_threshold",
        help="Level at which an indicator alerts, by bound and severity.",
        unit="any",
        group="thresholds",
        labels=("indicator", "bound", "severity"),
        samples=None,
        definition="From the configuration; one generic alert compares it with fvm:indicator:value.",
    ),
    Row(
        metric="fvm_indicator_info",
        help="Always 1; what an indicator watches.",
        unit="state",
        group="thresholds",
        labels=("indicator", "unit", "window", "hold"),
        samples=None,
        definition="The unit, the watched window, and how long a level must be crossed before it alerts.",
    ),
)
