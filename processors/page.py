"""The status page: plain HTML that needs no script, no font and no file beside it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from textwrap import dedent

from processors import samples as s
from processors.classify import CLASSES
from processors.readings import Snapshot
from processors.row import Unit
from processors.standings import Standing, age_seconds, standings
from processors.thresholds import Watch

REFRESH_SECONDS = 30

STYLE = dedent(
    """
    :root { color-scheme: light dark; --ink: #1c2430; --dim: #5d6878; --paper: #f6f7f9; --card: #fff; --line: #dfe3e9;
      --ok: #1a7f4b; --info: #2563a8; --warning: #9a6700; --critical: #c02a2a; --bar: #3b82c4; }
    @media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --dim: #98a3b3; --paper: #12161c; --card: #1a2028;
      --line: #2d3642; --ok: #4cc38a; --info: #70b0f0; --warning: #e3b341; --critical: #ff7b72; --bar: #4a90d9; } }
    * { box-sizing: border-box; }
    body { margin: 0 auto; padding: 1.25rem; max-width: 62rem; background: var(--paper); color: var(--ink);
      font: 15px/1.5 system-ui, sans-serif; }
    h1 { margin: 0; font-size: 1.35rem; } h2 { margin: 1.75rem 0 .5rem; font-size: 1.05rem; }
    p { margin: .25rem 0; } .dim { color: var(--dim); } small { color: var(--dim); }
    .cards { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
    .card { padding: .8rem 1rem; background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--line);
      border-radius: 6px; }
    .card b { display: block; font-size: 1.6rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
    .ok { border-left-color: var(--ok); } .info { border-left-color: var(--info); }
    .warning { border-left-color: var(--warning); } .critical { border-left-color: var(--critical); }
    .tag { float: right; font-size: .8rem; } .tag.ok { color: var(--ok); } .tag.info { color: var(--info); }
    .tag.warning { color: var(--warning); } .tag.critical { color: var(--critical); font-weight: 600; }
    .wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
    table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
    th, td { padding: .35rem .8rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
    th:first-child, td:first-child { text-align: left; } tr:last-child td { border-bottom: 0; }
    th { font-weight: 600; color: var(--dim); font-size: .85rem; }
    meter { width: 100%; height: .8rem; }
    .alarm { padding: .8rem 1rem; border: 1px solid var(--critical); border-radius: 6px; color: var(--critical); }
    """
).strip()

WORDS = {
    "ok": "● ok",
    "info": "○ below goal",
    "warning": "▲ warning",
    "critical": "■ critical",
    "partial": "◔ filling",
    "unknown": "— not known",
}


def number(value: float | None, unit: Unit | str) -> str:
    """A value for reading: ratios as per cent, large counts grouped or with a metric prefix."""
    if value is None:
        return "—"
    if unit == "ratio":
        return f"{value * 100:.{2 if abs(value) >= 0.01 or value == 0 else 4}f} %"
    if unit == "FIL":
        return f"{value:,.6f} FIL" if abs(value) < 1 else f"{value:,.2f} FIL"
    for size, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size and unit == "gas":
            return f"{value / size:,.2f} {prefix}"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def age(seconds: float | None) -> str:
    """A span for reading."""
    if seconds is None:
        return "—"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def render(snapshots: Sequence[Snapshot] | None, watches: Sequence[Watch], endpoints: Mapping[str, bool], now: float) -> str:
    """The whole page; `snapshots` is None where Redis can not be read, `endpoints` tells which are up."""
    if snapshots is None:
        body = '<p class="alarm">Redis can not be read: no figures until it is back. This page tries again by itself.</p>'
    elif not snapshots:
        body = "<p>Waiting for the first word of a node.</p>"
    else:
        body = "".join(_network(snapshot, watches, now) for snapshot in snapshots)
    when = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><title>FVM Pulse</title><style>{STYLE}</style></head><body>'
        f'<header><h1>FVM Pulse</h1><p class="dim">{when}</p></header><main>{body}{_endpoints(endpoints)}</main>'
        '<footer><p class="dim">Same figures: <a href="/metrics">/metrics</a>, <a href="/api/indicators">/api/indicators</a>; '
        'probes: <a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>.</p></footer></body></html>'
    )


def _network(snapshot: Snapshot, watches: Sequence[Watch], now: float) -> str:
    return (
        f"<h2>{escape(snapshot.network)}</h2>{_position(snapshot, now)}"
        f'<section class="cards">{"".join(_card(standing) for standing in standings(snapshot, watches))}</section>'
        f"{_coverage(snapshot)}{_gas(snapshot)}"
    )


def _position(snapshot: Snapshot, now: float) -> str:
    """Where the node is and where we are."""
    head = next((value for _, value in s.fact("node_head_epoch")(snapshot)), None)
    processed = next((value for _, value in s.processed_epoch(snapshot)), None)
    return (
        f'<p class="dim">Node at epoch {number(head, "epochs")}, processed to {number(processed, "epochs")}; '
        f"newest tipset {age(age_seconds(snapshot, now))} old.</p>"
    )


def _card(standing: Standing) -> str:
    figure, threshold = standing.figure, standing.threshold
    notes = (
        [f"{severity} {threshold.bound} {number(level, standing.unit)}" for severity, level in threshold.levels.items()]
        if threshold
        else []
    )
    if standing.goal is not None and (threshold is None or threshold.goal is None):
        notes.append(f"article: {number(standing.goal, standing.unit)}")
    others = [
        f"{escape(other.window)} {number(other.value, standing.unit)}"
        for other in standing.figures.values()
        if other.window != standing.window
    ]
    return (
        f'<article class="card {standing.state}"><span class="tag {standing.state}">{WORDS[standing.state]}</span>'
        f"{escape(standing.title)} <small>{escape(standing.window)}</small>"
        f"<b>{number(figure.value if figure else None, standing.unit)}</b>"
        f"<small>{escape(' · '.join(notes)) or 'no threshold'}<br>{' · '.join(others)}</small></article>"
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = "".join(f"<th>{title}</th>" for title in head)
    cells = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{cells}</tbody></table></div>'


def _coverage(snapshot: Snapshot) -> str:
    rows = [
        (escape(labels["window"]), number(share, "ratio"), f'<meter min="0" max="1" value="{share:.4f}">{share:.2%}</meter>')
        for labels, share in s.coverage(snapshot)
    ]
    return "<h2>Coverage</h2>" + _table(("window", "epochs known", ""), rows) if rows else ""


def _gas(snapshot: Snapshot) -> str:
    """Gas by class: a column per window, classes that used any, the largest of the longest window first."""
    windows = list(s.windows(snapshot))
    if not windows:
        return ""
    used = {name: [window.sums.get(f"gas:{name}", 0) for window in windows] for name in CLASSES}
    names = sorted((name for name in used if any(used[name])), key=lambda name: (-used[name][-1], name))
    rows = [(escape(name), *(number(value, "gas") for value in used[name])) for name in names]
    total = ("all FEVM", *(number(s.total(window, "gas"), "gas") for window in windows))
    share = ("share of all gas", *(number(s.gas_share(window), "ratio") for window in windows))
    return "<h2>Gas by class of contract</h2>" + _table(("class", *(escape(window.name) for window in windows)), [*rows, total, share])


def _endpoints(endpoints: Mapping[str, bool]) -> str:
    if not endpoints:
        return ""
    rows = [
        (escape(name), f'<span class="tag {"ok" if up else "critical"}">{"● up" if up else "■ down"}</span>')
        for name, up in endpoints.items()
    ]
    return "<h2>Endpoints</h2>" + _table(("endpoint", "state"), rows)
