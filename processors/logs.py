"""Logging: structured, to stderr, for people (console) or machines (JSON), and never with a secret in it.

The libraries' own logging goes the same way. The finished line is searched for secrets, so it does not matter how one got
into it: an argument, an exception's text, a library's message.
"""

import json
import logging
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from streams.values import shown_url

_URL = re.compile(r"\b(?:wss?|https?|rediss?)://[^\s\"'<>\\)\]},]+")
_BEARER = re.compile(r"(?i)\b(bearer|authorization:?(?:\s+basic)?)(\s+)(?!bearer|basic)[^\s\"',]+")
_JWT = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
REPEAT_SECONDS = 10.0
_CHATTY = ("aiokafka", "asyncio", "faust", "mode", "processors.consume", "websockets")


def redact(text: str, secrets: Sequence[str] = ()) -> str:
    """`text` without `secrets`, bearer tokens, and what in a URL may be secret."""
    text = _BEARER.sub(r"\1\2***", _JWT.sub("***", _without(secrets, text)))
    return _URL.sub(lambda match: shown_url(match[0]), text)


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _forms(secret: str) -> set[str]:
    """How a secret may be written: as it is, within a `repr` of text or of bytes, and each of these within JSON."""
    written = {secret, repr(secret)[1:-1], repr(secret.encode())[2:-1]}
    return written | {json.dumps(one)[1:-1] for one in written}


def _all_forms(secrets: Iterable[str]) -> list[str]:
    """The longest first, since one may hold another."""
    return sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)


def presentable(text: str, secrets: Iterable[str]) -> str:
    """What a node said, as it may be shown on a terminal: no secret in any form, nothing that is not printable."""
    return "".join(letter if letter.isprintable() else " " for letter in _without(_all_forms(secrets), text))


def _still(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """What others said can not steer a terminal: their texts without control characters, before our own colours come in."""
    return {key: _CONTROL.sub(" ", value) if isinstance(value, str) else value for key, value in event.items()}


class _Redact:
    """The last step of the chain: from the finished line to one that may be written."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = _all_forms(secrets)

    def __call__(self, _logger: WrappedLogger, _name: str, line: EventDict | str) -> str:
        assert isinstance(line, str)
        return redact(line, self._secrets)


class _Sparing(logging.Filter):
    """Of what a library says at one place of its code, one line in `REPEAT_SECONDS`: without a broker, aiokafka says 50 a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        place = record.pathname, record.lineno
        if not record.name.startswith(_CHATTY) or record.created - self._said.get(place, 0) >= REPEAT_SECONDS:
            self._said[place] = record.created
            return True
        return False


def configure(form: Literal["console", "json"] = "console", level: str = "info", secrets: Iterable[str] = ()) -> None:
    """Set up logging for this process; call once, before anything logs.

    Args:
        form: lines for people, or one JSON object a line.
        level: `debug`, `info`, `warning` or `error`; the libraries' chatter is kept to warnings unless `debug`.
        secrets: texts that must never be written.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor] = (
        [structlog.processors.JSONRenderer(default=str)]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _still,
                *last,
                _Redact(secrets),
            ],
        )
    )
    if level != "debug":
        handler.addFilter(_Sparing())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else max(logging.WARNING, getattr(logging, level.upper())))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
