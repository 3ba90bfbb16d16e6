"""Whom we let in, and what can not be meant."""

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr

from streams.errors import UsageError
from streams.listening import Door
from streams.settings import load


def header(name: str, password: str) -> str:
    """As a browser would say it."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


DOOR = Door(username="pulse", password=SecretStr("wörd:7"))


def test_who_knows_name_and_password_is_let_in() -> None:
    """What we ask with is what we let in, beyond ASCII and with a colon, too."""
    assert DOOR.lets_in(DOOR.authorization)
    assert DOOR.lets_in(header("pulse", "wörd:7"))


@pytest.mark.parametrize(
    "said",
    [
        *(None, "", "Basic", "Basic !!", "Basic /w==", "Bearer wörd", "Basic " + "A" * 10_000),
        *(header("pulse", "word"), header("other", "wörd:7"), header("", "")),
    ],
)
def test_nobody_else_is(said: str | None) -> None:
    """Whatever else stands in the header is refused, and raises nothing."""
    assert not DOOR.lets_in(said)


def test_without_a_password_everybody_is() -> None:
    """As it was before there was one."""
    assert Door().lets_in(None)
    assert Door().authorization is None


@pytest.mark.parametrize(
    "flags,sentence",
    [
        ({"listen_key_file": "k"}, "listen_key_file: it is the key of a certificate"),
        ({"listen_username": "a"}, "listen_password_file: needed for 'a'"),
        ({"listen_password": "planted"}, "listen_username: needed"),
        ({"listen_username": "a:b", "listen_password": "planted"}, "listen_username: 'a:b' is not allowed"),
        ({"listen_username": "a", "listen_password": "planted", "listen_password_file": "f"}, "give one of them"),
        ({"listen_username": "a", "listen_password_file": "absent"}, "listen_password_file: absent can not be read: No such file"),
    ],
)
def test_what_does_not_go_together(flags: dict[str, str], sentence: str) -> None:
    """One sentence that names the key, and no secret."""
    with pytest.raises(UsageError) as caught:
        load(flags)
    assert sentence in str(caught.value)
    assert "planted" not in str(caught.value)


def test_the_password_of_a_file_is_a_secret(tmp_path: Path) -> None:
    """It is read without its line's end, and hidden like every other; an empty file is refused."""
    file = tmp_path / "password"
    file.write_text("planted\n")
    settings = load({"listen_username": "a", "listen_password_file": str(file)})
    assert settings.secrets == ("planted",)
    assert "planted" not in repr(settings)
    file.write_text("\n")
    with pytest.raises(UsageError, match="is empty"):
        load({"listen_username": "a", "listen_password_file": str(file)})


@pytest.mark.parametrize("text", [None, "", "-----BEGIN CERTIFICATE-----", "nonsense", "\xe4"])
def test_files_that_are_no_certificates(text: str | None, tmp_path: Path) -> None:
    """To serve or to ask with them is refused in one sentence."""
    file = tmp_path / "certificate"
    if text is not None:
        file.write_text(text)
    for use in (Door(file).server, Door(file).client):
        with pytest.raises(UsageError, match=r"listen_certificate_file: .* can not be used: "):
            use()


def test_what_is_warned_of() -> None:
    """Beyond this machine without a password, and a password without TLS; nothing on the loopback."""
    assert [Door().exposed(host) for host in ("127.0.0.1", "::1", "localhost")] == [None] * 3
    assert "listen_password_file" in (Door().exposed("0.0.0.0") or "")
    assert "listen_certificate_file" in (DOOR.exposed("::") or "")
    assert Door(Path("c"), None, "a", SecretStr("b")).exposed("example.org") is None
