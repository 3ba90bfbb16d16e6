"""`python -m tests.simulation`: many simulated histories, or one seed again."""

import argparse
import sys
import time
import traceback

from rich.progress import Progress

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


def _many(first: int, count: int, *, go_on: bool) -> int:
    failed = 0
    started = time.monotonic()
    with Progress(disable=not sys.stderr.isatty()) as progress:
        for seed in progress.track(range(first, first + count), description="histories"):
            try:
                play(seed)
            except Exception as error:  # noqa: BLE001 (whatever goes wrong, the seed is what matters)
                failed += 1
                print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}\n  {again(seed)}", flush=True)
                if not go_on:
                    break
    print(f"{count if go_on else seed - first + 1} histories in {time.monotonic() - started:.0f} s, {failed} with differences")
    return int(failed > 0)


def main() -> int:
    """Answers with the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulated histories of a follower, from seeds.")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("-n", "--count", type=int, default=1000, help="how many seeds")
    parser.add_argument("--go-on", action="store_true", help="do not stop at the first difference")
    given = parser.parse_args()
    if given.seed is None:
        return _many(given.first, given.count, go_on=given.go_on)
    try:
        play(given.seed, trace=given.trace)
    except Exception:  # noqa: BLE001 (as above)
        traceback.print_exc()
        return 1
    print(f"seed {given.seed}: no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
