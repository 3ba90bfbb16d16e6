"""One way for every line, and no secret on it."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from processors.logs import configure, redact


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Other tests find logging as they left it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """In JSON each line is an object with time, level and what was bound."""
    configure("json")
    structlog.get_logger("ours").info("tipset applied", height=12, huge=10**30)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["height"], line["huge"], line["level"]) == ("tipset applied", 12, 10**30, "info")
    assert "T" in line["timestamp"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_secret_is_written(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever way a secret gets into a line (argument, library, exception), it does not get out."""
    configure(form, secrets=["planted"])  # type: ignore[arg-type]
    log = structlog.get_logger("ours")
    log.warning("connecting", url="wss://user:word@host/rpc/v1?key=turned", token="planted", headers={"Authorization": "Bearer abc.def"})
    logging.getLogger("websockets").warning("sent %s", "Authorization: Bearer planted")
    try:
        raise ValueError("refused planted at redis://:word@host:6379/0")
    except ValueError:
        log.exception("failed")
    written = capsys.readouterr().err
    assert "refused" in written
    assert "wss://***@host/rpc/v1?***" in written
    for secret in ("planted", "word@", "turned", "abc.def"):
        assert secret not in written


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("secret", ['plan"ted', "plan'ted", "plan\\ted", "plantéd", "planted"])
def test_no_secret_is_written_in_any_form(form: str, secret: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A password may hold anything, and libraries show it as text, as bytes, or within either."""
    configure(form, level="debug", secrets=[secret])  # type: ignore[arg-type]
    structlog.get_logger("ours").warning(f"said {secret!r}", told=secret, many=[secret])
    logging.getLogger("aiokafka").debug("Request: %s", b"\0pulse\0" + secret.encode())
    written = capsys.readouterr().err
    assert written.count("***") >= 4
    assert not [part for part in ("plan", "ted") if part in written.replace("Request", "")]


@pytest.mark.parametrize("form", ["console", "json"])
def test_what_others_say_steers_no_terminal(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither as an argument nor in the text of an exception; lines of a traceback stay lines."""
    configure(form)  # type: ignore[arg-type]
    try:
        raise ValueError("said \x1b[31m this \x07")
    except ValueError:
        structlog.get_logger("ours").exception("failed \x1b[2J", reason="\x1b[31m")
    written = capsys.readouterr().err
    assert "ValueError: said" in written
    assert not [letter for letter in written if not letter.isprintable() and letter != "\n"]
    assert "\\u001b" not in written


def test_libraries_are_kept_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Below warnings only our own lines are written, unless debugging."""
    configure()
    logging.getLogger("mode.worker").info("chatter")
    structlog.get_logger("ours").info("said")
    structlog.get_logger("ours").debug("detail")
    written = capsys.readouterr().err
    assert "said" in written
    assert "chatter" not in written
    assert "detail" not in written
    configure(level="debug")
    logging.getLogger("mode.worker").info("chatter")
    assert "chatter" in capsys.readouterr().err


def test_libraries_do_not_repeat_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    """Of what a library says at one place, one line comes through; of ours, every one."""
    configure()
    for number in range(5):
        logging.getLogger("aiokafka").error("Unable connect to node %s", number)
        structlog.get_logger("ours").warning("said")
    written = capsys.readouterr().err
    assert written.count("Unable connect") == 1
    assert written.count("said") == 5


def test_redaction_leaves_the_rest() -> None:
    """What is no secret stays readable."""
    assert redact("bearer of news at ws://127.0.0.1:1234/rpc/v1, height 12") == "bearer *** news at ws://127.0.0.1:1234/rpc/v1, height 12"
    assert redact("nothing to hide") == "nothing to hide"
    assert redact("> Authorization: Basic dXNlcjpwYXNz\r") == "> Authorization: Basic ***\r"
    assert redact("basic facts, authorization refused") == "basic facts, authorization ***"
    assert redact("token eyJhbGciOi.eyJBbGxvdyI.sig-nature_1 refused") == "token *** refused"
