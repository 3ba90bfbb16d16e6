import json

import pytest

pytest.importorskip("grafana_foundation_sdk", reason="dependency group `render`")

from processors.catalogue import INDICATORS, ROWS
from processors.dashboards import BOARDS, BY_HAND, ON_OTHERS, Board, rendered


def text(name: str) -> str:
    return rendered(next(board for board in BOARDS if board.name == name))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_rendering_is_deterministic(board: Board) -> None:
    """Twice the same text."""
    assert rendered(board) == rendered(board)


def test_every_indicator_has_a_panel() -> None:
    """A stat with the indicator's title."""
    titles = [panel["title"] for panel in json.loads(text("overview"))["panels"] if panel["type"] == "stat"]
    assert set(titles) >= {indicator.title for indicator in INDICATORS}


def test_every_row_is_on_the_board_of_its_group() -> None:
    """Groups that nobody assigned are about the economy."""
    texts = {board.name: rendered(board) for board in BOARDS}
    for row in ROWS:
        if row.metric not in BY_HAND and row.group != "thresholds":
            assert f"{row.metric}{{" in texts[ON_OTHERS.get(row.group, "economy")], row.metric
