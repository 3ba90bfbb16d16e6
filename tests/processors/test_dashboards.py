import json

import pytest

pytest.importorskip("grafana_foundation_sdk", reason="dependency group `render`")

from processors.catalogue import INDICATORS
from processors.dashboards import overview


def test_rendering_is_deterministic() -> None:
    """Twice the same text."""
    assert overview() == overview()


def test_every_indicator_has_a_panel() -> None:
    """A stat with the indicator's title."""
    titles = [panel["title"] for panel in json.loads(overview())["panels"] if panel["type"] == "stat"]
    assert set(titles) >= {indicator.title for indicator in INDICATORS}
