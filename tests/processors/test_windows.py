import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.windows import EPOCHS_PER_UNIT, LONGEST_EPOCHS, Window, parse, parse_all
from streams.errors import UsageError


@pytest.mark.parametrize(
    "text, epochs",
    [("1e", 1), ("120e", 120), ("1m", 2), ("30m", 60), ("1h", 120), ("24h", 2880), ("7d", 20160), ("30d", 86400), ("400d", LONGEST_EPOCHS)],
)
def test_a_window_is_whole_epochs_of_30_seconds(text: str, epochs: int) -> None:
    """Each unit counts its epochs, and the window keeps the name that it was given."""
    assert parse(text) == Window(text, epochs)


@pytest.mark.parametrize("text", ["", "e", "5", "5x", "0h", "-1h", "1.5h", "1 h", "01h", "401d", "1152001e", "1H", "999999999999d", "٣h"])
def test_what_is_no_window_is_refused_by_name(text: str) -> None:
    """The error repeats the text and says what is allowed."""
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"{text!r} is not a window: allowed are <n>e")


@given(st.integers(1, LONGEST_EPOCHS), st.sampled_from(sorted(EPOCHS_PER_UNIT)))
def test_any_whole_number_up_to_the_longest_is_a_window(number: int, unit: str) -> None:
    """Accepted exactly where the product is no longer than the longest."""
    epochs = number * EPOCHS_PER_UNIT[unit]
    if epochs <= LONGEST_EPOCHS:
        assert parse(f"{number}{unit}").epochs == epochs
    else:
        with pytest.raises(UsageError):
            parse(f"{number}{unit}")


def test_a_window_is_open_below_and_closed_above() -> None:
    """`(H-W, H]`: with H at 10 and W at 3, heights 8, 9 and 10."""
    #            7  8  9  10  11
    assert [parse("3e").covers(height, 10) for height in (7, 8, 9, 10, 11)] == [False, True, True, True, False]


def test_a_list_of_windows_names_each_once() -> None:
    """Order is kept; a repeated one and an empty list are refused. Two spellings of one length are two windows."""
    assert [window.epochs for window in parse_all(["7d", "24h", "1d"])] == [20160, 2880, 2880]
    with pytest.raises(UsageError, match="'1h' is given twice"):
        parse_all(["1h", "2h", "1h"])
    with pytest.raises(UsageError, match="no window is given"):
        parse_all([])
