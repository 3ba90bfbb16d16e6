"""The command `backfill`: leaves a wish with whoever follows, and shows how far it is; follows itself where nobody does."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

from redis.asyncio import Redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from processors.filling import kept_epochs
from processors.ledger import missing
from processors.parts import redis_at, url_of
from processors.run import run
from processors.store import Store, networks
from processors.wanted import SILENT_SECONDS, Progress, Wanted
from streams.errors import StoreFault, UsageError
from streams.settings import Settings
from streams.values import Listen

POLL_SECONDS = 0.5
STARTING_SECONDS = 60.0
"""How long a follower of our own may take to its first tipset."""
HEARD_SECONDS = 3.0
"""How long after a wish a follower has surely read it."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is to be filled: from a height, or so many epochs below the newest; `last` bounds only what is waited for."""

    first: int | None
    last: int | None
    epochs: int | None


async def backfill(settings: Settings, span: Span, *, wait: bool) -> None:
    """Have the history in `span` filled; `wait` until it is.

    Raises:
        UsageError: it reaches further back than anything is kept, or nobody follows and we may not wait.
        StoreFault: the nodes do not reach that far, or the follower stopped.
    """
    url = url_of(settings)
    if url is not None and await _followed(url, settings) is not None:
        await _have_filled(url, settings, span, wait=wait)
        return
    if not wait:
        raise UsageError("--no-wait: nobody follows here: start fvm-pulse run or follow first")
    following = asyncio.create_task(run(settings.model_copy(update={"listen": Listen("127.0.0.1", 0), "backfill": "off"})))
    try:
        await _beside(following, settings, span)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def _beside(following: asyncio.Task[None], settings: Settings, span: Span) -> None:
    """The work, while our own follower follows."""
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        if following.done():
            following.result()
        url = url_of(settings)
        with suppress(StoreFault):
            if url is not None and await _followed(url, settings) is not None:
                break
        if time.monotonic() > deadline:
            raise StoreFault("no node told of a tipset: fvm-pulse doctor says why")
        await asyncio.sleep(POLL_SECONDS)
    filling = asyncio.create_task(_have_filled(url, settings, span, wait=True))
    try:
        await asyncio.wait((filling, following), return_when=asyncio.FIRST_COMPLETED)
        await (filling if filling.done() else following)
    finally:
        filling.cancel()
        await asyncio.wait([filling])


async def _followed(url: str, settings: Settings) -> str | None:
    """The network that somebody follows on this Redis."""
    async with redis_at(url) as redis:
        found = [settings.network] if settings.network is not None else await networks(redis)
        said = {name: await Wanted(redis, name).progress() for name in found}
    alive = [name for name, one in said.items() if one is not None and time.time() - one.seen_at < SILENT_SECONDS]
    if len(alive) > 1:
        raise UsageError(f"network: several are followed here ({', '.join(alive)}): say which one by --network")
    return alive[0] if alive else None


async def _have_filled(url: str, settings: Settings, span: Span, *, wait: bool) -> None:
    network = await _followed(url, settings)
    async with redis_at(url) as redis:
        if network is None or (said := await Wanted(redis, network).progress()) is None:
            raise StoreFault("the follower stopped: start it again")
        first = span.first if span.first is not None else said.tip - (span.epochs or 0) + 1
        kept = kept_epochs(await Store(redis, network).longest())
        if first < said.tip - kept:
            reason = f"{first} is further back than anything is kept: from {said.tip - kept} on; longer windows keep more"
            raise UsageError(f"{'--from' if span.first is not None else '--window'}: {reason}")
        if first > said.tip:
            raise UsageError(f"--from: {first} is above the newest tipset, {said.tip}")
        await Wanted(redis, network).want(max(first, 0))
        if wait:
            last = min(span.last if span.last is not None else said.tip, said.tip)
            await _watch(redis, network, max(first, 0), last, kept)


async def _watch(redis: Redis, network: str, first: int, last: int, kept: int) -> None:
    """Show how much is left, until nothing is; what moves out of what is `kept` while the head goes on is not waited for."""
    console = Console(stderr=True)
    store, wanted, asked_at = Store(redis, network), Wanted(redis, network), time.time()
    left = await missing(store, first, last)
    total = len(left)
    columns = (TextColumn("epochs {task.fields[first]} to {task.fields[last]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Bars(*columns, console=console) as bar:
            task = bar.add_task("", total=total, first=first, last=last)
            while left:
                await asyncio.sleep(POLL_SECONDS)
                said = await wanted.progress()
                first = max(first, said.tip - kept) if said is not None else first
                left = await missing(store, first, last)
                bar.update(task, completed=total - len(left), first=first)
                if left and (said is None or time.time() - said.seen_at > SILENT_SECONDS):
                    raise StoreFault(f"the follower stopped with {len(left)} epochs left: the same command goes on from there")
                if said is not None and said.seen_at > asked_at + HEARD_SECONDS:
                    _expect(left, said)
    except asyncio.CancelledError:
        console.print(f"stopped with {len(left)} of {total} epochs left: the same command goes on from there")
        raise
    console.print(f"epochs {first} to {last} are complete")


def _expect(left: list[int], said: Progress) -> None:
    """Go on waiting for what is `left`, newest first, unless no node tells any of it.

    Raises:
        StoreFault: none does.
    """
    told = [height for height in left if height not in said.passed_over and (said.out_of_reach is None or height > said.out_of_reach)]
    if not left or told:
        return
    if said.out_of_reach is not None and left[-1] <= said.out_of_reach:
        reason = f"no node tells of epoch {said.out_of_reach} and those below"
    else:
        reason = f"no node tells of epoch {left[0]}" + (" and others" if len(left) > 1 else "")
    raise StoreFault(f"{reason}: {len(left)} epochs stay missing; name a node with more history")
