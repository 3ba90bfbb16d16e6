"""`python -m tests.simulation`: many simulated histories, or one seed again."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from multiprocessing import Pool

from rich.progress import Progress

from tests import brokers
from tests.simulation import full
from tests.simulation.run import Simulation
from tests.simulation.verdict import check


def play(seed: int, *, trace: bool = False) -> None:
    """One history.

    Raises:
        AssertionError: a figure is not the recount.
    """
    world = Simulation(seed, trace=print if trace else None)
    world.run()
    check(world)


def again(seed: int) -> str:
    """The command that plays a seed again."""
    return f"python -m tests.simulation --seed {seed} --trace"


def again_in_full(seed: int) -> str:
    """The command that plays a seed again before the product itself."""
    return f"python -m tests.simulation --full --seed {seed}"


def _failure(play_one: Callable[[int], None], seed: int) -> str | None:
    try:
        play_one(seed)
    except Exception as error:  # noqa: BLE001 (whatever goes wrong, the seed is what matters)
        return f"{type(error).__name__}: {str(error)[:300]}"
    return None


def _report(seeds: range, failures: Iterable[str | None], command: Callable[[int], str], *, go_on: bool) -> int:
    failed = played = 0
    started = time.monotonic()
    with Progress(disable=not sys.stderr.isatty()) as progress:
        for seed, failure in zip(seeds, progress.track(failures, total=len(seeds), description="histories"), strict=True):
            played += 1
            if failure is not None:
                failed += 1
                print(f"seed {seed}: {failure}\n  {command(seed)}", flush=True)
                if not go_on:
                    break
    print(f"{played} histories in {time.monotonic() - started:.0f} s, {failed} with differences")
    return int(failed > 0)


def _on_every_core(seeds: range, *, go_on: bool) -> int:
    with Pool() as pool:
        return _report(seeds, pool.imap(partial(_failure, play), seeds), again, go_on=go_on)


def _in_full(seeds: range, *, go_on: bool) -> int:
    """Even seeds in one process, odd ones over Kafka."""
    with ExitStack() as stack:
        broker = stack.enter_context(brokers.running()) if any(seed % 2 for seed in seeds) else None

        def play_one(seed: int) -> None:
            asyncio.run(full.play(seed, broker if seed % 2 else None))

        return _report(seeds, map(partial(_failure, play_one), seeds), again_in_full, go_on=go_on)


def main() -> int:
    """Answers with the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulated histories of a follower, from seeds.")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    parser.add_argument("--full", action="store_true", help="before the product's processes, Redis and Kafka, in real time")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("-n", "--count", type=int, default=1000, help="how many seeds")
    parser.add_argument("--go-on", action="store_true", help="do not stop at the first difference")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.count) if given.seed is None else range(given.seed, given.seed + 1)
    if given.full:
        return _in_full(seeds, go_on=given.go_on)
    if given.seed is None:
        return _on_every_core(seeds, go_on=given.go_on)
    return _report(seeds, [_failure(partial(play, trace=given.trace), given.seed)], again, go_on=given.go_on)


if __name__ == "__main__":
    sys.exit(main())
