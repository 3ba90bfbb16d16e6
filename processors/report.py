"""What commands print: the indicators of a running process, and the doctor's findings, as tables."""

import http.client
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from processors.audit import Audit
from processors.catalogue import INDICATORS
from processors.doctor import Finding
from processors.page import age, number
from processors.readings import Snapshot
from processors.standings import as_json
from processors.thresholds import watches
from streams.errors import StoreFault, UsageError
from streams.listening import Door
from streams.settings import Settings
from streams.values import Listen

_COLOURS = {"ok": "green", "note": "yellow", "failed": "red", "info": "blue", "warning": "yellow", "critical": "red"}


def fetch(listen: Listen, door: Door) -> dict[str, Any]:
    """What the process that serves on `listen` answers to `/api/indicators`, to who knows what lets in by `door`.

    Raises:
        StoreFault: nothing answers there, or not with indicators.
        UsageError: the certificate that it must show can not be read, or it wants another name or password.
    """
    context = door.client()
    connection = (
        http.client.HTTPConnection(listen.host, listen.port, timeout=10)
        if context is None
        else http.client.HTTPSConnection(listen.host, listen.port, timeout=10, context=context)
    )
    try:
        connection.request("GET", "/api/indicators", headers={"Authorization": door.authorization} if door.authorization else {})
        with connection.getresponse() as response:
            found = dict(json.loads(response.read(1 << 24)))
    except (OSError, http.client.HTTPException, ValueError, TypeError) as error:
        reason = "something else answers" if isinstance(error, ValueError) else str(error)
        raise StoreFault(f"no fvm-pulse answers at {listen} ({reason}): start one with fvm-pulse run, or name its --listen") from error
    finally:
        connection.close()
    if response.status == http.HTTPStatus.UNAUTHORIZED:
        advice = "give the same as that process has" if door.authorization else "it wants them"
        raise UsageError(f"listen_username, listen_password_file: the fvm-pulse at {listen} does not let us in: {advice}")
    if response.status != http.HTTPStatus.OK or "networks" not in found:
        raise StoreFault(f"the fvm-pulse at {listen} has no indicators now: {found.get('error', f'HTTP {response.status}')}")
    return found


def of(snapshots: Sequence[Snapshot], settings: Settings) -> dict[str, Any]:
    """The same, of what was just read."""
    return as_json(snapshots, watches(INDICATORS, settings.preset, settings.thresholds), time.time())


def print_json(found: dict[str, Any]) -> None:
    """As it came, indented."""
    print(json.dumps(found, indent=2))


def print_indicators(found: dict[str, Any]) -> None:
    """A table for each network."""
    console = Console()
    if not found["networks"]:
        console.print("nothing is processed yet")
    for network in found["networks"]:
        console.print(_indicators(network))
        if (unknown := network.get("unknown_contracts")) and unknown["contracts"]:
            console.print(_unknown(unknown))


def _indicators(network: dict[str, Any]) -> Table:
    title = f"{network['network']}, newest tipset {age(network['age_seconds'])} old"
    caption = "state, and how much of the window is covered where that is not all"
    table = Table(title=title, title_justify="left", caption_justify="left", caption=caption, show_edge=False)
    table.add_column("indicator", ratio=3)
    table.add_column("window", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("alerts and trend", ratio=2)
    for row in network["indicators"]:
        levels = [f"{level['severity']} {level['bound']} {number(level['value'], row['unit'])}" for level in row["thresholds"]]
        for window, figure in _shown(row):
            trend = [_trend(row["trend"])] if row.get("trend") and window == row["watched_window"] else []
            table.add_row(
                row["title"],
                window,
                number(figure["value"], row["unit"]),
                Text(_state(row["state"], figure["coverage"]), style=_COLOURS.get(row["state"], "dim")),
                "\n".join([*levels, *trend]),
            )
    return table


def _state(state: str, coverage: float | None) -> str:
    return f"{state} {number(coverage, 'ratio')}" if coverage is not None and coverage < 1 else state


def _trend(trend: dict[str, Any]) -> str:
    return f"{trend['change'] * 100:+.1f} % of {trend['against']}"


def _unknown(unknown: dict[str, Any]) -> Table:
    """Contracts that nothing tells anything about: candidates for the contracts file."""
    table = Table(title=f"unknown contracts by gas, last {unknown['epochs']:,} epochs", title_justify="left")
    table.add_column("contract")
    table.add_column("gas", justify="right")
    for one in unknown["contracts"]:
        table.add_row(one["address"], number(one["gas"], "gas"))
    return table


def _shown(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The watched window and its figure; where that window is not kept, every one that is."""
    watched, windows = row["watched_window"], row["windows"]
    if watched in windows or not windows:
        yield watched, windows.get(watched) or {"value": None, "coverage": None}
    else:
        yield from windows.items()


def print_findings(findings: Iterable[Finding]) -> None:
    """One line a finding, with what to do under those that are not well."""
    table = Table(show_edge=False)
    for heading in ("what", "check", "state", "found"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        found = Text(finding.detail)
        if finding.advice:
            found.append(f"\n→ {finding.advice}", style="italic")
        table.add_row(finding.subject, finding.check, Text(finding.outcome, style=_COLOURS[finding.outcome]), found)
    Console().print(table)


def print_inquiry(found: dict[str, Any]) -> None:
    """A contract's class, and what each rule found."""
    console = Console()
    table = Table(show_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    project = found["project"] or "not known"
    rows = {"address": found["address"], "also": found["delegated"], "chain": str(found["chain_id"]), "code": found["code_hash"]}
    rows |= {
        "class": found["class"],
        "project": project,
        "decided by": found["decided_by"],
        "runs": found["implementation"] or "its own code",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    tried = Table(title="rules in their order; the first that finds anything decides", title_justify="left")
    for heading in ("rule", "class", "project", "found"):
        tried.add_column(heading, overflow="fold")
    for rule in found["tried"]:
        tried.add_row(rule["rule"], rule["class"] or "—", rule["project"] or "—", rule["evidence"] or "nothing")
    console.print(tried)


def print_audit(outcome: Audit, *, as_json: bool) -> None:
    """What was compared, and what differs."""
    if as_json:
        print(json.dumps(asdict(outcome), indent=2))
        return
    console = Console()
    if outcome.differences:
        table = Table(title=f"{len(outcome.differences)} of {outcome.compared} figures differ", title_justify="left")
        for heading in ("window", "figure", "held", "recounted"):
            table.add_column(heading, justify="right" if heading in {"held", "recounted"} else "left")
        for one in outcome.differences:
            table.add_row(one.window, one.figure, str(one.held), str(one.recounted))
        console.print(table)
    for height in outcome.wrong:
        console.print(f"epoch {height} is wrong: fvm-pulse audit --repair has it written again")
    if not outcome.differences:
        console.print(
            f"all {outcome.compared} figures up to epoch {outcome.head} equal the recount; epochs written again: {len(outcome.repaired)}"
        )
