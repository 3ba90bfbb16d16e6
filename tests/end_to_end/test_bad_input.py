"""What a person or a node gets wrong, for real: one clear line and exit code 2, or a fault that is counted and survived."""

import asyncio
import json
import math
import random
import socket
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from processors.store import Store
from streams.answers import Limits
from streams.recording import Recording, load
from streams.replay import ReplayNode
from tests.end_to_end.product import BUNDLED, COMMAND, check, free_port, metric, product
from tests.recount import Recount

FIRST_HEAD_SECONDS = 0.2
PACE = 50.0
EXIT_SECONDS = 20
NOWHERE = "ws://127.0.0.1:1/rpc/v1"

pytestmark = pytest.mark.timeout(120)


@cache
def recording() -> Recording:
    """The bundled recording, read once."""
    return load("devnet")


async def complaint(*flags: str, command: str = "run", **environment: str) -> str:
    """The one line that the command ends with, at exit code 2 and with nothing else said."""
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, command, "--listen", "127.0.0.1:0", "--log-level", "error", *flags),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, said = await asyncio.wait_for(process.communicate(), EXIT_SECONDS)
    line = said.decode()
    assert (process.returncode, output) == (2, b""), line
    assert line.startswith("fvm-pulse: ")
    assert line.count("\n") == 1, line
    return line.removeprefix("fvm-pulse: ").removesuffix("\n")


# What a person gets wrong.


async def test_a_url_without_ws(tmp_path: Path) -> None:
    """Named with its flag and what is allowed."""
    said = await complaint("--node", "https://node/rpc/v1", "--data-dir", str(tmp_path))
    assert said.startswith("--node: 'https://node/rpc/v1' is not a websocket URL: allowed are ws://HOST")


async def test_an_unknown_window(tmp_path: Path) -> None:
    """Named with its flag and what is allowed."""
    assert (await complaint("--windows", "7w", "--data-dir", str(tmp_path))).startswith("--windows: '7w' is not a window: allowed are")


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/redis.sock"])
async def test_an_unreachable_redis(url: str) -> None:
    """It is refused within seconds, and no node is asked before."""
    said = await complaint("--node", NOWHERE, "--redis-url", url)
    assert said.startswith(f"redis_url: no Redis answers at {url}")
    assert "start a Redis there" in said


async def test_a_redis_that_wants_a_password(redis: Redis, redis_socket: str) -> None:
    """Refused at once; a password that was given is not shown."""
    await redis.config_set("requirepass", "right")
    try:
        said = await complaint("--node", NOWHERE, "--redis-url", f"unix://:planted@{redis_socket}")
    finally:
        await redis.auth("right")
        await redis.config_set("requirepass", "")
    assert "refuses us" in said
    assert "planted" not in said


@pytest.mark.parametrize(
    "text,reason",
    [("contracts: [x", "c.yaml:1"), ("- 1", "c.yaml"), ("contracts:\n- nonsense", "c.yaml")],
    ids=["not YAML", "no mapping", "no contract"],
)
async def test_a_broken_contracts_overlay(text: str, reason: str, tmp_path: Path) -> None:
    """File, line and reason."""
    overlay = tmp_path / "c.yaml"
    overlay.write_text(text, encoding="utf-8")
    assert reason in await complaint("--node", NOWHERE, "--registry", str(overlay), "--data-dir", str(tmp_path))


async def test_a_missing_contracts_overlay(tmp_path: Path) -> None:
    """The file that was named is named."""
    assert "absent.yaml" in await complaint("--node", NOWHERE, "--registry", str(tmp_path / "absent.yaml"), "--data-dir", str(tmp_path))


@pytest.mark.parametrize("command", ["run", "replay"])
@pytest.mark.parametrize(
    "name,size,reason",
    [
        ("half.jsonl.xz", 200_000, "is the file whole?"),
        ("none.jsonl", 0, "no head is announced"),
        ("absent.jsonl", None, "no such recording"),
    ],
)
async def test_a_truncated_recording(command: str, name: str, size: int | None, reason: str, tmp_path: Path) -> None:
    """The file, and how far it could be read."""
    file = tmp_path / name
    if size is not None:
        file.write_bytes(BUNDLED.read_bytes()[:size])
    what = ("--node", f"replay:{file}") if command == "run" else (str(file),)
    said = await complaint(*what, "--data-dir", str(tmp_path), command=command)
    assert said.startswith(str(file))
    assert reason in said


@pytest.mark.parametrize("text", ["hello", '{"kind":"frame","msg":7}', '{"kind":"dream"}', "[]", "\0\0", '{"t":1'])
async def test_what_is_not_a_recording(text: str, tmp_path: Path) -> None:
    """The file and the line."""
    file = tmp_path / "it.jsonl"
    file.write_text(text + "\n", encoding="utf-8")
    said = await complaint(str(file), "--data-dir", str(tmp_path), command="replay")
    assert said.startswith(f"{file}:1: not a line of a recording")


async def test_an_address_that_is_taken(tmp_path: Path) -> None:
    """The address, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = await complaint("--node", NOWHERE, "--listen", address, "--data-dir", str(tmp_path))
    assert said == f"listen: {address} can not be had (Address already in use): choose another HOST:PORT"


async def test_a_second_run_on_the_same_data(tmp_path: Path) -> None:
    """The process that holds the folder is named, and not disturbed."""
    port = free_port()
    async with product("--node", NOWHERE, "--data-dir", str(tmp_path), port=port) as first:
        await metric(port, "pulse_redis_up", 1)
        said = await complaint("--node", NOWHERE, "--data-dir", str(tmp_path))
        assert said.startswith(f"data_dir: {tmp_path} is in use by process {first.pid}: ")
        await metric(port, "pulse_redis_up", 1)


# Nodes that can not be used.


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_a_refused_token(token: str, redis: Redis, redis_socket: str) -> None:
    """401 is not tried again; the token is not shown."""
    environment = {"FVM_PULSE_TOKEN": token} if token else {}
    async with ReplayNode(recording(), token="right") as node:
        said = await complaint("--node", f"own={node.url}", "--redis-url", f"unix://{redis_socket}", **environment)
    assert said == "no node can be used: own: the token was refused (401)"


async def test_the_wrong_chain(redis: Redis, redis_socket: str) -> None:
    """Both ids are told."""
    async with ReplayNode(recording()) as node:
        said = await complaint("--node", node.url, "--chain-id", "314159", "--redis-url", f"unix://{redis_socket}")
    assert said == "no node can be used: node1: wrong chain id 314, expected 314159"


@pytest.mark.parametrize("code,words", [(-32601, "method 'eth_chainId' not found"), (1, "module disabled, enable with Fevm.EnableEthRPC")])
async def test_a_node_without_eth(code: int, words: str, redis: Redis, redis_socket: str) -> None:
    """It says what to switch on."""

    def without_eth(method: str, _: list[Any], answer: bytes) -> bytes:
        told = json.loads(answer)
        if not method.startswith("eth_"):
            return answer
        return json.dumps({"jsonrpc": "2.0", "id": told["id"], "error": {"code": code, "message": words}}).encode()

    async with ReplayNode(recording()) as node:
        node.faults.distort = without_eth
        said = await complaint("--node", node.url, "--redis-url", f"unix://{redis_socket}")
    assert said.startswith("no node can be used: node1: the node has no eth RPC: enable it (Lotus: Fevm.EnableEthRPC)")


# Nodes that talk nonsense for a while.


def result(answer: bytes, **changes: object) -> bytes:
    """The answer with these fields of its result changed."""
    told = json.loads(answer)
    if isinstance(told.get("result"), dict):
        told["result"] |= changes
    return json.dumps(told).encode()


NONSENSE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "not JSON": ("eth_getBlockReceipts", lambda answer: answer[:-1]),
    "not UTF-8": ("eth_getBlockReceipts", lambda _: b'{"\xff\xfe"}'),
    "not JSON-RPC": ("eth_getBlockReceipts", lambda _: b'["hello"]'),
    "another shape": ("eth_getBlockReceipts", lambda answer: json.dumps({**json.loads(answer), "result": {"a": 1}}).encode()),
    "another height": ("eth_getBlockByHash", lambda answer: result(answer, number="0x7")),
    "no height at all": ("eth_getBlockByHash", lambda answer: result(answer, number="0x" + "f" * 64)),
    "another block": ("eth_getBlockByHash", lambda answer: result(answer, hash="0x" + "ab" * 32)),
    "its own parent": ("eth_getBlockByHash", lambda answer: result(answer, parentHash=json.loads(answer)["result"]["hash"])),
    "no chain id": ("eth_chainId", lambda answer: json.dumps({**json.loads(answer), "result": "mainnet"}).encode()),
    "64 MiB": ("eth_getBlockReceipts", lambda answer: answer + b" " * 2**26),
}


@pytest.mark.parametrize("native", [True, False], ids=["lotus", "eth-only"])
@pytest.mark.parametrize("kind", NONSENSE)
async def test_nonsense_is_counted_and_survived(kind: str, native: bool, redis: Redis, redis_socket: str) -> None:
    """The fault shows in `pulse_node_faults_total`, the process goes on, and the end is the recount."""
    wrong, distorted = NONSENSE[kind]
    times = 2
    port, store = free_port(), Store(redis, "testing" if native else "mainnet")

    def distort(method: str, _: list[Any], answer: bytes) -> bytes:
        nonlocal times
        if method != wrong or times == 0 or b'"error"' in answer[:100]:
            return answer
        times -= 1
        return distorted(answer)

    async with ReplayNode(recording(), pace=math.inf, until=FIRST_HEAD_SECONDS, limits=Limits(eth_only=not native)) as node:
        node.faults.distort = distort
        async with product("--node", node.url, "--redis-url", f"unix://{redis_socket}", port=port) as process:
            assert await metric(port, "pulse_node_faults_total", 1)
            await metric(port, "pulse_processed_epoch", 1)
            node.halt_at(math.inf)
            await check(store, Recount(BUNDLED, lambda _: "unknown", native=native))
            assert process.returncode is None
    assert times == 0


PLACE = {"hash", "parentHash", "number", "Cids", "Blocks", "Height"}
STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 7.5, 2**70),
    *("", "0x", "0x-1", "0xzz", "0x" + "f" * 64, "\ud800", "latest"),
    *([], {}, [[]], {"/": "b"}),
)
"""What stands in the place of something else."""


def strange(rng: random.Random, value: Any) -> Any:
    """The value with one thing in it, somewhere, replaced, lost or repeated."""
    if rng.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return rng.choice(STRANGE)
    if isinstance(value, dict):
        key = rng.choice(list(value))
        return {**value, key: strange(rng, value[key])} if rng.random() < 0.8 else {one: value[one] for one in value if one != key}
    place = rng.randrange(len(value))
    middle = rng.choice(([strange(rng, value[place])], [], [value[place]] * 2))
    return [*value[:place], *middle, *value[place + 1 :]]


@pytest.mark.slow
@pytest.mark.parametrize("native", [True, False], ids=["lotus", "eth-only"])
async def test_any_nonsense_about_the_chain_is_survived(native: bool, redis: Redis, redis_socket: str) -> None:
    """Every fourth answer that says where a tipset lies is mutilated somewhere, for a while: the end is the recount."""
    rng, store, port = random.Random(seed := random.randrange(2**32)), Store(redis, "testing" if native else "mainnet"), free_port()
    left = 60

    def distort(method: str, _: list[Any], answer: bytes) -> bytes:
        nonlocal left
        if left == 0 or rng.random() > 0.25 or method not in {"eth_getBlockByHash", "eth_getBlockByNumber", "Filecoin.ChainGetTipSet"}:
            return answer
        left -= 1
        told = json.loads(answer)
        if isinstance(told.get("result"), dict):
            key = rng.choice(sorted(PLACE & told["result"].keys()))
            told["result"][key] = strange(rng, told["result"][key])
        return json.dumps(told).encode()

    async with (
        ReplayNode(recording(), pace=PACE, until=FIRST_HEAD_SECONDS, limits=Limits(eth_only=not native)) as node,
        product("--node", node.url, "--redis-url", f"unix://{redis_socket}", port=port) as process,
    ):
        await metric(port, "pulse_processed_epoch", 1)
        node.faults.distort = distort
        node.halt_at(math.inf)
        assert await metric(port, "pulse_node_faults_total", 1)
        await node.finished.wait()
        left = 0
        await check(store, Recount(BUNDLED, lambda _: "unknown", native=native))
        assert process.returncode is None, seed
