"""The command `fvm-pulse`: flags to settings, settings to the coroutine that does the work, errors to exit codes.

Exit codes: 0 done or stopped on request, 1 failure, 2 usage. What is wrong with the usage, and what fails outside us, is one
line on stderr; only our own bugs show a traceback.
"""

import asyncio
import functools
import inspect
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from processors.alerts import LINKS, Links
from streams.errors import PulseError, UsageError
from streams.settings import Settings, load

# What only one command needs is imported there, so that `--help` and a wrong flag answer at once.

FLAGS = frozenset({*Settings.model_fields, "node"})
"""The flags that are settings."""
REPLAY_PACE = 50.0
"""The pace of `replay`, where none is set."""

app = typer.Typer(
    name="fvm-pulse",
    help="Exact, rolling indicators of the Filecoin FVM economy, from a node's websocket to Prometheus.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        from processors.exporter import installed_version

        print(f"fvm-pulse {installed_version()}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    pass


OPTIONS: dict[str, Any] = {
    "node": Annotated[
        list[str] | None,
        typer.Option("--node", metavar="[NAME=]URL", help="A node's websocket, or replay:NAME; repeat it, the preferred one first."),
    ],
    "config": Annotated[Path | None, typer.Option(metavar="FILE", help="Settings file (default: fvm-pulse.toml, if there).")],
    "listen": Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where to serve HTTP (default: 127.0.0.1:9464).")],
    "data_dir": Annotated[str | None, typer.Option(metavar="DIR", help="Where the private Redis keeps its data.")],
    "redis_url": Annotated[
        str | None, typer.Option(metavar="URL", help="The Redis to use (left out: a private one, where the command can do with that).")
    ],
    "windows": Annotated[str | None, typer.Option(metavar="LIST", help="Windows, such as 20e,1h,7d (default: 1h,24h,7d,30d).")],
    "chain_id": Annotated[str | None, typer.Option(metavar="ID", help="Refuse nodes of another chain.")],
    "network": Annotated[str | None, typer.Option(metavar="NAME", help="The network label (default: what the node says; export: all).")],
    "preset": Annotated[str | None, typer.Option(metavar="NAME", help="Thresholds: default or article.")],
    "registry": Annotated[str | None, typer.Option(metavar="FILE", help="More contracts, merged over the bundled ones.")],
    "kafka_brokers": Annotated[str | None, typer.Option(metavar="LIST", help="Kafka brokers as HOST:PORT (default: localhost:9092).")],
    "topic_prefix": Annotated[str | None, typer.Option(metavar="NAME", help="First part of the topics (default: fvm).")],
    "partitions": Annotated[str | None, typer.Option(metavar="N", help="Partitions of a topic that is made (default: 8).")],
    "consumer_group": Annotated[
        str | None, typer.Option(metavar="NAME", help="Workers that share the topics; a new name reads them from the start.")
    ],
    "backfill": Annotated[
        str | None, typer.Option(metavar="DEPTH", help="How much history to fill by itself: auto, off, or a window such as 24h.")
    ],
    "replay_pace": Annotated[str | None, typer.Option(metavar="N", help="How many times its own pace a recording runs.")],
    "log_format": Annotated[str | None, typer.Option(metavar="FORM", help="console or json.")],
    "log_level": Annotated[str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")],
}
"""Flags that several commands have, by the key of their setting."""
_LOGGED = " log_format log_level"


def _command(options: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command that has these of the `OPTIONS` beside its own; it finds them in its context."""

    def made(function: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(function)
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=OPTIONS[name]) for name in options.split()
        ]

        def command(*arguments: Any, **flags: Any) -> None:
            function(*arguments, **{name: value for name, value in flags.items() if name in own.parameters})

        functools.update_wrapper(command, function)
        command.__signature__ = own.replace(parameters=[*own.parameters.values(), *shared])  # type: ignore[attr-defined]
        command.__annotations__ = function.__annotations__ | {name: OPTIONS[name] for name in options.split()}
        return app.command()(command)

    return made


_secrets: set[str] = set()
"""What no complaint may tell, since a node can say it back to us in an error."""


def _settings(context: typer.Context, **more: object) -> Settings:
    """The settings, with the flags of the command over them."""
    flags = {{"node": "nodes"}.get(flag, flag): value for flag, value in context.params.items() if flag in FLAGS and value}
    settings = load({**flags, **more}, config=context.params.get("config"))
    _secrets.update(settings.secrets)
    return settings


def _shared(context: typer.Context) -> Settings:
    """The settings of a process that shares a Redis with others."""
    settings = _settings(context)
    if settings.redis_url is None:
        raise UsageError(
            f"redis_url: needed: {context.info_name} shares a Redis with other processes, such as --redis-url redis://127.0.0.1:6379"
        )
    return settings


def _serve(settings: Settings, work: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    """Do `work` until it ends or we are told to stop; a second Ctrl-C does not wait."""
    from processors import logs

    logs.configure(settings.log_format, settings.log_level, settings.secrets)

    async def until_stopped() -> None:
        task = asyncio.ensure_future(work(settings))
        loop = asyncio.get_running_loop()
        stopped = False

        def stop(number: signal.Signals) -> None:
            nonlocal stopped
            stopped = True
            loop.remove_signal_handler(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        try:
            await task
        except asyncio.CancelledError:
            if not stopped:
                raise

    asyncio.run(until_stopped())


@_command("node config listen data_dir redis_url windows chain_id network preset registry backfill replay_pace" + _LOGGED)
def run(context: typer.Context) -> None:
    """Follow a node, process, store and export, all in this process."""
    settings = _settings(context)
    from processors.run import run as work

    _serve(settings, work)


@_command("config listen data_dir redis_url windows preset registry replay_pace" + _LOGGED)
def replay(
    context: typer.Context,
    recording: Annotated[str, typer.Argument(metavar="FILE", help="A recording, or the name of a bundled one.")],
) -> None:
    """Follow a recording to its end through the same pipeline, and show the indicators that it ends with.

    Nothing is kept, unless a place is given by --data-dir or --redis-url.
    """
    settings = _settings(context, nodes=[f"replay:{recording}"])
    from processors import report
    from processors.run import replay as follow

    async def work(settings: Settings) -> None:
        report.print_indicators(report.of(await follow(settings), settings))

    changes: dict[str, object] = {} if "replay_pace" in settings.model_fields_set else {"replay_pace": REPLAY_PACE}
    with ExitStack() as stack:
        if not settings.model_fields_set & {"data_dir", "redis_url"}:
            changes["data_dir"] = Path(stack.enter_context(TemporaryDirectory(prefix="fvm-pulse-replay-")))
        _serve(settings.model_copy(update=changes), work)


@_command(
    "node config listen redis_url kafka_brokers topic_prefix partitions windows chain_id network registry backfill replay_pace" + _LOGGED
)
def follow(context: typer.Context) -> None:
    """Follow a node and publish to Kafka; stand by while another follower does."""
    settings = _shared(context)
    from processors.follow import follow as work

    _serve(settings, work)


@_command("config listen redis_url kafka_brokers topic_prefix consumer_group windows network registry" + _LOGGED)
def worker(context: typer.Context) -> None:
    """Apply what followers publish to Redis; start as many as there are partitions."""
    settings = _shared(context)
    from processors.work import work

    _serve(settings, work)


@_command("config listen redis_url windows network preset" + _LOGGED)
def export(context: typer.Context) -> None:
    """Serve metrics and the status page of what others store in Redis."""
    settings = _shared(context)
    from processors.run import export as work

    _serve(settings, work)


@_command("config listen redis_url preset")
def indicators(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show every indicator against its thresholds, asking the process that serves on `listen`, or the Redis that is given."""
    settings = _settings(context)
    from processors import report
    from processors.run import stored

    found = (
        report.fetch(settings.listen, settings.door) if settings.redis_url is None else report.of(asyncio.run(stored(settings)), settings)
    )
    if json:
        report.print_json(found)
    else:
        report.print_indicators(found)


@_command("node config data_dir redis_url network registry")
def audit(
    context: typer.Context,
    window: Annotated[str, typer.Option(metavar="WINDOW", help="The longest window to recount.")] = "24h",
    repair: Annotated[bool, typer.Option("--repair", help="Have wrong heights fetched and written again, and compare again.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Recount the windows from a node, block by block, and compare every figure; exit code 1 on any difference."""
    settings = _settings(context)
    from processors import report
    from processors.audit import audit
    from processors.windows import parse

    outcome = asyncio.run(audit(settings, parse(window).epochs, repair=repair))
    report.print_audit(outcome, as_json=json)
    if outcome.differences:
        raise typer.Exit(1)


@_command("node config data_dir redis_url windows chain_id network registry replay_pace" + _LOGGED)
def backfill(
    context: typer.Context,
    first: Annotated[int | None, typer.Option("--from", min=0, metavar="EPOCH", help="The lowest height to fill.")] = None,
    last: Annotated[int | None, typer.Option("--to", min=0, metavar="EPOCH", help="Wait for no more than up to here.")] = None,
    window: Annotated[str | None, typer.Option(metavar="WINDOW", help="So far below the newest height instead, such as 24h.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Show the progress until all is there.")] = True,
) -> None:
    """Fill history backwards through whoever follows, or through a follower of our own; can be stopped and repeated at any time.

    Everything between --from and what is held is filled, newest first: each tipset is proven by the one on top of it.
    """
    settings = _settings(context)
    from processors.backfill import Span, backfill
    from processors.windows import parse

    if (first is None) == (window is None):
        raise UsageError("backfill: give either --from EPOCH or --window WINDOW")
    if first is not None and last is not None and last < first:
        raise UsageError(f"--to: {last} is below --from {first}")
    span = Span(first, last, parse(window).epochs if window is not None else None)
    _serve(settings, lambda settings: backfill(settings, span, wait=wait))


@_command("node config data_dir redis_url kafka_brokers topic_prefix consumer_group chain_id windows registry preset")
def doctor(context: typer.Context) -> None:
    """Check nodes, Redis, and Kafka where its brokers are given; say what to do about each failure."""
    settings = _settings(context)
    from processors import report
    from processors.catalogue import INDICATORS
    from processors.doctor import Finding, examine
    from processors.doctor_kafka import check_kafka
    from processors.registry import Registry
    from processors.thresholds import watches

    watches(INDICATORS, settings.preset, settings.thresholds, settings.windows)
    Registry.load(settings.registry)

    async def check() -> list[Finding]:
        with_kafka = "kafka_brokers" in settings.model_fields_set
        return await examine(settings) + (await check_kafka(settings) if with_kafka else [])

    findings = asyncio.run(check())
    report.print_findings(findings)
    if any(finding.outcome == "failed" for finding in findings):
        raise typer.Exit(1)


@_command("node config data_dir redis_url chain_id network registry")
def classify(
    context: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="A contract, as 0x…, f410f… or f0….")],
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what a contract is taken for, with every rule that was tried and what it found; asks a node.

    Who made or announced a contract is known to who follows the chain: a run on the same --data-dir, or the --redis-url of followers.
    """
    settings = _settings(context)
    from processors import report
    from processors.inquire import inquire

    found = asyncio.run(inquire(settings, address))
    if json:
        report.print_json(found.plain())
    else:
        report.print_inquiry(found.plain())


@app.command()
def render(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Where the project lies.")] = Path(),
    grafana_url: Annotated[str, typer.Option(metavar="URL", help="Where alerts link to dashboards.")] = LINKS.grafana,
    runbook_url: Annotated[str, typer.Option(metavar="URL", help="The page that alerts name as their runbook.")] = LINKS.runbook,
) -> None:
    """Write the alert rules, the dashboards and docs/indicators.md from the catalogue."""
    from processors.render import write

    for path in write(root, Links(grafana_url, runbook_url)):
        print(path)


def _complain(message: str) -> None:
    from processors.logs import presentable

    print(f"fvm-pulse: {' '.join(presentable(' '.join(message.split()), _secrets).split())}", file=sys.stderr)


def main() -> None:
    """Run the command and exit with its code."""
    try:
        code = app(args=sys.argv[1:] or ["--help"], prog_name="fvm-pulse", standalone_mode=False)
    except typer.TyperException as error:
        _complain(f"{error.format_message()} (fvm-pulse --help)")
        code = error.exit_code
    except UsageError as error:
        _complain(str(error))
        code = 2
    except PulseError as error:
        _complain(str(error))
        code = 1
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.exit(code or 0)
