"""What a recorded node answers at a moment: what it was asked then, and what follows from its chain."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from streams.chain import FINALITY_EPOCHS, Link
from streams.errors import NodeFault
from streams.recording import Head, Recorded, RecordedError, Recording, question
from streams.records import Hash
from streams.rpc import NO_SUCH_METHOD, NULL_ROUND, RANGE_TOO_WIDE
from streams.wire import Cid, tipset_hash

NO_ANSWER = -32000
BAD_PARAMS = -32602
MAX_LOG_RANGE_EPOCHS = 2880
SAFE_EPOCHS = 30

_DEPTHS = {"latest": 0, "pending": 0, "safe": SAFE_EPOCHS, "finalized": FINALITY_EPOCHS, "earliest": 2**62}
_BLOCK_PARAMETER = {
    "eth_call": 1,
    "eth_estimateGas": 1,
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
    "eth_getStorageAt": 2,
}
"""Where the block stands in questions about the state."""

Derived: TypeAlias = Callable[[list[Any], float], Any]


class Refused(Exception):
    """The node answers with an error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error = RecordedError(code, message, data)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the node does not do: `Filecoin.*` at all, wide ranges of logs, blocks far below the head."""

    eth_only: bool = False
    log_range_epochs: int = MAX_LOG_RANGE_EPOCHS
    look_back_epochs: int | None = None


class Answers:
    """Answers questions as the recorded node would at a time.

    What depends on the head follows from the chain at that time. A question about the state at a block that the recording did
    not ask about gets the answer for the nearest thing it has: contracts and their answers are taken not to change.
    """

    def __init__(self, recording: Recording, limits: Limits | None = None) -> None:
        self._recording = recording
        self._limits = limits or Limits()
        self._methods = {method for method, _ in recording.answers}
        self._siblings: dict[Hash, list[Link]] = {}
        for link in recording.links.values():
            self._siblings.setdefault(link.parent_hash, []).append(link)
        self._parents = {block: link.parent_hash for link in recording.links.values() for block in link.key}
        self._at_any_block = dict(_without_block(recording))
        self._of_the_chain: dict[str, Derived] = {
            "eth_blockNumber": lambda _, now: hex(self._tip(now).height),
            "eth_getBlockByNumber": self._block,
            "eth_getBlockByHash": self._block,
            "eth_getBlockReceipts": lambda params, now: self._receipts(self._link(params[0], now), now),
            "eth_getLogs": self._logs,
            "Filecoin.ChainHead": lambda _, now: self._tipset(self._native_head(now)),
            "Filecoin.ChainGetTipSet": lambda params, now: self._tipset(self._of_key(params[0], now)),
            "Filecoin.ChainGetTipSetByHeight": self._tipset_by_height,
            "Filecoin.ChainGetTipSetAfterHeight": self._tipset_after_height,
            "Filecoin.ChainGetPath": self._path,
        }
        self._unless_recorded: dict[str, Derived] = {
            "eth_syncing": lambda _, __: False,
            "eth_chainId": lambda _, __: self._chain_id(),
            "net_version": lambda _, __: str(int(self._chain_id(), 16)),
            "web3_clientVersion": lambda _, __: "fvm-pulse/replay",
        }

    def answer(self, method: str, params: list[Any], now: float) -> Raw:
        """The result of a call, `now` seconds after the start of the recording.

        Raises:
            Refused: the node would answer with an error, or was never asked.
        """
        if method.startswith("Filecoin.") and (self._limits.eth_only or not self._recording.native):
            raise Refused(NO_SUCH_METHOD, f"method '{method}' not found")
        try:
            if (derive := self._of_the_chain.get(method)) is not None:
                return _raw(derive(params, now))
            if (recorded := self._recorded(method, params, now)) is not None:
                return _result(recorded)
            if (derive := self._unless_recorded.get(method)) is not None:
                return _raw(derive(params, now))
        except (LookupError, TypeError, ValueError, AttributeError, NodeFault, msgspec.MsgspecError) as error:
            raise Refused(BAD_PARAMS, f"{method}: invalid params ({error})") from error
        if method in self._methods:
            raise Refused(NO_ANSWER, "not available, this was not asked when the recording was made")
        raise Refused(NO_SUCH_METHOD, f"method '{method}' not found")

    def canonical(self, now: float) -> list[Link]:
        """The executed tipsets of the canonical chain, lowest first."""
        head = self._recording.head_at(now)
        return list(self._recording.chain(head.tip))[::-1] if head is not None else []

    # What was asked.

    def _recorded(self, method: str, params: list[Any], now: float) -> Recorded | None:
        given = self._recording.answers.get(question(method, params))
        if given is None and method in _BLOCK_PARAMETER:
            given = self._at_any_block.get(question(method, params[: _BLOCK_PARAMETER[method]]))
        if given is None and method.startswith("Filecoin.State") and params:
            given = self._beside(method, [*params[:-1], params[-1] or self._native_head(now).key])
        if given is None and method.startswith("Filecoin.ChainGetParent"):
            given = self._of_parent(method, params)
        if given is None:
            return None
        return self._of_this_chain(given, params, now) if len(given) > 1 else given[0]

    def _of_this_chain(self, given: list[Recorded], params: list[Any], now: float) -> Recorded:
        """Of several answers the one for the canonical tipset at a height that was asked about, else the newest by then."""
        if params and isinstance(params[0], str) and len(params[0]) < len("0x") + 16:
            block = self._link(params[0], now).hash.encode()
            told = (one for one in reversed(given) if block in bytes(one.result))
            fitting = next(told, None) or next(filter(_is_empty, given), None)
            if fitting is not None:
                return fitting
        return _newest(given, now)

    def _beside(self, method: str, params: list[Any]) -> list[Recorded] | None:
        """The answer in the state before another tipset with the same parent: it is the same state."""
        link = self._recording.links.get(tipset_hash(msgspec.convert(params[-1], list[Cid])))
        siblings = self._siblings.get(link.parent_hash, ()) if link is not None else ()
        asked = (self._recording.answers.get(question(method, [*params[:-1], one.key])) for one in siblings)
        return next((given for given in asked if given is not None), None)

    def _of_parent(self, method: str, params: list[Any]) -> list[Recorded] | None:
        """What any other block with the same parents was asked about them."""
        parent = self._parents.get(msgspec.convert(params[0], Cid))
        blocks = (block for link in self._siblings.get(parent or "", ()) for block in link.key)
        asked = (self._recording.answers.get(question(method, [block])) for block in blocks)
        return next((given for given in asked if given is not None), None)

    def _about(self, method: str, link: Link, now: float, *rest: Any) -> Raw | None:
        """What was answered about a tipset by then, by its hash or by its height."""
        by_hash = self._recording.answers.get(question(method, [link.hash, *rest]), ())
        told = [one for one in by_hash if one.error is None and bytes(one.result) != b"null"]
        if not told:
            by_height = self._recording.answers.get(question(method.replace("ByHash", "ByNumber"), [hex(link.height), *rest]), ())
            some = [one for one in by_height if one.error is None]
            # A list that is empty names no tipset: it is of this one if no other is.
            told = [one for one in some if link.hash.encode() in bytes(one.result).lower()] or [one for one in some if _is_empty(one)]
        return _newest(told, now).result if told else None

    # Where in the chain.

    def _tip(self, now: float) -> Link:
        link = self._recording.links.get(self._head(now).tip)
        if link is None:
            raise Refused(NO_ANSWER, "the newest executed tipset is not in the recording")
        return link

    def _head(self, now: float) -> Head:
        head = self._recording.head_at(now)
        if head is None:
            raise Refused(NO_ANSWER, "the node has no head yet")
        return head

    def _native_head(self, now: float) -> Link:
        return self._recording.links[self._head(now).native or ""]

    def _link(self, block: Any, now: float) -> Link:
        """The tipset that a tag, a number or a hash names."""
        tip = self._tip(now)
        if block in _DEPTHS:
            return self._at_depth(tip, _DEPTHS[block])
        if len(block) != len(tip.hash):
            return self._at(int(block, 16), now)
        link = self._recording.links.get(block.lower())
        if link is None:
            raise Refused(NO_ANSWER, f"block {block} is not in the recording")
        self._check_look_back(link.height, now)
        return link

    def _at_depth(self, tip: Link, epochs: int) -> Link:
        for link in self._recording.chain(tip.hash):
            if link.height <= tip.height - epochs:
                break
        return link

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

    # The eth view.

    def _block(self, params: list[Any], now: float) -> Any:
        link = self._link(params[0], now)
        result = self._about("eth_getBlockByHash", link, now, True)
        if params[1:] and params[1]:
            return _there(result, f"block {link.hash}")
        if result is None:
            return _there(self._about("eth_getBlockByHash", link, now, False), f"block {link.hash}")
        block = msgspec.json.decode(result)
        return {**block, "transactions": [one["hash"] for one in block["transactions"]]}

    def _receipts(self, link: Link, now: float) -> Raw:
        return _there(self._about("eth_getBlockReceipts", link, now), f"eth_getBlockReceipts of {link.hash}")

    def _logs(self, params: list[Any], now: float) -> Any:
        wanted = params[0] if params else {}
        inside = [self._link(wanted["blockHash"], now)] if "blockHash" in wanted else self._range(wanted, now)
        return [log for link in inside for log in self._logs_of(link, now) if matches(log, wanted)]

    def _range(self, wanted: dict[str, Any], now: float) -> list[Link]:
        tip = self._tip(now)
        edges = (wanted.get(edge) or "latest" for edge in ("fromBlock", "toBlock"))
        low, high = (self._link(edge, now).height if edge in _DEPTHS else int(edge, 16) for edge in edges)
        if high - low + 1 > self._limits.log_range_epochs:
            raise Refused(RANGE_TOO_WIDE, f"block range exceeds maximum of {self._limits.log_range_epochs}: got {high - low + 1}")
        if high > tip.height:
            raise Refused(NO_ANSWER, f"events for epoch {high} are not yet available")
        self._check_look_back(low, now)
        return [link for link in self._recording.chain(tip.hash) if low <= link.height <= high][::-1]

    def _logs_of(self, link: Link, now: float) -> list[Any]:
        asked = self._recording.answers.get(question("eth_getLogs", [{"blockHash": link.hash}]), ())
        if told := [one for one in asked if one.error is None]:
            return list(msgspec.json.decode(_newest(told, now).result) or ())
        return [log for receipt in msgspec.json.decode(self._receipts(link, now)) for log in receipt["logs"]]

    def _chain_id(self) -> str:
        """As the messages tell that were signed for it."""
        for (method, _), given in self._recording.answers.items():
            for one in given if method.startswith("eth_getBlockBy") and b'"chainId"' in bytes(given[0].result) else ():
                for transaction in msgspec.json.decode(one.result)["transactions"]:
                    if int(transaction.get("chainId") or "0x0", 16):
                        return str(transaction["chainId"])
        raise Refused(NO_ANSWER, "eth_chainId: this was not asked when the recording was made")

    # The native view.

    def _tipset(self, link: Link) -> Any:
        return _there(self._recording.tipsets.get(link.hash), f"tipset {link.hash}")

    def _of_key(self, key: Any, now: float) -> Link:
        """The tipset with this key; an empty one means the head."""
        if not key:
            return self._native_head(now)
        link = self._recording.links.get(tipset_hash(msgspec.convert(key, list[Cid])))
        if link is None:
            raise Refused(NO_ANSWER, "get tipset: ipld: could not find block in local blockstore")
        self._check_look_back(link.height, now)
        return link

    def _below(self, params: list[Any], now: float) -> list[Link]:
        """The tipsets from the given one down to the height asked about, and the one below it."""
        height = int(params[0])
        self._check_look_back(height, now)
        start = self._of_key(params[1] if params[1:] else None, now)
        if height > start.height:
            raise Refused(NO_ANSWER, "looking for tipset with height greater than start point")
        found = []
        for link in self._recording.chain(start.hash):
            found.append(link)
            if link.height <= height:
                return found
        raise Refused(NO_ANSWER, f"epoch {height} is below the start of the recording")

    def _tipset_by_height(self, params: list[Any], now: float) -> Any:
        return self._tipset(self._below(params, now)[-1])

    def _tipset_after_height(self, params: list[Any], now: float) -> Any:
        return self._tipset([link for link in self._below(params, now) if link.height >= params[0]][-1])

    def _path(self, params: list[Any], now: float) -> list[Any]:
        """What to revert, and then to apply, to get from one tipset to the other."""
        old, new = (list(self._recording.chain(self._of_key(key, now).hash)) for key in params)
        common = {link.hash for link in old} & {link.hash for link in new}
        if not common:
            raise Refused(NO_ANSWER, "the two tipsets have no ancestor in common in the recording")
        left = [{"Type": "revert", "Val": self._tipset(link)} for link in old if link.hash not in common]
        return left + [{"Type": "apply", "Val": self._tipset(link)} for link in reversed(new) if link.hash not in common]


def _newest(given: Sequence[Recorded], now: float) -> Recorded:
    """The newest by then; a question that came before it was recorded gets the first."""
    return next((one for one in reversed(given) if one.seconds <= now), given[0])


def _is_empty(one: Recorded) -> bool:
    return bytes(one.result) == b"[]"


def _without_block(recording: Recording) -> Iterator[tuple[tuple[str, str], list[Recorded]]]:
    """Questions about the state, whatever the block that they were asked at."""
    for (method, params), given in recording.answers.items():
        if method in _BLOCK_PARAMETER:
            yield question(method, msgspec.json.decode(params)[: _BLOCK_PARAMETER[method]]), given


def matches(log: Any, wanted: dict[str, Any]) -> bool:
    """Whether a log is one of those that a filter wants: emitters, and alternatives for each topic."""
    emitters = _alternatives(wanted.get("address"))
    if emitters and log["address"].lower() not in emitters:
        return False
    for place, topic in enumerate(wanted.get("topics") or ()):
        if topic and (place >= len(log["topics"]) or log["topics"][place].lower() not in _alternatives(topic)):
            return False
    return True


def _alternatives(value: Any) -> list[str]:
    return [one.lower() for one in ([value] if isinstance(value, str) else value or ())]


def _result(recorded: Recorded) -> Raw:
    if recorded.error is not None:
        raise Refused(recorded.error.code, recorded.error.message, recorded.error.data)
    return recorded.result


def _raw(value: Any) -> Raw:
    return value if isinstance(value, Raw) else Raw(msgspec.json.encode(value))


def _there(result: Raw | None, what: str) -> Raw:
    if result is None:
        raise Refused(NO_ANSWER, f"{what} is not in the recording")
    return result
