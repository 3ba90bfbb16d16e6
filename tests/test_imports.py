"""The law of imports: downstream may import upstream, and what is pure stays pure."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PURE = {
    *("streams.errors", "streams.records", "streams.wire", "streams.rpc", "streams.chain", "streams.evidence"),
    *("streams.tasks", "streams.enrich", "streams.follower", "streams.endpoints", "streams.streamed", "streams.memory"),
    *("streams.probes", "streams.greeting", "streams.ranges", "streams.events", "streams.pursuit", "streams.retries"),
    *("streams.publication", "streams.witnesses", "streams.history", "streams.quorum", "streams.heads", "streams.others"),
    *("streams.contents", "streams.rereads", "streams.left_out", "streams.pace"),
    *("streams.sampling", "streams.questions", "streams.sampler", "streams.network_probes"),
    *("streams.account", "processors.style", "processors.trail", "processors.sparkline"),
    *("streams.traces", "streams.creations", "streams.addresses"),
    *("streams.pools", "streams.prices", "streams.rails"),
    *("processors.deployments", "processors.rows_deployments"),
    *("processors.windows", "processors.gas", "processors.classify", "processors.folds", "processors.readings"),
    *("processors.economy", "processors.flows", "processors.money", "processors.rows_pools"),
    *("processors.row", "processors.samples", "processors.state_samples", "processors.thresholds", "processors.standings"),
    "processors.absence",
    *("processors.growth", "processors.upgrades", "processors.rows_economy"),
    *("processors.rows_chain", "processors.rows_pulse", "processors.catalogue", "processors.rules", "processors.alerts", "processors.page"),
}
"""Modules that do nothing but compute: they import each other, some libraries, and what of the standard library has no effect."""

LIBRARIES = {"msgspec", "eth_utils"}
"""Decoding, hashes and checksums: arithmetic."""

DATA = {"processors.registry"}
"""Reads a file when asked to; what pure modules take from it are the types of what it read."""

EFFECTS = {
    *("asyncio", "concurrent", "contextvars", "ctypes", "fcntl", "ftplib", "http", "io", "logging", "multiprocessing", "os", "pathlib"),
    *("queue", "random", "sched", "secrets", "select", "selectors", "shutil", "signal", "smtplib", "socket", "socketserver", "ssl"),
    *("subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "zoneinfo"),
}
"""What of the standard library reads a clock, waits, is random, or touches the world."""


def _modules() -> list[str]:
    return sorted(f"{path.parent.name}.{path.stem}" for package in ("streams", "processors") for path in (ROOT / package).glob("*.py"))


def _imports(module: str) -> Iterator[str]:
    path = ROOT / (module.replace(".", "/") + ".py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            assert node.module
            if node.module in {"streams", "processors"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("module", [name for name in _modules() if name.startswith("streams.")])
def test_streams_never_import_processors(module: str) -> None:
    """A follower runs without a processor; the records are all that the two share."""
    assert [name for name in _imports(module) if name.startswith("processors")] == []


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_modules_stay_pure(module: str) -> None:
    """A pure module reads no clock, waits for nothing, and imports nothing that does."""
    for name in _imports(module):
        top = name.partition(".")[0]
        if top in {"streams", "processors"}:
            assert name in PURE | DATA, f"{module} is pure, {name} is not"
        else:
            assert top in LIBRARIES or top in sys.stdlib_module_names - EFFECTS, f"{module} is pure and must not import {name}"


def test_the_table_names_modules_that_exist() -> None:
    """A module that is renamed takes its purity along."""
    assert set(_modules()) >= PURE
