"""What is secret stays so: planted tokens and passwords are looked for in everything that a process says, serves and stores."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.servers import server
from streams.listening import Door
from streams.recording import load
from streams.replay import ReplayNode
from tests.end_to_end.product import COMMAND, free_port, metric

TOKEN, PASSWORD, USER_PASSWORD, QUERY = "tkn-7f3a9c51d2", "redispw-51ab77e0", "nodepw-90c1aa34", "apikey-3e8844f1"
LISTENING, MISSPELT = "listenpw-77d04b2e", "listenpw-of-another"
PLANTED = (TOKEN, PASSWORD, USER_PASSWORD, QUERY, LISTENING, MISSPELT)
PATHS = ("/", "/metrics", "/api/indicators", "/healthz", "/readyz", "/nothing-here")
SECONDS = 40.0
pytestmark = pytest.mark.timeout(120)


async def started(*flags: str, command: str = "run", **environment: str) -> asyncio.subprocess.Process:
    """The product, as talkative as it can be."""
    return await asyncio.create_subprocess_exec(
        *(COMMAND, command, *flags), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, limit=2**24
    )


async def said(process: asyncio.subprocess.Process) -> str:
    """All that it said until it ended by itself."""
    output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    return output.decode()


async def said_until_stopped(process: asyncio.subprocess.Process, seconds: float) -> str:
    """All that it said in so many seconds, and on being told to stop."""
    await asyncio.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    return await said(process)


def found(where: Mapping[str, str]) -> list[tuple[str, str]]:
    """Which of the planted secrets stand where."""
    return [(name, secret) for name, text in where.items() for secret in PLANTED if secret in text]


async def stored(redis: Redis) -> str:
    """Every key and value, as Redis would write them to disk."""
    keys = [key async for key in redis.scan_iter()]
    dumps = [await redis.dump(key) for key in keys]
    return repr(keys) + repr(dumps)


async def test_a_run_that_works_tells_none() -> None:
    """Token and passwords in use: not in the log at its most talkative, not over HTTP, not in Redis."""
    port = free_port()
    with server() as one:
        async with ReplayNode(load("devnet"), pace=50, token=TOKEN) as node, Redis(unix_socket_path=one.socket) as admin:
            await admin.config_set("requirepass", PASSWORD)
            url = f"{node.url}?key={QUERY}"
            process = await started(
                *("--node", f"own={url}", "--redis-url", f"unix://:{PASSWORD}@{one.socket}", "--listen", f"127.0.0.1:{port}"),
                *("--log-level", "debug"),
                FVM_PULSE_TOKEN_OWN=TOKEN,
            )
            served = {}
            async with aiohttp.ClientSession() as session:
                for path in PATHS:
                    await metric(port, "pulse_processed_epoch", 1)
                    async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                        served[path] = await response.text() + repr(response.headers)
            async with Redis(unix_socket_path=one.socket, password=PASSWORD) as client:
                served["redis"] = await stored(client)
            served["log"] = await said_until_stopped(process, 1)
    assert "pulse_processed_epoch" in served["/metrics"]
    assert "following" in served["log"]
    assert found(served) == []


@pytest.mark.parametrize("form", ["console", "json"])
async def test_a_run_that_fails_tells_none(tmp_path: Path, form: str) -> None:
    """A token that is refused, a node that is not there, a Redis that is not there or wants another password."""
    async with ReplayNode(load("devnet"), token="another") as node:
        url = f"{node.url}?key={QUERY}"
        gone = f"ws://someone:{USER_PASSWORD}@127.0.0.1:1/rpc/v1?key={QUERY}"
        loud = ("--listen", "127.0.0.1:0", "--log-level", "debug", "--log-format", form, "--data-dir", str(tmp_path))
        texts = {
            "refused": await said(await started("--node", f"own={url}", *loud, FVM_PULSE_TOKEN_OWN=TOKEN)),
            "not there": await said_until_stopped(await started("--node", f"own={gone}", *loud, FVM_PULSE_TOKEN_OWN=TOKEN), 4),
            "no redis": await said(await started("--node", gone, "--redis-url", f"redis://:{PASSWORD}@127.0.0.1:1", *loud)),
        }
    with server() as one:
        async with Redis(unix_socket_path=one.socket) as admin:
            await admin.config_set("requirepass", "another")
        texts["wrong password"] = await said(await started("--node", gone, "--redis-url", f"unix://:{PASSWORD}@{one.socket}", *loud))
    assert all(texts.values())
    assert "401" in texts["refused"]
    assert found(texts) == []


async def test_what_is_refused_at_the_start_tells_none(tmp_path: Path) -> None:
    """A URL that is not one, a key of a file that nobody knows, the doctor's findings."""
    file = tmp_path / "bad.toml"
    file.write_text(f'redis_url = "rediss//:{PASSWORD}@host"\n')
    gone = f"ws://someone:{USER_PASSWORD}@127.0.0.1:1/rpc/v1?key={QUERY}"
    texts = {
        "no websocket": await said(await started("--node", f"http://someone:{USER_PASSWORD}@host/?key={QUERY}")),
        "no redis url": await said(await started("--config", str(file))),
        "doctor": await said(
            await started(
                *("--node", f"own={gone}", "--redis-url", f"redis://:{PASSWORD}@127.0.0.1:1"), command="doctor", FVM_PULSE_TOKEN_OWN=TOKEN
            )
        ),
    }
    assert all(texts.values())
    assert found(texts) == []


@pytest.mark.parametrize("closes", [False, True])
async def test_what_a_node_says_back_tells_none(tmp_path: Path, closes: bool) -> None:
    """A node that repeats our URL and token in its errors, or as the reason why it closes, and would colour our terminal."""

    async def repeat(socket: ServerConnection) -> None:
        assert socket.request is not None
        words = f"{socket.request.path} {socket.request.headers['Authorization']} {TOKEN} \x1b[31m"
        async for frame in socket:
            if closes:
                await socket.close(4001, words)
                return
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": json.loads(frame)["id"], "error": {"code": 1, "message": words}}))

    async with serve(repeat, "127.0.0.1", 0) as served:
        node = ("--node", f"own=ws://127.0.0.1:{served.sockets[0].getsockname()[1]}/rpc/v1?key={QUERY}", "--data-dir", str(tmp_path))
        loud = ("--listen", "127.0.0.1:0", "--log-level", "debug")
        texts = {
            "doctor": await said(await started(*node, command="doctor", FVM_PULSE_TOKEN_OWN=TOKEN)),
            "classify": await said(await started("0x" + "11" * 20, *node, command="classify", FVM_PULSE_TOKEN_OWN=TOKEN)),
            "run": await said_until_stopped(await started(*node, *loud, FVM_PULSE_TOKEN_OWN=TOKEN), 4),
        }
    assert all("/rpc/v1" in text for text in texts.values())
    assert found(texts) == []
    assert [name for name, text in texts.items() if "\x1b[31m" in text] == []


async def test_who_is_not_let_in_tells_none(tmp_path: Path) -> None:
    """A password for what is served, and one that is wrong: not in the log, not in what is answered, not in what a client of ours says."""
    port, file = free_port(), tmp_path / "password"
    file.write_text(LISTENING + "\n")
    listen = ("--listen", f"127.0.0.1:{port}")
    door = {"FVM_PULSE_LISTEN_USERNAME": "pulse", "FVM_PULSE_LISTEN_PASSWORD_FILE": str(file)}
    flags = ("--node", "ws://127.0.0.1:1/rpc/v1", *listen, "--data-dir", str(tmp_path), "--log-level", "debug")
    process = await started(*flags, **door)
    texts: dict[str, str] = {}
    wrong_header = {"Authorization": Door(None, None, "pulse", SecretStr(MISSPELT)).authorization or ""}
    async with aiohttp.ClientSession() as session, asyncio.timeout(SECONDS):
        while not texts:
            try:
                for path in PATHS:
                    async with session.get(f"http://127.0.0.1:{port}{path}", headers=wrong_header) as response:
                        texts[path] = await response.text() + repr(response.headers)
                        assert response.status == (200 if path == "/healthz" else 401)
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
    wrong = {"FVM_PULSE_LISTEN_USERNAME": "pulse", "FVM_PULSE_LISTEN_PASSWORD": MISSPELT}
    texts["client"] = await said(await started(*listen, command="indicators", **wrong))
    texts["log"] = await said_until_stopped(process, 0)
    assert "does not let us in" in texts["client"]
    assert found(texts) == []
