"""The exporter: Redis read at scrape time, and what a person or a probe asks over HTTP.

Each request reads the store once, through one function that answers with snapshots; no value outlives its source, but for
the short past that the page draws as lines (see `processors.trail`). Redis away means: HTTP 200, chain series absent, `pulse_redis_up` 0.
"""

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from redis.exceptions import RedisError

from processors import page, style
from processors.catalogue import ROWS, unit_of, watched
from processors.entrance import guard, renewal
from processors.readings import Snapshot
from processors.row import Row
from processors.samples import Sample
from processors.standings import age_seconds, as_json, standings
from processors.thresholds import Watch
from processors.trail import Trail
from processors.vitals import Vitals
from streams.account import Endpoint
from streams.cancellation import cancellable
from streams.errors import StoreFault, UsageError
from streams.listening import Door

Reader = Callable[[], Awaitable[Sequence[Snapshot]]]
"""Reads every network that is served, one round trip each; raises `StoreFault` where Redis is away, `UsageError` where others wrote it."""

AWAY = (StoreFault, UsageError, RedisError, OSError, TimeoutError)


def installed_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("fvm-pulse")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True, slots=True)
class _Fixed:
    """Families that are ready; looks like a registry to the encoders of `prometheus_client`."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


class Exporter:
    """Answers over HTTP from what `read` gives and from the process's own `registry`.

    `fresh_within_seconds` is how old the newest tipset may be for `/readyz`; `read_timeout_seconds` bounds each read of
    Redis. `watches` are the thresholds in force, `trail` remembers how they stood. `role` is the command that the process
    runs. With `vitals`, how Redis is is shown too.
    """

    def __init__(
        self,
        read: Reader,
        *,
        registry: CollectorRegistry,
        role: str,
        watches: Sequence[Watch] = (),
        vitals: Vitals | None = None,
        fresh_within_seconds: float = 300.0,
        read_timeout_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
        trail: Trail | None = None,
    ) -> None:
        self._read = read
        self._registry = registry
        self._role = role
        self._watches = watches
        self._vitals = vitals
        self._fresh_within_seconds = fresh_within_seconds
        self._read_timeout_seconds = read_timeout_seconds
        self._clock = clock
        self._trail = trail or Trail()

    def app(self, door: Door) -> web.Application:
        """The aiohttp application, for whom `door` lets in."""
        app = web.Application(middlewares=[guard(door)])
        app.router.add_get("/", self._page)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/api/indicators", self._indicators)
        app.on_response_prepare.append(_harden)
        return app

    async def remember(self) -> None:
        """Note in the trail how the indicators stand, again and again, until cancelled."""
        while True:
            snapshots, now = await self._snapshots() or (), self._clock()
            for snapshot in snapshots:
                self._trail.note(snapshot.network, standings(snapshot, self._watches, now), now)
            await asyncio.sleep(self._trail.every_seconds)

    async def serve(self, host: str, port: int, door: Door | None = None) -> web.AppRunner:
        """Listens, without `door` to everybody; `await runner.cleanup()` ends it, `runner.addresses` tells the port that 0 found.

        Raises:
            OSError: the address can not be had.
            UsageError: the certificate can not be used.
        """
        door = door or Door()
        app, context = self.app(door), door.server()
        if context is not None:
            app.cleanup_ctx.append(renewal(door, context))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, ssl_context=context).start()
        except OSError:
            await runner.cleanup()
            raise
        return runner

    async def _snapshots(self) -> Sequence[Snapshot] | None:
        """One read; None where Redis is away or too slow, or holds nothing of ours."""
        try:
            async with asyncio.timeout(self._read_timeout_seconds):
                with cancellable():
                    return await self._read()
        except AWAY:
            return None

    async def _metrics(self, request: web.Request) -> web.Response:
        snapshots = await self._snapshots()
        encode, content_type = _encoder(request.headers.get("Accept", ""))
        own = await self._own(redis_up=snapshots is not None)
        families = [*chain_families(snapshots or (), self._watches), *own, *self._registry.collect()]
        response = web.Response(body=encode(_Fixed(families)), headers={"Content-Type": content_type})
        response.enable_compression()
        return response

    async def _own(self, *, redis_up: bool) -> list[Metric]:
        """What no snapshot tells: this process and Redis itself."""
        running = {"role": self._role, "version": installed_version(), "python": platform.python_version()}
        found: dict[str, list[Sample]] = {"pulse_redis_up": [({}, float(redis_up))], "pulse_build_info": [(running, 1)]}
        if self._vitals is not None and redis_up:
            with suppress(*AWAY):
                async with asyncio.timeout(self._read_timeout_seconds):
                    found.update(await self._vitals())
        return [_family(row, found[row.metric]) for row in ROWS if row.metric in found]

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = self._unready(await self._snapshots())
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    def _unready(self, snapshots: Sequence[Snapshot] | None) -> list[str]:
        """Why no one should rely on this process yet."""
        endpoints = self._endpoints()
        reasons = ["no endpoint is up"] if endpoints and not any(endpoints.values()) else []
        if snapshots is None:
            return [*reasons, "Redis can not be read"]
        if not snapshots:
            reasons.append("no network is known yet")
        for snapshot in snapshots:
            old = age_seconds(snapshot, self._clock())
            if old is None:
                reasons.append(f"{snapshot.network}: nothing is processed yet")
            elif old > self._fresh_within_seconds:
                reasons.append(
                    f"{snapshot.network}: the newest tipset is {page.age(old)} old, allowed are {page.age(self._fresh_within_seconds)}"
                )
        return reasons

    def _endpoints(self) -> dict[str, bool]:
        """Endpoints of this process and whether they are up; none in a process that only exports."""
        return {labels["endpoint"]: value == 1 for labels, value in self._of("pulse_endpoint_up")}

    def _own_endpoints(self) -> dict[str, Endpoint]:
        """The same as the page shows them."""
        again = {labels["endpoint"]: int(value) for labels, value in self._of("pulse_endpoint_reconnects_total")}
        return {name: Endpoint(up, again.get(name, 0) + 1) for name, up in self._endpoints().items()}

    def _of(self, metric: str) -> Iterator[tuple[dict[str, str], float]]:
        """The series of this process's own metric."""
        for family in self._registry.collect():
            yield from ((sample.labels, sample.value) for sample in family.samples if sample.name == metric)

    async def _indicators(self, _: web.Request) -> web.Response:
        snapshots = await self._snapshots()
        if snapshots is None:
            return web.json_response({"error": "Redis can not be read"}, status=503)
        return web.json_response(as_json(snapshots, self._watches, self._clock()))

    async def _page(self, _: web.Request) -> web.Response:
        snapshots = await self._snapshots()
        text = page.render(snapshots, self._watches, self._own_endpoints(), self._trail, self._clock())
        return web.Response(text=text, content_type="text/html")


def _encoder(accept: str) -> tuple[Callable[..., bytes], str]:
    """How to write for who accepts this; a version that is none is as good as not said."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")


async def _harden(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(style.HEADERS)


def chain_families(snapshots: Sequence[Snapshot], watches: Sequence[Watch]) -> Iterator[Metric]:
    """The catalogue's families for these networks, leaving out those without a sample."""
    for row in ROWS:
        if row.metric == "fvm_indicator_threshold":
            samples = [({"network": snapshot.network, **labels}, value) for snapshot in snapshots for labels, value in _levels(watches)]
        elif row.metric == "fvm_indicator_info":
            samples = [({"network": snapshot.network, **labels}, 1.0) for snapshot in snapshots for labels in _infos(watches)]
        elif row.samples:
            samples = [
                ({"network": snapshot.network, **labels}, float(value)) for snapshot in snapshots for labels, value in row.samples(snapshot)
            ]
        else:
            continue
        if samples:
            yield _family(row, samples)


def _family(row: Row, samples: Iterable[tuple[dict[str, str], float]]) -> Metric:
    kind = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
    family = kind(row.metric, row.help, labels=row.all_labels)
    for labels, value in samples:
        family.add_metric([labels[name] for name in row.all_labels], value)
    return family


def _levels(watches: Iterable[Watch]) -> Iterator[tuple[dict[str, str], float]]:
    for watch in watches:
        if watch.threshold:
            for severity, level in watch.threshold.levels.items():
                yield {"indicator": watch.indicator.name, "bound": watch.threshold.bound, "severity": severity}, level


def _infos(watches: Iterable[Watch]) -> Iterator[dict[str, str]]:
    rows = {indicator.name: row for row, indicator in watched()}
    for watch in watches:
        indicator, row = watch.indicator, rows[watch.indicator.name]
        yield {
            "indicator": indicator.name,
            "unit": unit_of(row, indicator),
            "window": indicator.window if "window" in row.labels else "",
            "hold": watch.hold,
        }
