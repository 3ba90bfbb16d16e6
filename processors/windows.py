"""Windows: how many of the newest epochs are looked at. A window of `W` epochs ending at height `H` is `(H-W, H]`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from streams.errors import UsageError

EPOCH_SECONDS = 30
FRESH_EPOCHS = 120
"""How old the newest sample of a name of the state may be."""
EPOCHS_PER_UNIT = {"e": 1, "m": 2, "h": 120, "d": 2880}
HOUR_EPOCHS, DAY_EPOCHS = EPOCHS_PER_UNIT["h"], EPOCHS_PER_UNIT["d"]
LONGEST_EPOCHS = 400 * DAY_EPOCHS

_SPELLING = re.compile(r"([1-9][0-9]{0,8})([emhd])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """A window of `epochs` epochs, called as it was spelt, such as `24h`."""

    name: str
    epochs: int

    def covers(self, height: int, head: int) -> bool:
        """Whether `height` is inside the window that ends at `head`."""
        return head - self.epochs < height <= head


def parse(text: str) -> Window:
    """The window that `text` spells: a whole number of epochs, minutes, hours or days, such as `120e`, `30m`, `24h`, `7d`.

    Raises:
        UsageError: `text` is something else, or longer than 400 days.
    """
    match = _SPELLING.fullmatch(text)
    epochs = int(match[1]) * EPOCHS_PER_UNIT[match[2]] if match else 0
    if not 1 <= epochs <= LONGEST_EPOCHS:
        raise UsageError(f"{text!r} is not a window: allowed are <n>e (epochs of 30 s), <n>m, <n>h, <n>d up to 400d, such as 24h")
    return Window(text, epochs)


def parse_all(texts: Iterable[str]) -> tuple[Window, ...]:
    """The windows that `texts` spell, in their order.

    Raises:
        UsageError: one is not a window, one is given twice, or there is none.
    """
    windows = tuple(parse(text) for text in texts)
    names = [window.name for window in windows]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"the window {min(twice)!r} is given twice")
    if not windows:
        raise UsageError("no window is given: allowed are such as 1h,24h,7d,30d")
    return windows
