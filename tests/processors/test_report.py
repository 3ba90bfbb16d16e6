"""What is printed of a running process, and what is said when none answers."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from processors.doctor import Finding
from processors.report import fetch, print_findings, print_indicators
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


def test_table_of_indicators(serve: list[tuple[int, str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each indicator is one line: value, state, thresholds."""
    monkeypatch.setenv("COLUMNS", "160")
    listen = Listen("127.0.0.1", serve[0][0])
    serve.append((200, f'{{"networks": [{{"network": "mainnet", "age_seconds": 30, "indicators": [{ROW}]}}]}}'))
    print_indicators(fetch(listen, Door()))
    printed = capsys.readouterr().out
    assert "mainnet, newest tipset 30 s old" in printed
    for part in ("Gas share", "24h", "25.00 %", "warning below 30.00 %"):
        assert part in printed


def test_windows_other_than_the_watched_one_are_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the watched window is not kept, each that is has a line."""
    monkeypatch.setenv("COLUMNS", "160")
    row = {**json.loads(ROW), "state": "unknown", "watched_window": "7d"}
    row["windows"]["20e"] = {"value": None, "coverage": 0.5}
    print_indicators({"networks": [{"network": "mainnet", "age_seconds": None, "indicators": [row]}]})
    lines = [line for line in capsys.readouterr().out.splitlines() if "Gas share" in line]
    assert len(lines) == 2
    assert "24h" in lines[0]
    assert "25.00 %" in lines[0]
    assert "20e" in lines[1]
    assert "50.00 %" in lines[1]


def test_trends_and_unknown_contracts_are_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the watched window, and below the indicators."""
    monkeypatch.setenv("COLUMNS", "160")
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
