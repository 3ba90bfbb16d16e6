"""The doctor against small nodes over a real websocket: what it finds, and what it advises."""

import http
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from processors.doctor import Finding, check_redis, examine
from streams.settings import Settings
from streams.values import Node

Answers = dict[str, Any]
NO_METHOD = {"error": {"code": -32601, "message": "method not found"}}


def _block(age_seconds: float = 30.0) -> Answers:
    return {"number": "0x1000", "hash": "0xab", "timestamp": hex(int(time.time() - age_seconds)), "transactions": [{}, {}]}


def _by_height(number: str, _full: bool) -> Any:
    return _block() if number == "latest" else {"number": number}


def _answers(**changed: Any) -> Answers:
    """A Lotus node that has everything; `changed` by method, with `_` for the dot."""
    return {
        "eth_chainId": "0x13a",
        "Filecoin.ChainNotify": 7,
        "Filecoin.StateNetworkName": "mainnet",
        "eth_subscribe": "0x" + "11" * 32,
        "eth_unsubscribe": True,
        "eth_getBlockByNumber": _by_height,
        "eth_getBlockReceipts": [{}, {}],
        "eth_getLogs": [],
    } | {name.replace("_", ".", 1) if name.startswith("Filecoin") else name: value for name, value in changed.items()}


@asynccontextmanager
async def _node(answers: Answers, token: str | None = None) -> AsyncIterator[Node]:
    async def talk(socket: ServerConnection) -> None:
        async for text in socket:
            call = json.loads(text)
            answer = answers.get(call["method"], NO_METHOD)
            if callable(answer):
                answer = answer(*call["params"])
            if isinstance(answer, str) and answer.startswith("raw:"):
                await socket.send(answer.removeprefix("raw:"))
                continue
            body = answer if isinstance(answer, dict) and "error" in answer else {"result": answer}
            await socket.send(json.dumps({"jsonrpc": "2.0", "method": "xrpc.ch.val", "params": [7, []]}))
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": call["id"], **body}))

    def admit(socket: ServerConnection, request: Request) -> Response | None:
        if token and request.headers.get("Authorization") != f"Bearer {token}":
            return socket.respond(http.HTTPStatus.UNAUTHORIZED, "no\n")
        return None

    async with serve(talk, "127.0.0.1", 0, process_request=admit) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield Node("own", f"ws://127.0.0.1:{port}/rpc/v1")


def _settings(*nodes: Node, **changed: Any) -> Settings:
    return Settings(nodes=nodes, **changed)


def _found(findings: list[Finding], check: str) -> Finding:
    return next(finding for finding in findings if finding.check == check)


async def test_healthy_node(tmp_path: Path) -> None:
    """A complete node passes every check, and the private Redis can be started."""
    async with _node(_answers()) as node:
        findings = await examine(_settings(node, data_dir=tmp_path))
    assert {finding.outcome for finding in findings} == {"ok"}
    assert [finding.check for finding in findings] == [
        *("connection", "chain", "order", "subscriptions", "head", "receipts", "look-back", "log range", "embedded")
    ]


async def test_node_without_filecoin_methods() -> None:
    """A gateway that only serves Ethereum's methods is worth a note, not a failure."""
    async with _node(_answers(Filecoin_ChainNotify=NO_METHOD)) as node:
        finding = _found(await examine(_settings(node)), "order")
    assert (finding.outcome, finding.detail) == ("note", "Ethereum RPC only")


async def test_missing_and_wrong_token() -> None:
    """A 401 names the variable that holds the token, and never the token."""
    async with _node(_answers(), token="right") as node:
        missing = _found(await examine(_settings(node)), "connection")
        wrong = _found(await examine(_settings(Node(node.name, node.url, SecretStr("planted")))), "connection")
        right = _found(await examine(_settings(Node(node.name, node.url, SecretStr("right")))), "connection")
    assert missing.detail.startswith("token missing (401)")
    assert "FVM_PULSE_TOKEN_OWN" in missing.advice
    assert wrong.detail.startswith("token refused (401)")
    assert "planted" not in str(wrong)
    assert right.outcome == "ok"


def _log_limit(span: dict[str, str]) -> Any:
    wide = int(span["toBlock"], 16) - int(span["fromBlock"], 16) >= 100
    return {"error": {"code": -32005, "message": "block range exceeds limit"}} if wide else []


FAULTS: list[tuple[Answers, str, str, str]] = [
    ({"eth_chainId": NO_METHOD}, "chain", "failed", "no Ethereum RPC"),
    ({"eth_chainId": "nonsense"}, "chain", "failed", "nonsense: ValueError"),
    ({"eth_chainId": "raw:not json"}, "chain", "failed", "nonsense: DecodeError"),
    ({"eth_chainId": "raw:" + "[" * 100_000}, "chain", "failed", "nonsense: RecursionError"),
    ({"eth_subscribe": NO_METHOD}, "subscriptions", "failed", "method not found"),
    ({"eth_getBlockByNumber": lambda *_: _block(age_seconds=3600)}, "head", "failed", "height 4096, 60 min old"),
    ({"eth_getBlockByNumber": None}, "head", "failed", "nonsense"),
    ({"eth_getBlockReceipts": NO_METHOD}, "receipts", "failed", "method not found"),
    ({"eth_getBlockReceipts": [{}]}, "receipts", "note", "1 receipts for 2 messages"),
    ({"eth_getBlockByNumber": lambda *_: _block()}, "look-back", "note", "not 2000 epochs"),
    ({"eth_getLogs": _log_limit}, "log range", "ok", "45 epochs"),
    ({"eth_getLogs": NO_METHOD}, "log range", "note", "method not found"),
]


@pytest.mark.parametrize("changed,check,outcome,detail", FAULTS)
async def test_faults_of_a_node(changed: dict[str, Callable[..., Any]], check: str, outcome: str, detail: str) -> None:
    """Each fault is found where it is, with what to do about it."""
    async with _node(_answers(**changed)) as node:
        finding = _found(await examine(_settings(node)), check)
    assert finding.outcome == outcome
    assert detail in finding.detail
    assert bool(finding.advice) == (outcome != "ok")


async def test_wrong_chain() -> None:
    """A node of another chain than expected fails; so do nodes that disagree."""
    async with _node(_answers()) as one, _node(_answers(eth_chainId="0x4cb2f")) as two:
        assert _found(await examine(_settings(one, chain_id=314159)), "chain").detail == "chain 314, but chain_id is set to 314159"
        agreement = _found(await examine(_settings(one, Node("other", two.url))), "agreement")
    assert (agreement.outcome, agreement.detail) == ("failed", "chains 314, 314159")


async def test_nobody_there() -> None:
    """Where nothing listens there is one finding, the connection's."""
    findings = [finding for finding in await examine(_settings(Node("own", "ws://127.0.0.1:1/"))) if finding.subject == "own"]
    assert [(finding.check, finding.outcome) for finding in findings] == [("connection", "failed")]
    assert findings[0].advice


async def test_recordings_need_no_node() -> None:
    """A recording stands for a node: nothing to connect to."""
    assert _found(await examine(_settings(Node("node1", "replay:devnet"))), "recording").detail == "replay:devnet"


async def test_redis_that_is_away() -> None:
    """An unreachable Redis fails, without its password."""
    (finding,) = await check_redis(_settings(Node("own", "replay:devnet"), redis_url=SecretStr("redis://:planted@127.0.0.1:1/0")))
    assert finding.outcome == "failed"
    assert "planted" not in str(finding)
