"""What is printed of a running process, and what is said when none answers."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from processors.audit import Audit, Difference
from processors.doctor import Finding
from processors.report import fetch, print_audit, print_findings, print_indicators
from streams.errors import StoreFault
from streams.listening import Door
from streams.values import Listen

ROW = """{"title": "Gas share", "unit": "ratio", "state": "warning", "watched_window": "24h",
          "thresholds": [{"bound": "below", "severity": "warning", "value": 0.3}],
          "windows": {"24h": {"value": 0.25, "coverage": 1.0}}}"""


@pytest.fixture(name="serve")
def _serve() -> Iterator[list[tuple[int, str]]]:
    """A process that answers with what is put into the list; its address is the first item."""
    answers: list[tuple[int, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[-1]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    answers.append((server.server_port, ""))
    yield answers
    server.shutdown()
    server.server_close()


def test_table_of_indicators(serve: list[tuple[int, str]], capsys: pytest.CaptureFixture[str]) -> None:
    """Each indicator is one line: value, state, thresholds."""
    listen = Listen("127.0.0.1", serve[0][0])
    serve.append((200, f'{{"networks": [{{"network": "mainnet", "age_seconds": 30, "indicators": [{ROW}]}}]}}'))
    print_indicators(fetch(listen, Door()))
    printed = capsys.readouterr().out
    assert "mainnet, newest tipset 30 s old" in printed
    (line,) = (line for line in printed.splitlines() if "Gas share" in line)
    for part in ("Gas share", "24h", "25.00 %", "warning below 30.00 %"):
        assert part in line


@pytest.mark.parametrize(
    "told,shown",
    [
        (
            {"state": "filling", "coverage": 0.25, "reason": "samples do not reach back so far yet"},
            "25.00 % known: samples do not reach back so",
        ),
        ({"state": "filling", "coverage": 0.5}, "50.00 % known"),
        ({"state": "unavailable", "coverage": 1.0, "reason": "no connected node serves it"}, "no connected node serves it"),
        ({"state": "stale", "coverage": 1.0, "age_seconds": 7200}, "2 h old"),
    ],
)
def test_why_an_indicator_is_not_judged(told: dict[str, object], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Filling tells how far it is, unavailable why, stale since when; in a pipe on one line, however long that is."""
    levels = [{"bound": "below", "severity": severity, "value": 0.3} for severity in ("warning", "critical")] * 9
    row = {**json.loads(ROW), **told, "thresholds": levels}
    print_indicators({"networks": [{"network": "mainnet", "age_seconds": 30, "indicators": [row]}]})
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "Gas share" in line)
    assert str(told["state"]) in line
    assert shown in line
    assert line.count("critical below 30.00 %") == 9
    assert "\t" not in line


def test_windows_other_than_the_watched_one_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the watched window has no value, each that has one stands below, and none of them is judged."""
    row = {**json.loads(ROW), "state": "unavailable", "reason": "windows has 20e,24h, not 7d", "watched_window": "7d"}
    row["windows"] |= {"20e": {"value": None, "coverage": 0.5}, "1h": {"value": 0.75, "coverage": 0.5}}
    print_indicators({"networks": [{"network": "mainnet", "age_seconds": None, "indicators": [row]}]})
    first, *others = capsys.readouterr().out.splitlines()[3:]
    assert "unavailable" in first
    assert "windows has 20e,24h, not 7d" in first
    assert ["24h" in others[0], "25.00 %" in others[0], "known" in others[0]] == [True, True, False]
    assert ["1h" in others[1], "75.00 %" in others[1], "50.00 % known" in others[1]] == [True, True, True]
    assert all("not watched" in line and "Gas share" in line for line in others)
    assert len(others) == 2


def test_trends_and_unknown_contracts_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the watched window, and below the indicators."""
    row = {**json.loads(ROW), "trend": {"against": "7d", "change": 0.125}}
    unknown = {"epochs": 2880, "contracts": [{"address": "0x" + "01" * 20, "gas": 5_000_000}]}
    print_indicators({"networks": [{"network": "mainnet", "age_seconds": 30, "indicators": [row], "unknown_contracts": unknown}]})
    printed = capsys.readouterr().out
    assert "+12.5 % of 7d" in printed
    assert "last 2,880 epochs" in printed
    assert "0x" + "01" * 20 in printed


@pytest.mark.parametrize(
    "status,body,sentence",
    [
        (503, '{"error": "Redis can not be read"}', "has no indicators now: Redis can not be read"),
        (200, "<html>", "something else answers"),
        (200, "[]", "has no indicators now: HTTP 200"),
        (404, "{}", "has no indicators now: HTTP 404"),
    ],
)
def test_answers_that_are_none(status: int, body: str, sentence: str, serve: list[tuple[int, str]]) -> None:
    """Whatever else answers there is told in one line."""
    listen = Listen("127.0.0.1", serve[0][0])
    serve.append((status, body))
    with pytest.raises(StoreFault) as caught:
        fetch(listen, Door())
    assert sentence in str(caught.value)


def test_findings_with_advice(capsys: pytest.CaptureFixture[str]) -> None:
    """Under what is not well stands what to do."""
    print_findings([Finding("own", "head", "ok", "height 5"), Finding("own", "receipts", "failed", "method not found", "use another node")])
    printed = capsys.readouterr().out
    assert "height 5" in printed
    assert "→ use another node" in printed


@pytest.mark.parametrize("gas, only", [((3, 5), True), ((4, 5), False)])
def test_an_audit_tells_moved_classes_from_lost_messages(gas: tuple[int, int], only: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """What a newer contracts file calls otherwise is no loss; however many epochs are wrong, a line says so."""
    differences = (
        Difference("1h", "gas:dex", 5, gas[0]),
        Difference("1h", "gas:unknown", 3, gas[1]),
        Difference("1h", "distinct sender:dex", 2, 1),
    )
    found = Audit(99, 7, ("1h",), 32, differences, tuple(range(10, 90)))
    print_audit(found, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert found.only_classes is only
    assert ("only classes differ" in shown) is only
    assert "wrong are the epochs 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 70 more: fvm-pulse audit --repair" in shown


@pytest.mark.parametrize(
    "windows, repaired, said", [(("1h",), (), "window 1h, epochs 7 to 9"), (("1h", "24h"), (8,), "epochs written again: 1")]
)
def test_an_audit_says_what_it_compared(
    windows: tuple[str, ...], repaired: tuple[int, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which windows, and which epochs were known of them; what was written again only where anything was."""
    print_audit(Audit(9, 7, windows, 32, (), (), repaired), as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "all 32 figures equal the recount" in shown
    assert said in shown
    assert ("written again" in shown) == bool(repaired)
