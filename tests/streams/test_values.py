"""Single values: what is allowed, what is refused, what is hidden."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.values import EPOCHS_PER, LONGEST_WINDOW_EPOCHS, nodes, secrets_in, shown_url, windows


@given(st.integers(1, 10**6), st.sampled_from(sorted(EPOCHS_PER)))
def test_every_whole_window_up_to_the_limit_is_allowed(number: int, unit: str) -> None:
    """`<n>` and a unit is a window exactly if it is no longer than the limit."""
    text = f"{number}{unit}"
    if number * EPOCHS_PER[unit] <= LONGEST_WINDOW_EPOCHS:
        assert windows(text) == (text,)
    else:
        with pytest.raises(ValueError, match="is not a window"):
            windows(text)


@given(st.text())
def test_any_text_can_be_shown(text: str) -> None:
    """Hiding secrets never fails, whatever stands there instead of a URL."""
    assert isinstance(shown_url(f"ws://{text}"), str)


def test_what_is_hidden_is_told() -> None:
    """Password, key in the query and key in the path of a URL are what must never be logged."""
    url = "wss://user:pass%40word@h/planted0planted0planted0/rpc/v1?key=planted&db=0"
    header = base64.b64encode(b"user:pass@word").decode()
    assert set(secrets_in(url)) == {"pass%40word", "pass@word", header, "planted0planted0planted0", "planted"}
    assert not any(secret in shown_url(url) for secret in secrets_in(url))


@pytest.mark.parametrize(
    "url, told",
    [
        ("wss://h/?planted+key", {"planted+key", "planted key"}),
        ("wss://h/?a=1;key=planted%2Fkey&db=0", {"planted%2Fkey", "planted/key"}),
        ("wss://h/v1;key=planted0planted0planted0;x=1", {"planted0planted0planted0"}),
        ("wss://h/v1/planted0%3Dplanted0planted0/ws", {"planted0%3Dplanted0planted0", "planted0=planted0planted0"}),
        ("redis://h:6379/0?db=1", set()),
    ],
)
def test_keys_are_hidden_however_they_are_written(url: str, told: set[str]) -> None:
    """Bare or by name, encoded or not, behind a semicolon: each spelling is told, and none is shown."""
    assert set(secrets_in(url)) == told
    assert not any(secret in shown_url(url) for secret in told)


@given(st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True).filter(lambda name: name != "files"), min_size=1, unique=True))
def test_nodes_are_what_was_written(names: list[str]) -> None:
    """Names, URLs and their order, from a list as from text with commas."""
    written = [f"{name}=ws://host/{name}" for name in names]
    assert [(node.name, node.url) for node in nodes(written)] == [(name, f"ws://host/{name}") for name in names]
    assert nodes(", ".join(written)) == nodes(written)
