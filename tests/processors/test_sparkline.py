import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from processors.sparkline import COLUMNS, HEIGHT, WIDTH, sparkline
from processors.trail import Point


def points(*values: float | None, step: float = 60) -> list[Point]:
    return [Point(1e9 + step * number, value) for number, value in enumerate(values)]


def paths(text: str, kind: str) -> list[str]:
    return [path.attrib["d"] for path in ET.fromstring(text).iter("path") if kind in path.attrib["class"].split()]


def test_a_line_from_left_to_right() -> None:
    """The oldest value is left, the largest on top; the last is marked."""
    text = sparkline(points(1, 3, 2), {}, "title")
    assert paths(text, "line") == ["M3.0 37.0L120.0 3.0L237.0 20.0"]
    assert paths(text, "end") == ["M237.0 20.0h0"]


def test_too_little_to_draw() -> None:
    """One known value is no line."""
    assert sparkline([], {}, "") == ""
    assert sparkline(points(5), {}, "") == ""
    assert sparkline(points(None, 5, None), {}, "") == ""


def test_holes_stay_holes() -> None:
    """Neither an unknown value nor a pause is drawn over."""
    assert len(paths(sparkline(points(1, 2, None, 2, 1), {}, ""), "line")) == 2
    assert len(paths(sparkline([*points(1, 2, 3), Point(2e9, 4), Point(2e9 + 60, 5)], {}, ""), "line")) == 2


def test_levels_within_the_range() -> None:
    """A level that the line crosses is drawn, one far away would only flatten it."""
    text = sparkline(points(10, 30), {"warning": 20, "critical": 1}, "")
    assert paths(text, "level") == ["M0 20.0H240"]


@given(st.lists(st.none() | st.floats(-1e30, 1e30), max_size=400), st.floats(0.5, 1e5))
def test_it_stays_inside_its_box(values: list[float | None], step: float) -> None:
    """Well-formed, within the view box, and no more points than columns, whatever the values are."""
    text = sparkline(points(*values, step=step), {"warning": 1.0}, "any")
    if not text:
        return
    for path in ET.fromstring(text).iter("path"):
        pairs = re.findall(r"([0-9.e+-]+) ([0-9.e+-]+)", path.attrib["d"])
        assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in pairs)
        assert len(pairs) <= COLUMNS
