"""The house numbers, and that nothing is an orphan."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("streams", "processors") for path in (ROOT / package).glob("*.py") if path.stem != "__init__")
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

LONGEST_MODULE = 400
LONGEST_FUNCTION = 50

WITHOUT = {"streams/errors.py", "streams/events.py"}
"""Names and their fields: there is nothing to test."""


def _named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, without the docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("source", sorted(set(_named(SOURCES)) - WITHOUT))
def test_each_module_has_tests_of_its_own(source: str) -> None:
    """`streams/chain.py` is tested by `tests/streams/test_chain.py`."""
    package, name = source.split("/")
    assert (ROOT / "tests" / package / f"test_{name}").is_file()


@pytest.mark.parametrize("path", _named(SOURCES))
def test_modules_and_functions_are_short(path: str) -> None:
    """A module holds one idea, a function one thought."""
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE
    assert [function.name for function in _functions(ROOT / path) if _length(function) > LONGEST_FUNCTION] == []


@pytest.mark.parametrize("path", _named(TESTS))
def test_each_test_says_what_must_hold(path: str) -> None:
    """The docstring of a test is the sentence that it proves."""
    assert [
        function.name for function in _functions(ROOT / path) if function.name.startswith("test_") and not ast.get_docstring(function)
    ] == []


@pytest.mark.parametrize("path", _named(TESTS))
def test_nothing_of_ours_is_mocked(path: str) -> None:
    """Real nodes over loopback, a real Redis, real processes: no stand-ins for our own code."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert "unittest.mock" not in names


def test_every_decision_is_listed() -> None:
    """By its number, which its heading bears too."""
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    listed = [line for line in index if line[:1].isdigit()]
    files = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert len(listed) == len(files)
    for line, path in zip(listed, files, strict=True):
        number = int(path.name[:4])
        assert line.startswith(f"{number}. [")
        assert line.endswith(f"]({path.name})")
        assert path.read_text(encoding="utf-8").startswith(f"# {number}. ")
