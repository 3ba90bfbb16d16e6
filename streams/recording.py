"""Recordings of what a node sent and answered: reading one, and the chain that it shows.

One JSON object a line, in the order in which things happened: `{"t":seconds,"kind":…}` with `kind` one of `sub` (what was subscribed),
`frame` (`msg`: what the node sent), `rpc` (`method`, `params` and `result` or `error`) and `map` (`tsk`, `hash`, `height`: not
needed, the hash follows from the key). Plain files are read, and those that gzip or xz made.
"""

import gzip
import lzma
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from streams import values
from streams.chain import Link
from streams.errors import NodeFault, RecordingError
from streams.records import Hash
from streams.wire import EthHeader, Tipset, read

BUNDLED = ("devnet",)
KINDS = ("sub", "frame", "rpc", "map")
Topic: TypeAlias = Literal["heads", "newHeads", "logs"]


UNIX_TIMES_FROM = 10**9
"""A recording that starts later than this counts in Unix time."""


class RecordedError(Struct, frozen=True, omit_defaults=True):
    """The error that a node answered; a reverted call has data."""

    code: int
    message: str = ""
    data: Any = None


class _Message(Struct):
    method: str = ""
    params: Raw = Raw(b"[]")


class _Subscription(Struct):
    result: Raw


class _Change(Struct):
    type: str = msgspec.field(name="Type")
    val: Raw = msgspec.field(name="Val")


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


@dataclass(frozen=True, slots=True)
class Head:
    """From `seconds` on, `tip` is the newest executed tipset, and `native` (None on an eth-only node) the head on top of it."""

    seconds: float
    tip: Hash
    native: Hash | None


@dataclass(slots=True)
class Recording:
    """What a recording holds.

    Attributes:
        frames: in order of time.
        answers: by method and parameters (`question`), in order of time.
        links: every tipset whose place in the chain is told, by hash.
        tipsets: the native form of tipsets, by hash.
        heads: how the head moved, in order of time.
    """

    frames: list[Frame] = field(default_factory=list)
    answers: dict[tuple[str, str], list[Recorded]] = field(default_factory=dict)
    links: dict[Hash, Link] = field(default_factory=dict)
    tipsets: dict[Hash, Raw] = field(default_factory=dict)
    heads: list[Head] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """When the last frame was sent."""
        return self.frames[-1].seconds

    @property
    def native(self) -> bool:
        """Whether the node told its heads by `ChainNotify`."""
        return self.heads[0].native is not None

    def head_at(self, seconds: float) -> Head | None:
        """The head at a time; None before the first."""
        place = bisect_right(self.heads, seconds, key=lambda head: head.seconds)
        return self.heads[place - 1] if place else None

    def chain(self, tip: Hash) -> Iterator[Link]:
        """The tipsets from `tip` downwards, as far as the recording knows them."""
        link = self.links.get(tip)
        while link is not None:
            yield link
            below = self.links.get(link.parent_hash)
            link = below if below is not None and below.height < link.height else None


def question(method: str, params: Any) -> tuple[str, str]:
    """The key of an answer: equal for questions that mean the same, whatever the case of their hex digits."""
    return method, msgspec.json.encode(params or [], order="sorted").decode().lower()


def load(name: str) -> Recording:
    """The recording in the file `name`, or the bundled one of that name.

    Raises:
        RecordingError: not to be read, truncated, not a recording, or one without heads.
    """
    try:
        path = Path(str(files("streams") / "recordings" / f"{name}.jsonl.xz")) if name in BUNDLED else values.path(Path(name))
    except ValueError as error:
        raise RecordingError(f"recording: {error}") from None
    recording = Recording()
    number = 0
    try:
        for line in _lines(path):
            number += 1
            if line.strip():
                _take(recording, msgspec.json.decode(line, type=_Line))
    except FileNotFoundError:
        raise RecordingError(f"{name}: no such recording: allowed are a file and {', '.join(BUNDLED)}") from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise RecordingError(f"{path}: can not be read behind line {number} ({error}): is the file whole?") from error
    except (msgspec.MsgspecError, NodeFault, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(
            f"{path}:{number}: not a line of a recording ({error}): allowed are objects of kind {', '.join(KINDS)}"
        ) from error
    if not recording.heads:
        raise RecordingError(f"{path}: no head is announced in its {number} lines: a recording needs frames of ChainNotify or newHeads")
    return _in_order(recording)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        beginning = file.read(6)
    opener: Any = gzip.open if beginning.startswith(b"\x1f\x8b") else lzma.open if beginning.startswith(b"\xfd7zXZ") else open
    with opener(path, "rb") as file:
        yield from file


def _in_order(recording: Recording) -> Recording:
    """Everything in order of time, counted from the start of the recording."""
    first = min(recording.frames[0].seconds, recording.heads[0].seconds)
    start = first if first >= UNIX_TIMES_FROM else 0.0
    timed: tuple[list[Any], ...] = (recording.frames, recording.heads, *recording.answers.values())
    for several in timed:
        several.sort(key=lambda one: one.seconds)
        if start:
            several[:] = [replace(one, seconds=one.seconds - start) for one in several]
    return recording


def _take(recording: Recording, line: _Line) -> None:
    match line.kind:
        case "frame":
            if line.msg is not None:
                _take_frame(recording, line.t, line.msg)
        case "rpc":
            answer = Recorded(line.t, line.result or Raw(b"null"), line.error)
            recording.answers.setdefault(question(line.method, line.params), []).append(answer)
            _learn(recording, line)
        case "sub" | "map":
            pass
        case _:
            raise NodeFault(f"unknown kind {line.kind!r}")


def _take_frame(recording: Recording, seconds: float, message: _Message) -> None:
    if message.method == "xrpc.ch.val":
        _, value = read(message.params, tuple[int, Raw], "ChainNotify")
        if bytes(value).lstrip().startswith(b"["):
            recording.frames.append(Frame(seconds, "heads", value))
            _take_changes(recording, seconds, read(value, list[_Change], "ChainNotify"))
    elif message.method == "eth_subscription":
        value = read(message.params, _Subscription, "eth_subscription").result
        if b'"parentHash"' in bytes(value):
            recording.frames.append(Frame(seconds, "newHeads", value))
            _take_header(recording, seconds, Link.of_header(read(value, EthHeader, "newHeads")))
        elif b'"topics"' in bytes(value):
            recording.frames.append(Frame(seconds, "logs", value))


def _take_header(recording: Recording, seconds: float, link: Link) -> None:
    recording.links.setdefault(link.hash, link)
    if not recording.heads or not recording.native:
        recording.heads.append(Head(seconds, link.hash, None))


def _take_changes(recording: Recording, seconds: float, changes: list[_Change]) -> None:
    """One list of changes is one move of the head; it may end lower than it began."""
    head: Link | None = None
    for change in changes:
        link = _keep_tipset(recording, change.val)
        head = recording.links.get(link.parent_hash) if change.type == "revert" else link
    if recording.heads and not recording.native:
        recording.heads.clear()
    if head is not None:
        recording.heads.append(Head(seconds, head.parent_hash, head.hash))


def _keep_tipset(recording: Recording, value: Raw) -> Link:
    link = Link.of_tipset(read(value, Tipset, "tipset"))
    recording.links[link.hash] = link
    recording.tipsets.setdefault(link.hash, value)
    return link


def _learn(recording: Recording, line: _Line) -> None:
    if line.error is not None or bytes(line.result) in {b"", b"null"}:
        return
    if line.method == "Filecoin.ChainGetTipSet":
        _keep_tipset(recording, line.result)
    elif line.method in {"eth_getBlockByHash", "eth_getBlockByNumber"}:
        link = Link.of_header(read(line.result, EthHeader, line.method))
        recording.links.setdefault(link.hash, link)
