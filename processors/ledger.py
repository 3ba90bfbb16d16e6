"""The ledger of heights: which are known in every counted stream, and which are still to be filled. Read from Redis in bounded pieces."""

from collections.abc import AsyncIterator, Collection

from processors.store import Store
from streams.chain import Published
from streams.history import Hole

HEIGHTS_AT_ONCE = 4_000
"""Heights that one call asks about; Redis answers in a few milliseconds."""

MISSING, NULL, TIPSET, LASTING = "e", "n", "t", "l"
"""The last is a tipset too deep for any window: its hash is not kept."""


async def downwards(store: Store, floor: int, top: int) -> AsyncIterator[tuple[int, str]]:
    """Each height from `top` down to `floor`, with what it holds: missing where any stream lacks it, a tipset where all hold one whole."""
    last = top
    while last >= floor:
        first = max(floor, last - HEIGHTS_AT_ONCE + 1)
        streams = await store.states(first, last)
        for height in range(last, first - 1, -1):
            letters = {letters[height - first] for letters in streams}
            yield height, letters.pop() if len(letters) == 1 else LASTING if letters == {TIPSET, LASTING} else MISSING
        last = first - 1


async def missing(store: Store, floor: int, top: int) -> list[int]:
    """The heights from `floor` to `top` that some stream does not know, newest first."""
    return [height async for height, state in downwards(store, floor, top) if state == MISSING]


async def newest_hole(store: Store, floor: int, top: int, again: Collection[int] = (), but: Collection[int] = ()) -> Hole | None:
    """The newest heights at or above `floor` that are missing (`but` for some), or are to be filled `again`, below a tipset that is held.

    What is missing above every tipset is not history's: the head brings it. What lies too deep for its hash to be kept is filled again
    down to the hole.
    """
    above = first = None
    low = floor - 1
    async for height, state in downwards(store, floor, top):
        wanted = (state == MISSING and height not in but) or height in again
        if first is None and above is not None and wanted:
            first = height
        elif first is not None and not wanted:
            low = height
            break
        if first is None and state == TIPSET and not wanted:
            above = height
    if first is None or above is None:
        return None
    block = await store.hash_at(above)
    return Hole(Published(above, block), low) if block is not None else None
