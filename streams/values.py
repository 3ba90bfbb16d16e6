"""What the single values of the settings may be.

Each function takes what somebody wrote and answers what it means, or raises ValueError with a sentence that names the value and
what is allowed. What may be secret in a URL, `shown_url` hides and `secrets_in` tells.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias
from urllib.parse import unquote, unquote_plus, urlsplit

from pydantic import AfterValidator, SecretStr

PREFIX = "FVM_PULSE_"
EPOCHS_PER = {"e": 1, "m": 2, "h": 120, "d": 2880}
LONGEST_WINDOW_EPOCHS = 400 * 2880
MOST_WINDOWS = 16

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_WINDOW = re.compile(r"([1-9][0-9]{0,6})([emhd])")
_KEY_LIKE = re.compile(r"(?:[A-Za-z0-9_~.-]|%[0-9A-Fa-f]{2}){20,}")


def shown_url(url: str) -> str:
    """`url` without what may be secret: user and password, query values, path segments that look like an access key."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "***"
    if "@" in parts.path and not parts.netloc:
        return f"***@{parts.path.rpartition('@')[2]}"  # misspelt: whatever stands there may be a password
    path = _KEY_LIKE.sub("***", parts.path)
    user = "***@" if "@" in parts.netloc else ""
    separator = "://" if "://" in url else ":" if parts.scheme else ""
    return f"{parts.scheme}{separator}{user}{host}{path}{'?***' if parts.query else ''}"


SHORTEST_KEY = 6
"""Characters of a query value that may be a key: hiding shorter ones, such as db=0, would make logs unreadable."""


def secrets_in(url: str) -> Iterator[str]:
    """What `shown_url` hides: a library may log the parts by themselves, decoded, or as the header that they become."""
    parts = urlsplit(url)
    queried = [value if equals else name for name, equals, value in (part.partition("=") for part in re.split("[&;]", parts.query))]
    hidden = [*_KEY_LIKE.findall(parts.path), *(one for one in queried if len(unquote(one)) >= SHORTEST_KEY)]
    if parts.password:
        hidden.append(parts.password)
        yield base64.b64encode(f"{unquote(parts.username or '')}:{unquote(parts.password)}".encode()).decode()
    for key in hidden:
        yield from {key, unquote(key), unquote_plus(key)}


@dataclass(frozen=True, slots=True)
class Node:
    """A node: `name` is its label everywhere, `url` starts with `ws://`, `wss://` or `replay:`."""

    name: str
    url: str = field(repr=False)
    token: SecretStr | None = None

    @property
    def recording(self) -> str | None:
        """The name or file of the recording that stands for this node, None for a real one."""
        return self.url.removeprefix("replay:") if self.url.startswith("replay:") else None

    @property
    def shown(self) -> str:
        """The URL as it may be logged."""
        return self.url if self.recording is not None else shown_url(self.url)

    @property
    def token_variable(self) -> str:
        """The environment variable that holds this node's token."""
        return f"{PREFIX}TOKEN_{self.name.upper().replace('-', '_')}"


class Listen(NamedTuple):
    """Where to serve HTTP; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _parts(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _node(text: object, position: int) -> Node:
    if isinstance(text, Node):
        return text
    name, url = f"node{position}", str(text)
    prefix, equals, rest = url.partition("=")
    if equals and "://" not in prefix and not prefix.startswith("replay:"):
        name, url = prefix, rest
    if not _NAME.fullmatch(name) or name == "files":
        raise ValueError(
            f"{name!r} is no name for a node: use lower-case letters, digits, - and _ (such as own=ws://127.0.0.1:1234/rpc/v1)"
        )
    if url.startswith("replay:") and url != "replay:":
        return Node(name, url)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", url)
        (parts.hostname or "").encode("idna")
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(
            f"{shown_url(url)!r} is not a websocket URL: allowed are ws://HOST[:PORT]/PATH, wss://HOST[:PORT]/PATH and replay:NAME"
        )
    if parts.username is not None and parts.password is None:
        raise ValueError(f"{shown_url(url)!r} has a user without a password: allowed are USER:PASSWORD@HOST, and a token beside the URL")
    return Node(name, url)


def nodes(value: object) -> tuple[Node, ...]:
    """A list, or text with commas, of `[NAME=]URL`, the preferred one first."""
    given = _parts(value)
    if not isinstance(given, Sequence) or not given:
        raise ValueError("at least one node is needed: a list of websocket URLs in order of preference")
    found = tuple(_node(item, position) for position, item in enumerate(given, start=1))
    names = [one.name for one in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"two nodes are named {min(twice)!r}: each needs a name of its own")
    return found


def windows(value: object) -> tuple[str, ...]:
    """A list, or text with commas, of `<n>e`, `<n>m`, `<n>h` and `<n>d`, each once."""
    given = _parts(value)
    if not isinstance(given, Sequence) or not 1 <= len(given) <= MOST_WINDOWS:
        raise ValueError(f"allowed are 1 to {MOST_WINDOWS} windows, such as 1h,24h,7d,30d")
    for window in given:
        match = _WINDOW.fullmatch(str(window))
        if not match or int(match[1]) * EPOCHS_PER[match[2]] > LONGEST_WINDOW_EPOCHS:
            raise ValueError(f"{window!r} is not a window: allowed are <n>e (epochs), <n>m, <n>h and <n>d up to 400d, such as 120e or 24h")
        if list(given).count(window) > 1:
            raise ValueError(f"the window {window!r} is given twice")
    return tuple(str(window) for window in given)


def path(value: Path) -> Path:
    """A path, its `~` written out."""
    if "\0" in str(value):
        raise ValueError(f"{str(value)!r} is no path: it has a NUL in it")
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError(f"{str(value)!r} is no path here: {value.parts[0]} is nobody's home") from None


File: TypeAlias = Annotated[Path, AfterValidator(path)]


def backfill(value: str) -> str:
    """How much history to fill: `auto`, `off` or a window."""
    if value not in {"auto", "off"}:
        try:
            windows([value])
        except ValueError:
            raise ValueError(f"{value!r} is not allowed: allowed are auto, off and a window such as 24h or 500e") from None
    return value


def listen(value: object) -> Listen:
    """`HOST:PORT`, an IPv6 address in brackets."""
    if isinstance(value, Listen):
        return value
    host, colon, port = str(value).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value!r} is not HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:9464")
    return Listen(host, int(port))


def redis_url(value: SecretStr) -> SecretStr:
    """The URL of a Redis, over TCP, TLS or a unix socket."""
    url = value.get_secret_value()
    try:
        parts = urlsplit(url)
        usable = (
            bool(parts.path) if parts.scheme == "unix" else parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0
        )
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(
            f"{shown_url(url)!r} is not a Redis URL: allowed are redis://HOST[:PORT][/DB], rediss://HOST[:PORT][/DB] and unix:///PATH"
        )
    return value


def brokers(value: object) -> tuple[str, ...]:
    """A list, or text with commas, of `HOST:PORT`."""
    given = _parts(value)
    if not isinstance(given, Sequence) or not given:
        raise ValueError("at least one broker is needed, as HOST:PORT")
    return tuple(str(listen(broker)) for broker in given)


def token_files(value: object) -> object:
    """A table of files by node, or text such as `own=/run/token,other=…`."""
    if isinstance(value, str):
        return dict(str(part).partition("=")[::2] for part in value.split(",") if part.strip())
    return value
