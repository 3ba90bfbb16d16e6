"""Recordings of what a node sent and answered: reading one, and the chain that it shows.

One JSON object a line, in the order in which things happened: `{"t":seconds,"kind":…}` with `kind` one of `sub` (what was subscribed),
`frame` (`msg`: what the node sent), `rpc` (`method`, `params` and `result` or `error`) and `map` (`tsk`, `hash`, `height`: not
needed, the hash follows from the key). Plain, `.gz` and `.xz` files are read.
"""

import gzip
import lzma
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from streams.chain import Link
from streams.errors import NodeFault, RecordingError
from streams.records import Hash
from streams.wire import EthHeader, HeadChange, Tipset, read, tipset_hash

BUNDLED = ("devnet",)
KINDS = ("sub", "frame", "rpc", "map")
Topic: TypeAlias = Literal["heads", "newHeads", "logs"]


class RecordedError(Struct, frozen=True):
    """The error that a node answered."""

    code: int = 0
    message: str = ""


class _Message(Struct):
    method: str = ""
    params: Raw = Raw(b"[]")


class _Subscription(Struct):
    result: Raw


class _Line(Struct):
    kind: str
    t: float = 0.0
    msg: _Message | None = None
    method: str = ""
    params: Any = None
    result: Raw = Raw()
    error: RecordedError | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """Something the node sent by itself, `seconds` after the start: `value` is the list of head changes, the header or the log."""

    seconds: float
    topic: Topic
    value: Raw


@dataclass(frozen=True, slots=True)
class Recorded:
    """An answer, given `seconds` after the start."""

    seconds: float
    result: Raw
    error: RecordedError | None


@dataclass(slots=True)
class Recording:
    """What a recording holds.

    Attributes:
        frames: in order of time.
        answers: by method and parameters (`question`), in order of time.
        links: every tipset whose place in the chain is told, by hash.
        heads: the times at which the newest executed tipset changed, with its hash, the native head's key and its value.
    """

    frames: list[Frame] = field(default_factory=list)
    answers: dict[tuple[str, str], list[Recorded]] = field(default_factory=dict)
    links: dict[Hash, Link] = field(default_factory=dict)
    heads: list[tuple[float, Hash, Tipset | None]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """When the last frame was sent."""
        return self.frames[-1].seconds

    @property
    def native(self) -> bool:
        """Whether the node told its heads by `ChainNotify`."""
        return self.heads[0][2] is not None

    def head_at(self, seconds: float) -> tuple[Hash, Tipset | None] | None:
        """The newest executed tipset, and natively the head on top of it, at a time; None before the first."""
        place = bisect_right(self.heads, seconds, key=lambda head: head[0])
        return self.heads[place - 1][1:] if place else None

    def chain(self, tip: Hash) -> Iterator[Link]:
        """The executed tipsets from `tip` downwards, as far as the recording knows them."""
        link = self.links.get(tip)
        while link is not None:
            yield link
            link = self.links.get(link.parent_hash)


def question(method: str, params: Any) -> tuple[str, str]:
    """The key of an answer: equal for questions that mean the same, whatever the case of their hex digits."""
    return method, msgspec.json.encode(params or [], order="sorted").decode().lower()


def load(name: str) -> Recording:
    """The recording in the file `name`, or the bundled one of that name.

    Raises:
        RecordingError: not to be read, truncated, not a recording, or one without heads.
    """
    path = Path(str(files("streams") / "recordings" / f"{name}.jsonl.xz")) if name in BUNDLED else Path(name).expanduser()
    recording = Recording()
    number = 0
    try:
        for line in _lines(path):
            number += 1
            _take(recording, msgspec.json.decode(line, type=_Line))
    except FileNotFoundError:
        raise RecordingError(f"{name}: no such recording: allowed are a file and {', '.join(BUNDLED)}") from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise RecordingError(f"{path}: can not be read behind line {number} ({error}): is the file whole?") from error
    except (msgspec.MsgspecError, NodeFault, UnicodeDecodeError) as error:
        raise RecordingError(
            f"{path}:{number}: not a line of a recording ({error}): allowed are objects of kind {', '.join(KINDS)}"
        ) from error
    if not recording.heads:
        raise RecordingError(f"{path}: no head is announced in its {number} lines: a recording needs frames of ChainNotify or newHeads")
    return recording


def _lines(path: Path) -> Iterator[bytes]:
    opener: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with opener(path, "rb") as file:
        for line in file:
            if line.strip():
                yield line


def _take(recording: Recording, line: _Line) -> None:
    match line.kind:
        case "frame":
            if line.msg is not None:
                _take_frame(recording, line.t, line.msg)
        case "rpc":
            answer = Recorded(line.t, line.result, line.error)
            recording.answers.setdefault(question(line.method, line.params), []).append(answer)
            _learn(recording, line)
        case "sub" | "map":
            pass
        case _:
            raise NodeFault(f"unknown kind {line.kind!r}")


def _take_frame(recording: Recording, seconds: float, message: _Message) -> None:
    if message.method == "xrpc.ch.val":
        _, value = read(message.params, tuple[int, Raw], "ChainNotify")
        recording.frames.append(Frame(seconds, "heads", value))
        for change in read(value, list[HeadChange], "ChainNotify"):
            _take_change(recording, seconds, change)
    elif message.method == "eth_subscription":
        value = read(message.params, _Subscription, "eth_subscription").result
        is_head = b'"parentHash"' in bytes(value)
        recording.frames.append(Frame(seconds, "newHeads" if is_head else "logs", value))
        if is_head:
            link = Link.of_header(read(value, EthHeader, "newHeads"))
            recording.links.setdefault(link.hash, link)
            if not recording.heads or not recording.native:
                recording.heads.append((seconds, link.hash, None))


def _take_change(recording: Recording, seconds: float, change: HeadChange) -> None:
    link = Link.of_tipset(change.val)
    recording.links[link.hash] = link
    if recording.heads and not recording.native:
        recording.heads.clear()
    if change.type != "revert":
        recording.heads.append((seconds, tipset_hash(link.parent_key), change.val))


def _learn(recording: Recording, line: _Line) -> None:
    if line.error is not None or bytes(line.result) in {b"", b"null"}:
        return
    if line.method == "Filecoin.ChainGetTipSet":
        link = Link.of_tipset(read(line.result, Tipset, line.method))
        recording.links[link.hash] = link
    elif line.method == "eth_getBlockByHash":
        link = Link.of_header(read(line.result, EthHeader, line.method))
        recording.links.setdefault(link.hash, link)
