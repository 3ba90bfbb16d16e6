"""The status page: plain HTML that needs no script, no font and no file beside it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from processors import samples as s
from processors.classify import CLASSES
from processors.readings import Snapshot
from processors.row import GROUPS, Unit
from processors.sparkline import sparkline
from processors.standings import Standing, State, age_seconds, standings
from processors.style import ICON, ICON_LINK, SHEET
from processors.thresholds import Watch
from processors.trail import Point, Trail
from streams import account
from streams.account import Account, Endpoint

REFRESH_SECONDS = 30
SILENT_SECONDS = 60.0
"""A follower that has not spoken for so long may be gone."""

WORST_FIRST: tuple[State, ...] = ("critical", "warning", "stale", "info", "filling", "unavailable", "ok")
WORDS: dict[State, str] = {
    "ok": "● ok",
    "info": "○ short of goal",
    "warning": "▲ warning",
    "critical": "■ critical",
    "stale": "◌ stale",
    "filling": "◔ filling",
    "unavailable": "— unavailable",
}


UNITS: dict[str, tuple[tuple[float, str], ...]] = {
    "gas": ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")),
    "bytes": tuple(
        (2.0**power, prefix) for power, prefix in ((60, "EiB"), (50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "B"))
    ),
    "FIL": ((1e9, "G FIL"), (1e6, "M FIL"), (1, "FIL")),
    "USD": ((1e9, "G USD"), (1e6, "M USD"), (1, "USD")),
}
"""Prefixes by unit, the largest first."""


def number(value: float | None, unit: Unit | str) -> str:
    """A value for reading: ratios as per cent, large amounts with a prefix, counts grouped."""
    if value is None:
        return "—"
    if unit == "ratio":
        return f"{value * 100:,.{2 if abs(value) >= 0.01 or value == 0 else 4}f} %"
    for size, name in UNITS.get(unit, ()):
        if abs(value) >= size:
            return f"{value / size:,.2f} {name}"
    if unit in {"FIL", "USD"}:
        return f"{value:,.{6 if unit == 'FIL' else 2}f} {unit}"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def age(seconds: float | None) -> str:
    """A span for reading."""
    if seconds is None:
        return "—"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def render(
    snapshots: Sequence[Snapshot] | None, watches: Sequence[Watch], endpoints: Mapping[str, Endpoint], trail: Trail, now: float
) -> str:
    """The whole page; `snapshots` is None where Redis can not be read, `endpoints` are those of this process, `trail` is the past."""
    if snapshots is None:
        body = '<p class="alarm">Redis can not be read: no figures until it is back. This page tries again by itself.</p>'
    elif not snapshots:
        body = "<p>Waiting for the first word of a node.</p>"
    else:
        body = "".join(_network(snapshot, watches, trail, now) for snapshot in snapshots)
    if endpoints and not any(_account(snapshot) for snapshot in snapshots or ()):
        body += f"<h3>Endpoints</h3>{_endpoints(endpoints)}"
    when = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><title>FVM Pulse</title>{ICON_LINK}<style>{SHEET}</style></head><body>'
        f'<header><h1>{ICON}FVM Pulse</h1><span class="dim">{when}</span></header><main>{body}</main>'
        '<footer><p class="dim">Same figures: <a href="/metrics">/metrics</a>, <a href="/api/indicators">/api/indicators</a>. '
        'Probes: <a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>.</p></footer></body></html>'
    )


def _network(snapshot: Snapshot, watches: Sequence[Watch], trail: Trail, now: float) -> str:
    found = standings(snapshot, watches, now)
    groups = {group: [standing for standing in found if standing.group == group] for group in GROUPS}
    cards = "".join(_group(GROUPS[group], members, snapshot.network, trail) for group, members in groups.items() if members)
    told = _account(snapshot)
    sides = _coverage(snapshot) + (_following(told, now) if told else "")
    return (
        f"<h2>{escape(snapshot.network)}</h2>{_position(snapshot, now)}{_summary(found)}{cards}"
        f'<div class="sides">{sides}</div>{_gas(snapshot)}'
    )


def _group(title: str, members: Sequence[Standing], network: str, trail: Trail) -> str:
    """A group's cards; those that have nothing to tell are folded away, each under why that is."""
    told = [one for one in members if _tells(one)]
    silent = [one for one in members if not _tells(one)]
    folded = ""
    for state in dict.fromkeys(one.state for one in silent):
        ones = [one for one in silent if one.state == state]
        names = escape(", ".join(one.title for one in ones))
        folded += f"<details><summary>{WORDS[state]}: {names}</summary>{_cards(ones, network, trail)}</details>"
    return f"<h3>{escape(title)}</h3>{_cards(told, network, trail) if told else ''}{folded}"


def _tells(standing: Standing) -> bool:
    """Whether any of its windows has a value."""
    return any(figure.value is not None for figure in standing.figures.values())


def _cards(members: Iterable[Standing], network: str, trail: Trail) -> str:
    return f'<section class="cards">{"".join(_card(one, trail.points(network, one.name)) for one in members)}</section>'


def _position(snapshot: Snapshot, now: float) -> str:
    """Where the node is and where we are."""
    head = next((value for _, value in s.fact("node_head_epoch")(snapshot)), None)
    processed = next((value for _, value in s.processed_epoch(snapshot)), None)
    return (
        f'<p class="dim">Node at epoch {number(head, "epochs")}, processed to {number(processed, "epochs")}; '
        f"newest tipset {age(age_seconds(snapshot, now))} old.</p>"
    )


def _summary(found: Sequence[Standing]) -> str:
    """How many indicators are in each state, the worst first."""
    counts = Counter(standing.state for standing in found)
    items = "".join(f'<li><span class="tag {state}">{WORDS[state]}</span> {counts[state]}</li>' for state in WORST_FIRST if counts[state])
    return f'<ul class="states">{items}</ul>'


def _card(standing: Standing, points: Sequence[Point]) -> str:
    figure, threshold = standing.figure, standing.threshold
    value, levels = figure.value if figure else None, threshold.levels if threshold else {}
    notes = [
        f"{severity} {threshold.bound} {number(level, standing.unit)}"
        for severity, level in levels.items()
        if threshold and severity != "info"
    ]
    if standing.goal is not None:
        notes.append(f"article: {number(standing.goal, standing.unit)}")
    if told := remark(standing.state, standing.reason, standing.coverage, standing.age_seconds):
        notes.insert(0, told)
    others = [
        f"{other.window} {number(other.value, standing.unit)}"
        for other in standing.figures.values()
        if other is not figure and other.value is not None
    ]
    lines = "".join(f"<li>{escape(' · '.join(line))}</li>" for line in (notes, others) if line)
    span = f"{standing.title}, the last {age(points[-1].at_seconds - points[0].at_seconds)}" if points else ""
    return (
        f'<article class="card {standing.state}">'
        f'<h4>{escape(standing.title)} <span class="tag {standing.state}">{WORDS[standing.state]}</span></h4>'
        f'<div class="figure"><b>{number(value, standing.unit)}</b> <small>{escape(standing.window)}</small></div>'
        f"{sparkline(points, levels, escape(span))}<ul>{lines}</ul></article>"
    )


def remark(state: State | str, reason: str | None, coverage: float | None, age_seconds: float | None) -> str:
    """Why an indicator in this state is not judged, in words; empty for one that is."""
    if state == "stale":
        return f"{age(age_seconds)} old"
    share = f"{number(coverage, 'ratio')} known" if state == "filling" and coverage is not None else ""
    return ": ".join(part for part in (share, reason) if part)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = "".join(f"<th>{title}</th>" for title in head)
    cells = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{cells}</tbody></table></div>'


def _coverage(snapshot: Snapshot) -> str:
    rows = [(escape(labels["window"]), number(share, "ratio"), _bar(share)) for labels, share in s.coverage(snapshot)]
    return f"<section><h3>Coverage</h3>{_table(('window', 'epochs known', ''), rows)}</section>" if rows else ""


def _bar(share: float) -> str:
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect width="100" height="8" rx="1"/>'
        f'<rect class="part" width="{share * 100:.1f}" height="8" rx="1"/></svg>'
    )


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
    return "<h3>Gas by class of contract</h3>" + _table(("class", *(escape(window.name) for window in windows)), [*rows, total, share])


def _account(snapshot: Snapshot) -> Account | None:
    """What the follower of this network tells of itself."""
    return account.read(snapshot.latest.get("follower"))


def _following(told: Account, now: float) -> str:
    """The follower's endpoints and the last reorgs that it saw."""
    silent = now - told.at_seconds
    late = f'<p class="tag critical">The follower said this {age(silent)} ago.</p>' if silent > SILENT_SECONDS else ""
    reorgs = "; ".join(
        f"{reorg.depth_epochs} epoch{'s' * (reorg.depth_epochs != 1)} {age(max(0.0, now - reorg.at_seconds))} ago" for reorg in told.reorgs
    )
    return (
        f"<section><h3>Endpoints</h3>{late}{_endpoints(told.endpoints)}"
        f'<p class="dim">Last reorgs: {reorgs or "none since the follower started"}.</p></section>'
    )


def _endpoints(endpoints: Mapping[str, Endpoint]) -> str:
    rows = [
        (escape(name), f'<span class="tag {"ok" if one.up else "critical"}">{"● up" if one.up else "■ down"}</span>', f"{one.reconnects:,}")
        for name, one in endpoints.items()
    ]
    return _table(("endpoint", "state", "reconnects"), rows)
