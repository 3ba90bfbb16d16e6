"""What a recorded node answers at a moment: what it was asked then, and what follows from its chain."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw

from streams.chain import Link
from streams.recording import Recorded, RecordedError, Recording, question
from streams.records import Hash
from streams.rpc import NO_SUCH_METHOD, NULL_ROUND, RANGE_TOO_WIDE
from streams.wire import Cid, tipset_hash

NO_ANSWER = -32000
MAX_LOG_RANGE_EPOCHS = 2880

_TAGS = {"latest", "pending", "safe", "finalized", "earliest"}


class Refused(Exception):
    """The node answers with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.error = RecordedError(code, message)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the node does not do: `Filecoin.*` at all, wide ranges of logs, blocks far below the head."""

    eth_only: bool = False
    log_range_epochs: int = MAX_LOG_RANGE_EPOCHS
    look_back_epochs: int | None = None


class Answers:
    """Answers questions as the recorded node would at a time."""

    def __init__(self, recording: Recording, limits: Limits | None = None) -> None:
        self._recording = recording
        self._limits = limits or Limits()
        self._siblings: dict[Hash, list[Link]] = {}
        for link in recording.links.values():
            self._siblings.setdefault(link.parent_hash, []).append(link)
        self._derived: dict[str, Callable[[list[Any], float], Any]] = {
            "eth_blockNumber": lambda _, now: hex(self._tip(now).height),
            "eth_syncing": lambda _, __: False,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBlockReceipts": self._receipts,
            "eth_getLogs": self._logs,
            "Filecoin.ChainHead": lambda _, now: self._native_head(now),
            "Filecoin.ChainGetTipSetByHeight": self._tipset_by_height,
            "Filecoin.ChainGetTipSetAfterHeight": self._tipset_after_height,
        }

    def answer(self, method: str, params: list[Any], now: float) -> Raw:
        """The result of a call, `now` seconds after the start of the recording.

        Raises:
            Refused: the node would answer with an error, or was never asked.
        """
        if method.startswith("Filecoin.") and (self._limits.eth_only or not self._recording.native):
            raise Refused(NO_SUCH_METHOD, f"method '{method}' not found")
        recorded = self._recorded(method, params, now)
        if recorded is None and method in self._derived:
            return Raw(msgspec.json.encode(self._derived[method](params, now)))
        if recorded is None:
            known = any(asked == method for asked, _ in self._recording.answers)
            raise Refused(
                *((NO_ANSWER, f"{method}: not asked in the recording") if known else (NO_SUCH_METHOD, f"method '{method}' not found"))
            )
        if recorded.error is not None:
            raise Refused(recorded.error.code, recorded.error.message)
        return recorded.result

    def _recorded(self, method: str, params: list[Any], now: float) -> Recorded | None:
        given = self._recording.answers.get(question(method, params))
        if given is None and params and method not in self._derived:
            # Asked at another block than in the recording: code, storage and calls are told once, for the newest.
            given = self._recording.answers.get(question(method, [*params[:-1], "latest"]))
        if given is None and method.startswith("Filecoin.State") and params:
            given = self._beside(method, params)
        if given is None:
            return None
        return next((one for one in reversed(given) if one.seconds <= now), given[0])

    def _beside(self, method: str, params: list[Any]) -> list[Recorded] | None:
        """The answer in the state before another tipset with the same parent: it is the same state."""
        link = self._recording.links.get(_hash_of(params[-1]))
        siblings = self._siblings.get(link.parent_hash, ()) if link is not None else ()
        asked = (self._recording.answers.get(question(method, [*params[:-1], one.key])) for one in siblings)
        return next((given for given in asked if given is not None), None)

    def _tip(self, now: float) -> Link:
        head = self._recording.head_at(now)
        link = self._recording.links.get(head[0]) if head is not None else None
        if link is None:
            raise Refused(NO_ANSWER, "the node has no executed tipset yet")
        return link

    def _native_head(self, now: float) -> Any:
        head = self._recording.head_at(now)
        if head is None or head[1] is None:
            raise Refused(NO_ANSWER, "the node has no head yet")
        return self._tipset(Link.of_tipset(head[1]))

    def _at(self, height: int, now: float) -> Link:
        """The executed tipset at `height`, as the eth view has it."""
        tip = self._tip(now)
        if height > tip.height:
            raise Refused(NO_ANSWER, f"requested a future epoch (beyond 'latest'): {height}")
        self._check_look_back(height, now)
        for link in self._recording.chain(tip.hash):
            if link.height == height:
                return link
            if link.height < height:
                raise Refused(NULL_ROUND, f"requested epoch was a null round ({height})")
        raise Refused(NO_ANSWER, f"epoch {height} is below the start of the recording")

    def _check_look_back(self, height: int, now: float) -> None:
        limit = self._limits.look_back_epochs
        if limit is not None and height < self._tip(now).height - limit:
            raise Refused(NO_ANSWER, f"bad tipset height: lookbacks of more than {limit} epochs are disallowed")

    def _block(self, link: Link, *, full: bool, now: float) -> Any:
        recorded = self._recorded("eth_getBlockByHash", [link.hash, True], now)
        if recorded is None or recorded.error is not None:
            raise Refused(NO_ANSWER, f"block {link.hash} is not in the recording")
        if full:
            return recorded.result
        block = msgspec.json.decode(recorded.result)
        return {**block, "transactions": [one["hash"] for one in block["transactions"]]}

    def _block_by_number(self, params: list[Any], now: float) -> Any:
        number, *rest = params
        link = self._tip(now) if number in _TAGS else self._at(_height(number), now)
        return self._block(link, full=bool(rest and rest[0]), now=now)

    def _block_by_hash(self, params: list[Any], now: float) -> Any:
        link = self._recording.links.get(str(params[0]).lower())
        if link is None:
            raise Refused(NO_ANSWER, f"block {params[0]} is not in the recording")
        return self._block(link, full=bool(params[1:] and params[1]), now=now)

    def _receipts(self, params: list[Any], now: float) -> Any:
        number = params[0]
        link = self._tip(now) if number in _TAGS else self._at(_height(number), now)
        return self._recorded_logs("eth_getBlockReceipts", link.hash, now)

    def _recorded_logs(self, method: str, block: Hash, now: float) -> Raw:
        recorded = self._recorded(method, [block if method == "eth_getBlockReceipts" else {"blockHash": block}], now)
        if recorded is None or recorded.error is not None:
            raise Refused(NO_ANSWER, f"{method}: {block} is not in the recording")
        return recorded.result

    def _logs(self, params: list[Any], now: float) -> Any:
        wanted = params[0] if params and isinstance(params[0], dict) else {}
        tip = self._tip(now)
        low, high = (tip.height if wanted.get(edge, "latest") in _TAGS else _height(wanted[edge]) for edge in ("fromBlock", "toBlock"))
        if high - low + 1 > self._limits.log_range_epochs:
            raise Refused(RANGE_TOO_WIDE, f"block range exceeds maximum of {self._limits.log_range_epochs}: got {high - low + 1}")
        if high > tip.height:
            raise Refused(NO_ANSWER, f"events for epoch {high} are not yet available")
        self._check_look_back(low, now)
        inside = [link for link in self._recording.chain(tip.hash) if low <= link.height <= high]
        return [log for link in reversed(inside) for log in msgspec.json.decode(self._recorded_logs("eth_getLogs", link.hash, now))]

    def _tipset(self, link: Link) -> Any:
        recorded = self._recording.answers.get(question("Filecoin.ChainGetTipSet", [link.key]))
        if recorded:
            return recorded[0].result
        block = {"Parents": link.parent_key, "Height": link.height, "Timestamp": link.timestamp_seconds}
        return {"Cids": link.key, "Blocks": [block], "Height": link.height}

    def _below(self, params: list[Any], now: float) -> list[Link]:
        key = msgspec.convert(params[1] if params[1:] and params[1] else [], list[Cid])
        if key:
            return list(self._recording.chain(tipset_hash(key)))
        head = self._recording.head_at(now)
        tip = Link.of_tipset(head[1]).hash if head is not None and head[1] is not None else self._tip(now).hash
        return list(self._recording.chain(tip))

    def _tipset_by_height(self, params: list[Any], now: float) -> Any:
        return self._found(next((link for link in self._below(params, now) if link.height <= params[0]), None), params[0])

    def _tipset_after_height(self, params: list[Any], now: float) -> Any:
        above = [link for link in self._below(params, now) if link.height >= params[0]]
        return self._found(above[-1] if above else None, params[0])

    def _found(self, link: Link | None, height: int) -> Any:
        if link is None or not link.key:
            raise Refused(NO_ANSWER, f"no tipset for height {height} in the recording")
        return self._tipset(link)


def _hash_of(key: Any) -> Hash:
    try:
        return tipset_hash(msgspec.convert(key, list[Cid]))
    except msgspec.ValidationError:
        return ""


def _height(number: Any) -> int:
    try:
        return int(number, 16)
    except (TypeError, ValueError):
        raise Refused(-32602, f"{number!r} is no block number") from None
