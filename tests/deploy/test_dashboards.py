"""The committed dashboards against the rules of Grafana's dashboard linter, as far as they make sense here."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from processors.catalogue import ROWS
from streams.metrics import ProcessMetrics
from tests.deploy.test_rules import PROMETHEUS_OWN, RECORDED, exposed, rules, selectors

ROOT = Path(__file__).parents[2]
BOARDS = sorted((ROOT / "grafana/dashboards").glob("*.json"))
SCHEMA = Path(__file__).parent / "grafana-dashboard.schema.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@pytest.fixture(params=BOARDS, ids=lambda path: path.name)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.param.read_text())
    return found


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Panels that show data."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: dict[str, Any]) -> Iterator[str]:
    for panel in panels(board):
        yield from (target["expr"] for target in panel["targets"])
    yield from (one["expr"] for one in board["annotations"]["list"] if "expr" in one)


def parsed(expr: str) -> Any:
    """The expression with Grafana's own variable replaced."""
    return promql_parser.parse(expr.replace("$__rate_interval", "5m"))


def networked(name: str) -> bool:
    """Whether a series tells which network it is about."""
    for row in ROWS:
        if row.metric == name:
            return row.chain
    labels = {metric.describe()[0].name: metric._labelnames for metric in vars(ProcessMetrics(CollectorRegistry())).values()}
    return "network" in labels.get(re.sub(r"_(total|bucket|count|sum)$", "", name), ()) or name in RECORDED


def test_there_are_six() -> None:
    """One for each question."""
    assert {path.stem for path in BOARDS} == {"overview", "activity", "economy", "pipeline", "endpoints", "redis"}


def test_everything_is_shown_somewhere() -> None:
    """Every metric of the catalogue and of a process has a panel."""
    shown = {selector.name for path in BOARDS for query in queries(json.loads(path.read_text())) for selector in selectors(parsed(query))}
    families = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in shown}
    about_others = {"fvm_indicator_info"}
    missing = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in exposed()} - families - about_others
    assert not {name for name in missing if not name.startswith(("process_", "python_"))}


def test_uids_are_unique() -> None:
    """Provisioning would let one board replace another."""
    uids = [json.loads(path.read_text())["uid"] for path in BOARDS]
    assert len(uids) == len(set(uids))


def test_boards_lead_to_each_other(board: dict[str, Any]) -> None:
    """By tag, keeping the time and the variables."""
    (link,) = board["links"]
    assert (link["type"], link["keepTime"], link["includeVars"]) == ("dashboards", True, True)
    assert set(link["tags"]) <= set(board["tags"])


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.name)
def test_the_schema_accepts_it(path: Path) -> None:
    """The JSON schema of Grafana's own types; a broken board it refuses."""
    board = json.loads(path.read_text())
    for variable in board["templating"]["list"]:
        for noise in ("auto", "auto_count", "auto_min"):
            variable.pop(noise, None)
    for annotation in board["annotations"]["list"]:
        annotation.pop("expr", None)
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    assert [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(board)] == []
    assert list(validator.iter_errors({**board, "refresh": 5}))


def test_identity(board: dict[str, Any]) -> None:
    """A stable uid, UTC, not editable, refreshed no faster than the chain, no id of a server."""
    assert re.fullmatch(r"fvm-pulse-[a-z-]+", board["uid"])
    assert board["timezone"] == "utc"
    assert board["editable"] is False
    assert board["refresh"] == "30s"
    assert board.get("id") is None


def test_the_data_source_is_a_variable(board: dict[str, Any]) -> None:
    """On every panel, target, variable and annotation."""
    for panel in panels(board):
        assert panel["datasource"] == SOURCE
        assert all(target["datasource"] == SOURCE for target in panel["targets"])
    assert all(one["datasource"] == SOURCE for one in board["annotations"]["list"])
    source, *others = board["templating"]["list"]
    assert (source["name"], source["type"]) == ("datasource", "datasource")
    for variable in others:
        assert variable["datasource"] == SOURCE
        assert variable["refresh"] == 2
        if variable["name"] == "window":
            assert not variable["multi"]  # figures of different windows must not be added up
        else:
            assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")


def test_panels_explain_themselves(board: dict[str, Any]) -> None:
    """Title, description, unit, and a word for no data."""
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["fieldConfig"]["defaults"]["noValue"]


def test_ids_and_places(board: dict[str, Any]) -> None:
    """Unique ids, unique titles, no panel over another, all within 24 columns."""
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in panels(board)]
    assert len(titles) == len(set(titles))
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)


def test_alerts_open_a_board_that_shows_what_they_read() -> None:
    """The link of every alert names a board of ours, with a panel of a series that the alert is about."""
    shown = {
        found["uid"]: {selector.name for query in queries(found) for selector in selectors(parsed(query))} for found in map(_read, BOARDS)
    }
    of_scrapes = {"up": "scrape_duration_seconds"}
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    for rule in rules():
        if "alert" in rule:
            uid = rule["annotations"]["dashboard_url"].partition("/d/")[2].partition("{{")[0]
            names = {selector.name for selector in selectors(promql_parser.parse(rule["expr"]))}
            names |= {one.name for name in names if name in recorded for one in selectors(promql_parser.parse(recorded[name]))}
            assert not names or {of_scrapes.get(name, name) for name in names} & shown[uid], rule["alert"]


def test_references_are_unique_in_a_panel(board: dict[str, Any]) -> None:
    """Two targets of one panel have different names."""
    for panel in panels(board):
        names = [target["refId"] for target in panel["targets"]]
        assert len(names) == len(set(names))


def test_queries(board: dict[str, Any]) -> None:
    """They parse, read series that exist, choose by the variables, and take rates of counters only."""
    known = exposed() | RECORDED | PROMETHEUS_OWN
    for query in queries(board):
        for selector in selectors(parsed(query)):
            assert selector.name in known, query
            matchers = {(matcher.name, matcher.value) for matcher in selector.matchers.matchers}
            own = selector.name in RECORDED | {"ALERTS"}
            assert ("job", "$job") in matchers or own, query
            assert ("network", "$network") in matchers or selector.name == "ALERTS" or not networked(selector.name), query
        for name in re.findall(r"(?:rate|increase)\((\w+)", query):
            assert name.endswith(("_total", "_count", "_sum", "_bucket")), query
        assert set(re.findall(r"\[(.*?)\]", query)) <= {"$__rate_interval"}, query


def test_provisioning_fits() -> None:
    """The files name each other and the paths of the compose file."""
    sources = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/fvm-pulse.yaml").read_text())["providers"]
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    by_type = {source["type"]: source for source in sources}
    assert by_type["prometheus"]["jsonData"]["alertmanagerUid"] == by_type["alertmanager"]["uid"]
    assert by_type["prometheus"]["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    assert "folder" not in provider
    mounts = compose["services"]["grafana"]["volumes"]
    assert f"../grafana/dashboards:{provider['options']['path']}:ro" in mounts
