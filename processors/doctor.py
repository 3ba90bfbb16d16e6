"""The doctor: asks each node and Redis for everything that a run will need, and says what to do about what is missing.

A check is a coroutine that returns what it found, or raises `Trouble` with what to do. Checks of one node share a session
and run in order, since later ones need what earlier ones learnt; nodes are checked side by side.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import msgspec
from redis.exceptions import RedisError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from processors.embedded import find_server, holder
from processors.logs import presentable
from processors.page import age
from processors.parts import redis_at
from streams.errors import UsageError
from streams.settings import Settings
from streams.values import Node

ANSWER_SECONDS = 15.0
LONGEST_FRAME_BYTES = 64 * 2**20
SPREAD_EPOCHS = 6
"""How many epochs in a row may be null rounds before a look-back is called refused."""
LOG_RANGE_EPOCHS = 2880
LONGEST_MESSAGE, LONGEST_DETAIL = 120, 300
"""Letters that are shown of what others said, once no secret is in it."""
NOWHERE = "0x00000000000000000000000000000000000dead0"
OLDEST_REDIS = (6, 2)
_ENABLE_ETH = "enable it: in Lotus' config.toml set Fevm.EnableEthRPC = true (and Events.EnableActorEventsAPI), then restart the node"

Outcome: TypeAlias = Literal["ok", "note", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `advice` says what to do where the outcome is not `ok`."""

    subject: str
    check: str
    outcome: Outcome
    detail: str
    advice: str = ""


class Trouble(Exception):
    """A check did not go well; `outcome` is `note` where a run can live with it."""

    def __init__(self, detail: str, advice: str, outcome: Outcome = "failed") -> None:
        super().__init__(detail)
        self.finding = (outcome, detail, advice)


class Refused(Exception):
    """The node answered a request with an error."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {message[:LONGEST_MESSAGE]} (code {code})")
        self.code = code


@dataclass
class Session:
    """One connection to a node, one request at a time, and what the checks have learnt on it."""

    socket: ClientConnection
    settings: Settings
    asked: int = 0
    chain_id: int | None = None
    head: int = 0
    block: dict[str, Any] = field(default_factory=dict)

    async def call(self, method: str, *params: object) -> Any:
        """The result; notices that come in between are dropped.

        Raises:
            Refused: the node answered with an error.
        """
        self.asked = number = self.asked + 1
        await self.socket.send(msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).decode())
        while True:
            answer = msgspec.json.decode(await self.socket.recv())
            if isinstance(answer, dict) and answer.get("id") == number:
                break
        if error := answer.get("error"):
            raise Refused(method, int(error.get("code", 0)), presentable(str(error.get("message", "")), self.settings.secrets))
        return answer.get("result")


Check: TypeAlias = Callable[[Session], Awaitable[str]]


async def _chain_id(session: Session) -> str:
    try:
        session.chain_id = int(await session.call("eth_chainId"), 16)
    except Refused as refusal:
        raise Trouble(f"no Ethereum RPC ({refusal})", _ENABLE_ETH) from refusal
    wanted = session.settings.chain_id
    if wanted is not None and wanted != session.chain_id:
        raise Trouble(f"chain {session.chain_id}, but chain_id is set to {wanted}", "use a node of that chain, or correct chain_id")
    name = {314: "mainnet", 314159: "calibration"}.get(session.chain_id, "a network of its own")
    return f"{session.chain_id} ({name})"


async def _order(session: Session) -> str:
    try:
        await session.call("Filecoin.ChainNotify")
        return f"ChainNotify ({await session.call('Filecoin.StateNetworkName')})"
    except Refused as refusal:
        advice = "nothing to do: reorgs are found by parent hashes; burn is not checked against f099 on such a node"
        raise Trouble("Ethereum RPC only", advice, "note") from refusal


async def _subscriptions(session: Session) -> str:
    for what in (["newHeads"], ["logs", {}]):
        try:
            await session.call("eth_unsubscribe", await session.call("eth_subscribe", *what))
        except Refused as refusal:
            raise Trouble(str(refusal), "use a node or gateway that serves eth_subscribe over its websocket") from refusal
    return "newHeads and logs"


async def _head(session: Session) -> str:
    try:
        session.block = await session.call("eth_getBlockByNumber", "latest", True)
        session.head = int(session.block["number"], 16)
        age_seconds = time.time() - int(session.block["timestamp"], 16)
    except Refused as refusal:
        raise Trouble(str(refusal), _ENABLE_ETH) from refusal
    found = f"height {session.head}, {age(age_seconds)} old"
    if age_seconds > max(session.settings.stale_after_seconds, 120):
        raise Trouble(found, "the node is not in sync: wait for it (lotus sync wait), or list another node before it")
    return found


async def _receipts(session: Session) -> str:
    messages = len(session.block["transactions"])
    try:
        receipts = await session.call("eth_getBlockReceipts", session.block["hash"])
    except Refused as refusal:
        raise Trouble(str(refusal), "use a node that serves eth_getBlockReceipts (Lotus 1.29 or newer)") from refusal
    if len(receipts) != messages:
        raise Trouble(f"{len(receipts)} receipts for {messages} messages", "a run reads again and counts what stays incomplete", "note")
    return f"{messages} messages with their receipts"


async def _look_back(session: Session) -> str:
    wanted = min(session.settings.look_back_epochs, session.head)
    refusal: Refused | None = None
    for height in range(session.head - wanted, min(session.head - wanted + SPREAD_EPOCHS, session.head)):
        try:
            block = await session.call("eth_getBlockByNumber", hex(height), False)
            if block and int(block["number"], 16) == height:
                return f"{wanted} epochs"
        except Refused as error:
            refusal = error
    raise Trouble(
        f"not {wanted} epochs ({refusal or 'null rounds'})", "lower look_back_epochs, or use a node that keeps more history", "note"
    )


async def _log_range(session: Session) -> str:
    """The widest range of logs that is served; a run halves its ranges by itself."""
    epochs = min(LOG_RANGE_EPOCHS, session.head)
    while epochs > 0:
        span = {"fromBlock": hex(session.head - epochs), "toBlock": hex(session.head - 1), "address": NOWHERE}
        try:
            await session.call("eth_getLogs", span)
            return f"{epochs} epochs"
        except Refused as error:
            refusal = error
            epochs //= 4
    raise Trouble(str(refusal) if session.head else "no history yet", "use a node that indexes events", "note")


CHECKS: tuple[tuple[str, Check], ...] = (
    ("chain", _chain_id),
    ("order", _order),
    ("subscriptions", _subscriptions),
    ("head", _head),
    ("receipts", _receipts),
    ("look-back", _look_back),
    ("log range", _log_range),
)
NEEDED = {"chain", "head"}
"""Without these the later checks have nothing to ask."""


def _connection_trouble(node: Node, error: Exception) -> Finding:
    if isinstance(error, InvalidStatus) and error.response.status_code in {401, 403}:
        what = "refused" if node.token else "missing"
        advice = f"set {node.token_variable} to a token with the permission to read (lotus auth create-token --perm read)"
        return Finding(node.name, "connection", "failed", f"token {what} ({error.response.status_code}) at {node.shown}", advice)
    if isinstance(error, InvalidStatus):
        return Finding(
            node.name, "connection", "failed", f"HTTP {error.response.status_code} at {node.shown}", "check the path: Lotus serves /rpc/v1"
        )
    reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return Finding(node.name, "connection", "failed", f"{reason} at {node.shown}", "is the node up, and its API reachable from here?")


async def _one(node: Node, session: Session, name: str, check: Check) -> Finding:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return Finding(node.name, name, "ok", await check(session))
    except Trouble as trouble:
        return Finding(node.name, name, *trouble.finding)
    except TimeoutError:
        return Finding(
            node.name, name, "failed", f"no answer within {ANSWER_SECONDS:.0f} s", "the node is busy or drops requests: try another"
        )
    except Refused as refusal:
        return Finding(node.name, name, "failed", str(refusal), "see the node's log")
    except WebSocketException as error:
        return Finding(node.name, name, "failed", f"the connection ended: {error}", "see the node's log")
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Finding(node.name, name, "failed", f"nonsense: {type(error).__name__} {error}", "is this a Filecoin node?")


async def check_node(node: Node, settings: Settings) -> tuple[list[Finding], int | None]:
    """What there is to say of `node`, and its chain id where it is known."""
    headers = {"Authorization": f"Bearer {node.token.get_secret_value()}"} if node.token else {}
    try:
        async with connect(node.url, additional_headers=headers, max_size=LONGEST_FRAME_BYTES, open_timeout=ANSWER_SECONDS) as socket:
            session = Session(socket, settings)
            findings = [Finding(node.name, "connection", "ok", node.shown)]
            for name, check in CHECKS:
                findings.append(await _one(node, session, name, check))
                if findings[-1].outcome == "failed" and name in NEEDED:
                    break
            return findings, session.chain_id
    except (OSError, TimeoutError, WebSocketException) as error:
        return [_connection_trouble(node, error)], None


async def check_redis(settings: Settings) -> list[Finding]:
    """What there is to say of Redis: the one of `redis_url`, else whether a private one can be started."""
    if settings.redis_url is None:
        return [_embedded(settings)]
    try:
        async with redis_at(settings.redis_url.get_secret_value(), ANSWER_SECONDS) as client:
            facts = await client.info()
    except (RedisError, OSError) as error:
        return [Finding("redis", "connection", "failed", str(error), "is Redis up, and redis_url right (password, TLS as rediss://)?")]
    version = str(facts["redis_version"])
    findings = [Finding("redis", "connection", "ok", f"version {version}")]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        findings = [Finding("redis", "version", "failed", version, "use Redis 6.2 or newer, or Valkey")]
    if facts.get("maxmemory", 0) and facts.get("maxmemory_policy") != "noeviction":
        advice = "set maxmemory-policy noeviction: an evicted key is a wrong number"
        findings.append(Finding("redis", "eviction", "failed", str(facts.get("maxmemory_policy")), advice))
    if not facts.get("aof_enabled"):
        findings.append(
            Finding("redis", "persistence", "note", "append-only file off", "set appendonly yes, or windows start empty after a restart")
        )
    return findings


def _embedded(settings: Settings) -> Finding:
    try:
        program = find_server()
    except UsageError as error:
        return Finding("redis", "embedded", "failed", str(error), "install Redis or set redis_url")
    running = holder(settings.data_dir)
    state = f"in use by process {running}" if running is not None else "free"
    return Finding("redis", "embedded", "ok", f"{program.name}, {settings.data_dir} ({state})")


async def examine(settings: Settings) -> list[Finding]:
    """Every finding, nodes in their order of preference first, Redis last."""
    nodes = [node for node in settings.nodes if node.recording is None]
    answers = await asyncio.gather(*(check_node(node, settings) for node in nodes))
    findings = [finding for found, _ in answers for finding in found]
    findings += [Finding(node.name, "recording", "ok", node.shown) for node in settings.nodes if node.recording is not None]
    chains = {chain for _, chain in answers if chain is not None}
    if len(chains) > 1:
        advice = "list nodes of one chain only: a run refuses nodes that disagree"
        findings.append(Finding("nodes", "agreement", "failed", f"chains {', '.join(map(str, sorted(chains)))}", advice))
    findings += await check_redis(settings)
    return [replace(finding, detail=presentable(finding.detail, settings.secrets)[:LONGEST_DETAIL]) for finding in findings]
