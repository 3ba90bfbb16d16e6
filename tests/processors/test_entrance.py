"""Who gets in over real TLS, and what happens when the certificate is renewed."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from processors import entrance
from processors.exporter import Exporter
from processors.readings import Snapshot
from processors.report import fetch
from streams.errors import StoreFault, UsageError
from streams.listening import Door
from streams.values import Listen


async def nothing() -> Sequence[Snapshot]:
    """A Redis without a network."""
    return []


def certified(path: Path) -> Path:
    """A certificate of an authority of its own, with its key, in one file."""
    trustme.CA().issue_cert("example.org").private_key_and_cert_chain_pem.write_to_path(path)
    return path


async def serving(door: Door) -> tuple[web.AppRunner, Listen]:
    """An exporter behind `door`."""
    runner = await Exporter(nothing, registry=CollectorRegistry(), role="export").serve("127.0.0.1", 0, door)
    return runner, Listen(*runner.addresses[0][:2])


async def test_our_own_client_gets_in(tmp_path: Path) -> None:
    """With the same settings, by whatever name the certificate is; not with another password or certificate, nor without."""
    file, other = certified(tmp_path / "one.pem"), certified(tmp_path / "two.pem")
    runner, listen = await serving(door := Door(file, None, "pulse", SecretStr("right")))
    try:
        assert (await asyncio.to_thread(fetch, listen, door))["networks"] == []
        for stranger in (Door(file), Door(file, None, "pulse", SecretStr("planted"))):
            with pytest.raises(UsageError, match="does not let us in") as caught:
                await asyncio.to_thread(fetch, listen, stranger)
            assert "planted" not in str(caught.value)
        for stranger in (Door(), Door(other, None, "pulse", SecretStr("right"))):
            with pytest.raises(StoreFault, match="no fvm-pulse answers"):
                await asyncio.to_thread(fetch, listen, stranger)
    finally:
        await runner.cleanup()


async def test_a_renewed_certificate_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon after it is written; one that can not be used leaves the one from before."""
    monkeypatch.setattr(entrance.renewal, "__defaults__", (0.02,))
    runner, listen = await serving(door := Door(certified(tmp_path / "one.pem")))
    try:
        await asyncio.to_thread(fetch, listen, door)
        certified(tmp_path / "one.pem")
        async with asyncio.timeout(10):
            while True:
                try:
                    await asyncio.to_thread(fetch, listen, door)
                    break
                except StoreFault:
                    await asyncio.sleep(0.05)
        good = Door(tmp_path / "kept.pem")
        (tmp_path / "kept.pem").write_bytes((tmp_path / "one.pem").read_bytes())
        (tmp_path / "one.pem").write_text("nonsense")
        await asyncio.sleep(0.2)
        await asyncio.to_thread(fetch, listen, good)
    finally:
        await runner.cleanup()
