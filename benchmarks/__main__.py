"""`python -m benchmarks`: all benchmarks, or some by name."""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict

import structlog
from rich.console import Console

from benchmarks.backfill import EPOCHS, backfill
from benchmarks.decoding import decoding
from benchmarks.flood import flood
from benchmarks.kafka import kafka
from benchmarks.latency import latency
from benchmarks.measure import Report, machine, show
from benchmarks.memory import MONTH_TIPSETS, process_memory, redis_memory
from benchmarks.scaling import scaling
from benchmarks.soak import Pace, soak
from benchmarks.synthetic import Size
from benchmarks.throughput import throughput

SHORT_FILL_TIPSETS = 1_500

Benchmark = Callable[[argparse.Namespace, Size], Awaitable[list[Report]]]


async def _throughput(_: argparse.Namespace, size: Size) -> list[Report]:
    return await throughput(size)


async def _decoding(_: argparse.Namespace, size: Size) -> list[Report]:
    return decoding(size)


async def _latency(_: argparse.Namespace, __: Size) -> list[Report]:
    return [await latency()]


async def _memory(given: argparse.Namespace, size: Size) -> list[Report]:
    progress = Console(stderr=True)
    fill = await redis_memory(size, given.tipsets, lambda done: progress.print(f"{done:,} of {given.tipsets:,} tipsets", style="dim"))
    return [await process_memory(), fill]


async def _kafka(_: argparse.Namespace, size: Size) -> list[Report]:
    progress = Console(stderr=True)
    return await kafka(size, tell=lambda what: progress.print(what, style="dim"))


async def _backfill(given: argparse.Namespace, size: Size) -> list[Report]:
    progress = Console(stderr=True)
    return await backfill(size, given.epochs, lambda what: progress.print(what, style="dim"))


async def _flood(_: argparse.Namespace, size: Size) -> list[Report]:
    progress = Console(stderr=True)
    return await flood(size, tell=lambda what: progress.print(what, style="dim"))


async def _soak(given: argparse.Namespace, size: Size) -> list[Report]:
    progress = Console(stderr=True)
    return await soak(size, Pace(whole=60.0 * given.minutes), lambda what: progress.print(what, style="dim"))


async def _scaling(_: argparse.Namespace, size: Size) -> list[Report]:
    progress = Console(stderr=True)
    return await scaling(size, tell=lambda what: progress.print(what, style="dim"))


SELDOM = frozenset({"scaling", "flood", "soak"})
"""What takes so long that it is to be asked for by name."""
BENCHMARKS: dict[str, Benchmark] = {
    "throughput": _throughput,
    "decoding": _decoding,
    "latency": _latency,
    "backfill": _backfill,
    "memory": _memory,
    "kafka": _kafka,
    "scaling": _scaling,
    "flood": _flood,
    "soak": _soak,
}


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with `--full` worked into `tipsets`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, as ratios in one run.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which of {', '.join(BENCHMARKS)}; all but the last three if none is given"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--tipsets", type=int, default=SHORT_FILL_TIPSETS, metavar="N", help="how many to fill Redis with (%(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, metavar="N", help="how many to backfill (%(default)s)")
    parser.add_argument("--minutes", type=int, default=46, metavar="N", help="how long to soak (%(default)s)")
    parser.add_argument("--full", action="store_true", help=f"fill Redis with {MONTH_TIPSETS:,} tipsets, 30 d: takes a quarter of an hour")
    parsed = parser.parse_args(given)
    if wrong := [name for name in parsed.names if name not in BENCHMARKS]:
        parser.error(f"{wrong[0]!r} is not a benchmark: allowed are {', '.join(BENCHMARKS)}")
    for name in ("tipsets", "epochs", "minutes"):
        if getattr(parsed, name) < 1:
            parser.error(f"--{name}: at least 1")
    parsed.tipsets = MONTH_TIPSETS if parsed.full else parsed.tipsets
    return parsed


async def measured(given: argparse.Namespace, size: Size, tell: Callable[[Report], None]) -> list[Report]:
    """The reports of the benchmarks asked for; `tell` is given each as soon as it is there."""
    reports: list[Report] = []
    for name in given.names or [one for one in BENCHMARKS if one not in SELDOM]:
        for report in await BENCHMARKS[name](given, size):
            reports.append(report)
            tell(report)
    return reports


def main() -> int:
    """Measure and print."""
    given = arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    console = Console(width=None if sys.stdout.isatty() else 140)
    where = machine()
    if not given.json:
        console.print(", ".join(f"{name} {value}" for name, value in where.items()), style="dim", highlight=False)
    reports = asyncio.run(measured(given, Size(), (lambda _: None) if given.json else (lambda report: show(report, console))))
    if given.json:
        print(json.dumps({"machine": where, "reports": [asdict(report) for report in reports]}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
