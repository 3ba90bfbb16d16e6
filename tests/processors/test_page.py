from html.parser import HTMLParser

import pytest

from processors import page
from processors.catalogue import INDICATORS
from processors.standings import standings
from processors.thresholds import watches
from processors.trail import Trail
from streams.account import Account, Endpoint, PastReorg
from tests.processors.snapshots import NOW, snapshot, tipsets

WATCHES = watches(INDICATORS)
NODES = {"node1": Endpoint(up=True, connections=3), "node2": Endpoint()}
VOID = {"meta", "br", "link"}


class Balanced(HTMLParser):
    """Fails on a tag that closes another."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens."""
        self.tags.add(tag)
        self.links.extend(value or "" for name, value in attrs if name in {"href", "src"})
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Closes the last one opened."""
        assert self.open.pop() == tag


def parsed(text: str) -> Balanced:
    parser = Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_it_stands_alone() -> None:
    """Well-formed, no script, and no file beside it."""
    found = parsed(page.render([snapshot()], WATCHES, NODES, Trail(), NOW))
    assert "script" not in found.tags
    assert all(link.startswith(("/", "data:image/svg+xml;")) for link in found.links)


def test_it_shows_the_figures() -> None:
    """Indicators with state, gas by class, coverage, heights, endpoints."""
    day = snapshot(first=tipsets(name="24h"), logs=tipsets(name="24h"))
    text = page.render([day], WATCHES, NODES, Trail(), NOW)
    for part in (
        "devnet",
        "Daily interactive addresses",
        "▲ warning",
        "warning below 20",
        "article: 50,000",
        "Node at epoch 101, processed to 99",
        "60 s old",
        "<h3>Activity</h3>",
        "<td>node1</td>",
        "<td>2</td>",
        "<td>dex</td><td>300</td>",
        "<td>all FEVM</td><td>400</td>",
        "<td>share of all gas</td><td>40.00 %</td>",
        "100.00 %",
        "● up",
        "■ down",
        'http-equiv="refresh"',
        "prefers-color-scheme: dark",
        'name="viewport"',
    ):
        assert part in text


def test_the_past_is_a_line() -> None:
    """An indicator with past values has a sparkline, titled with the span that it shows."""
    day, trail = snapshot(first=tipsets(name="24h"), logs=tipsets(name="24h")), Trail()
    assert 'class="spark"' not in page.render([day], WATCHES, {}, Trail(), NOW)
    for minute in range(6):
        trail.note("devnet", standings(day, WATCHES, NOW), NOW + 60 * minute)
    text = page.render([day], WATCHES, {}, trail, NOW)
    parsed(text)
    assert "<title>Daily interactive addresses, the last 5 min</title>" in text


def test_it_tells_filling_from_unavailable_from_stale() -> None:
    """In the words of `fvm-pulse indicators`, with the reason on the card."""
    day = snapshot(first=tipsets(name="24h", processed=15), logs=tipsets(name="24h"), age_seconds=7200)
    text = page.render([day], WATCHES, NODES, Trail(), NOW)
    for part in ("— unavailable: Liquidity lent", "<li>no pool is declared for devnet: see registry", "◌ stale", "<li>2 h old"):
        assert part in text
    day.latest["timestamp_seconds"] = str(int(NOW))
    text = page.render([day], WATCHES, NODES, Trail(), NOW)
    assert "◔ filling" in text
    assert "<li>85.00 % known · " in text


def test_it_shows_what_the_follower_tells() -> None:
    """Endpoints and reorgs of a follower in another process, and whether it still speaks."""
    told = Account(
        endpoints={"far": Endpoint(up=True, connections=2)}, reorgs=(PastReorg(int(NOW) - 7200, 9), PastReorg(int(NOW) - 86400, 1))
    )
    seen = snapshot()
    seen.latest["follower"] = told.fact(int(NOW) - 5)
    text = page.render([seen], WATCHES, NODES, Trail(), NOW)
    assert "<td>far</td>" in text
    assert "9 epochs 2 h ago; 1 epoch 24 h ago" in text
    assert "The follower said this" not in text
    assert "<td>node1</td>" not in text
    assert "The follower said this 10 min ago" in page.render([seen], WATCHES, {}, Trail(), NOW + 600)
    seen.latest["follower"] = "of another release"
    assert "<td>node1</td>" in page.render([seen], WATCHES, NODES, Trail(), NOW)


def test_names_are_escaped() -> None:
    """Nothing that came from outside becomes markup."""
    text = page.render([snapshot(network="<b>net")], WATCHES, {"<i>node": Endpoint(up=True)}, Trail(), NOW)
    parsed(text)
    assert "&lt;b&gt;net" in text
    assert "&lt;i&gt;node" in text
    assert "<b>net" not in text


def test_without_figures() -> None:
    """Redis away and nothing processed are told apart."""
    assert "Redis can not be read" in page.render(None, WATCHES, {}, Trail(), NOW)
    assert "Waiting for the first word" in page.render([], WATCHES, {}, Trail(), NOW)


@pytest.mark.parametrize(
    "value,unit,text",
    [
        (None, "gas", "—"),
        (0.4, "ratio", "40.00 %"),
        (0.0003, "ratio", "0.0300 %"),
        (0, "ratio", "0.00 %"),
        (0.000353, "FIL", "0.000353 FIL"),
        (1234.5, "FIL", "1,234.50 FIL"),
        (3.53e12, "gas", "3.53 T"),
        (300, "gas", "300"),
        (3 * 2**60, "bytes", "3.00 EiB"),
        (140e6, "FIL", "140.00 M FIL"),
        (0, "FIL", "0.000000 FIL"),
        (900_000, "USD", "900,000.00 USD"),
        (0.5, "USD", "0.50 USD"),
        (0, "USD", "0.00 USD"),
        (12.5, "ratio", "1,250.00 %"),
        (50_000, "addresses", "50,000"),
        (0.5, "addresses", "0.50"),
    ],
)
def test_numbers(value: float | None, unit: str, text: str) -> None:
    """Written for people."""
    assert page.number(value, unit) == text


@pytest.mark.parametrize("seconds,text", [(None, "—"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")])
def test_ages(seconds: float | None, text: str) -> None:
    """The largest unit of which there are two."""
    assert page.age(seconds) == text
