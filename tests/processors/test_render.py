from pathlib import Path

import pytest
import yaml

from processors import render
from processors.catalogue import INDICATORS, ROWS
from streams.errors import UsageError

ROOT = Path(__file__).parents[2]


def test_committed_files_are_current() -> None:
    """Whoever changes the catalogue renders: `fvm-pulse render`."""
    pytest.importorskip("grafana_foundation_sdk")
    for name, text in render.files().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name} is old: run `fvm-pulse render`"


def test_writing_tells_what_changed(tmp_path: Path) -> None:
    """The second time nothing does."""
    pytest.importorskip("grafana_foundation_sdk")
    assert [path.relative_to(tmp_path).as_posix() for path in render.write(tmp_path)] == list(render.files())
    assert render.write(tmp_path) == []


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    """One line that names the file."""
    pytest.importorskip("grafana_foundation_sdk")
    (tmp_path / "deploy").write_text("a file")
    with pytest.raises(UsageError, match=r"recording\.yaml can not be written"):
        render.write(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A name that is mistyped makes no folder."""
    with pytest.raises(UsageError, match="there is no such folder"):
        render.write(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_rules_are_yaml() -> None:
    """What is written reads back as what was meant."""
    groups = [{"name": "a", "rules": [{"record": "b", "expr": "one\nor\ntwo"}]}]
    assert yaml.safe_load(render.rules_file(groups)) == {"groups": groups}


def test_the_docs_name_everything() -> None:
    """Every metric and every indicator."""
    text = render.indicators_page()
    assert all(f"### `{row.metric}`" in text for row in ROWS)
    assert all(f"| `{indicator.name}` |" in text for indicator in INDICATORS)
