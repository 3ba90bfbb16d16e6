"""What commands print: the indicators of a running process, and the doctor's findings, as tables."""

import http.client
import json
import sys
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
from processors.page import age, number, remark
from processors.readings import Snapshot
from processors.standings import as_json
from processors.thresholds import watches
from streams.errors import StoreFault, UsageError
from streams.listening import Door
from streams.settings import Settings
from streams.values import Listen

WIDE = 10_000
"""Characters of a line where nobody looks at a terminal."""
SHOWN_HEIGHTS = 10
_COLOURS = {"ok": "green", "note": "yellow", "failed": "red", "info": "blue", "stale": "red", "warning": "yellow", "critical": "red"}


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
    return as_json(snapshots, watches(INDICATORS, settings.preset, settings.thresholds, settings.windows), time.time())


def print_json(found: dict[str, Any]) -> None:
    """As it came, indented."""
    print(json.dumps(found, indent=2))


def print_indicators(found: dict[str, Any]) -> None:
    """A table for each network."""
    console = _console()
    if not found["networks"]:
        console.print("nothing is processed yet")
    for network in found["networks"]:
        console.print(_indicators(network))
        if (unknown := network.get("unknown_contracts")) and unknown["contracts"]:
            console.print(_unknown(unknown))


def _console() -> Console:
    """The terminal; whoever reads a pipe or a file gets whole lines, however long."""
    return Console() if sys.stdout.isatty() else Console(width=WIDE)


def _table(title: str, *headings: str, right: Iterable[str] = ()) -> Table:
    """A table whose cells fold on a terminal; `right` are headings of figures."""
    table = Table(title=title or None, title_justify="left", show_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading in right else "left")
    return table


def _indicators(network: dict[str, Any]) -> Table:
    title = f"{network['network']}, newest tipset {age(network['age_seconds'])} old"
    table = _table(title, "indicator", "window", "value", "state", "why, trend, alerts", right=("value",))
    for column in table.columns[1:4]:
        column.no_wrap = True
    for row in network["indicators"]:
        watched = row["watched_window"]
        figure = row["windows"].get(watched, {"value": None})
        state = Text(row["state"], style=_COLOURS.get(row["state"], "dim"))
        table.add_row(row["title"], watched, number(figure["value"], row["unit"]), state, "; ".join(_notes(row)))
        for window, other in row["windows"].items() if figure["value"] is None else ():
            if window != watched and other["value"] is not None:
                share = remark("filling", None, other["coverage"], None) if other["coverage"] < 1 else ""
                table.add_row(row["title"], window, number(other["value"], row["unit"]), Text("not watched", style="dim"), share)
    return table


def _notes(row: dict[str, Any]) -> Iterator[str]:
    if told := remark(row["state"], row.get("reason"), row.get("coverage"), row.get("age_seconds")):
        yield told
    if trend := row.get("trend"):
        yield f"{trend['change'] * 100:+.1f} % of {trend['against']}"
    for level in row["thresholds"]:
        yield f"{level['severity']} {level['bound']} {number(level['value'], row['unit'])}"


def _unknown(unknown: dict[str, Any]) -> Table:
    """Contracts that nothing tells anything about: candidates for the contracts file."""
    table = _table(f"unknown contracts by gas, last {unknown['epochs']:,} epochs", "contract", "gas", right=("gas",))
    for one in unknown["contracts"]:
        table.add_row(one["address"], number(one["gas"], "gas"))
    return table


def print_findings(findings: Iterable[Finding]) -> None:
    """One line a finding, with what to do under those that are not well."""
    table = _table("", "what", "check", "state", "found")
    for finding in findings:
        found = Text(finding.detail)
        if finding.advice:
            found.append(f"\n→ {finding.advice}", style="italic")
        table.add_row(finding.subject, finding.check, Text(finding.outcome, style=_COLOURS[finding.outcome]), found)
    _console().print(table)


def print_inquiry(found: dict[str, Any]) -> None:
    """A contract's class, and what each rule found."""
    console = _console()
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
    untold = "not seen" if found["followed"] else "not known: name the Redis of a follower"
    rows |= {"made by": found["created_by"] or untold, "announced by": found["announced_by"] or untold}
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    tried = _table("rules in their order; the first that finds anything decides", "rule", "class", "project", "found")
    for rule in found["tried"]:
        tried.add_row(rule["rule"], rule["class"] or "—", rule["project"] or "—", rule["evidence"] or "nothing")
    console.print(tried)


def print_audit(outcome: Audit, *, as_json: bool) -> None:
    """What was compared, and what differs."""
    if as_json:
        print(json.dumps(asdict(outcome), indent=2))
        return
    console = _console()
    if outcome.differences:
        title = f"{len(outcome.differences)} of {outcome.compared} figures differ"
        table = _table(title, "window", "figure", "held", "recounted", right=("held", "recounted"))
        for one in outcome.differences:
            table.add_row(one.window, one.figure, str(one.held), str(one.recounted))
        console.print(table)
    if outcome.only_classes:
        console.print("only classes differ: what is known of contracts, or the contracts file, is newer than what was counted")
    if outcome.wrong:
        shown = ", ".join(map(str, outcome.wrong[:SHOWN_HEIGHTS]))
        more = f" and {len(outcome.wrong) - SHOWN_HEIGHTS} more" if len(outcome.wrong) > SHOWN_HEIGHTS else ""
        console.print(f"wrong are the epochs {shown}{more}: fvm-pulse audit --repair has them written again")
    if not outcome.differences:
        where = f"window{'s' * (len(outcome.windows) > 1)} {', '.join(outcome.windows)}, epochs {outcome.lowest} to {outcome.head}"
        again = f"; epochs written again: {len(outcome.repaired)}" if outcome.repaired else ""
        console.print(f"all {outcome.compared} figures equal the recount: {where}{again}")
