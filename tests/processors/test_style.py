from base64 import b64encode
from hashlib import sha256
from xml.etree import ElementTree as ET

from processors import style


def test_only_this_sheet_is_allowed() -> None:
    """The policy names the sheet by its hash and allows nothing else that could run or be loaded."""
    policy = dict(part.strip().split(" ", 1) for part in style.HEADERS["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == f"'sha256-{b64encode(sha256(style.SHEET.encode()).digest()).decode()}'"
    assert "unsafe" not in str(policy)
    assert "script-src" not in policy


def test_both_schemes_define_the_same_colours() -> None:
    """A colour of the light scheme that the dark one lacks would be unreadable there."""
    light, dark = (set(part.split("--")[1:]) for part in style.SHEET.split("@media (prefers-color-scheme: dark)")[:2])
    names = [{one.split(":")[0] for one in part if ":" in one} for part in (light, dark)]
    assert {name for name in names[0] if name != "color-scheme"} <= {name.split(")")[0] for name in names[1]}


def test_the_icon_is_an_image() -> None:
    """Well-formed, with the namespace that it needs outside of a page."""
    assert ET.fromstring(style.ICON).tag == "{http://www.w3.org/2000/svg}svg"
