"""The Faust app and its agents, one per stream.

Embedded, the agents read in-process channels and Faust's Kafka machinery stays off; the switch is a `BootStrategy` with
`enable_kafka = False`, as Faust's author gave it. A channel holds so many records and then makes the follower wait.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import faust
from faust.app.base import BootStrategy

from streams.records import STREAMS, Record, Stream, stream_of

CHANNEL_RECORDS = 64
AHEAD_RECORDS = 4
"""How many records of a stream are begun and not finished."""

Handler: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]


class _LocalBoot(BootStrategy):
    enable_kafka = False


class _LocalApp(faust.App):
    """A Faust app without a broker."""

    BootStrategy = _LocalBoot

    async def on_first_start(self) -> None:
        """Faust would make a folder for its tables here; there are none."""

    async def on_start(self) -> None:
        self.finalize()

    def close(self) -> None:
        """Close the event loop of the consumer that Faust makes for whoever reads a stream, with a broker or without."""
        thread = getattr(self._consumer, "_thread", None)
        if thread is not None:
            thread.thread_loop.close()

    async def on_started(self) -> None:
        await super().on_started()
        # Without a broker nobody else lets the agents read. It clears the queues, so it comes before the first record.
        self.flow_control.resume()


def add_agent(app: faust.App, stream: Stream, source: Any, handle: Handler, done: Callable[[Any], None] = lambda _: None) -> None:
    """Declare the agent of a stream: it hands all of `source` to `handle`, in order: records of a channel, events of topics.

    The next records are begun while Redis is busy with one: registers do not ask in which order they come. They are finished in
    the order in which they came. `handle` may not raise: what must not count as done never returns.

    An event is acknowledged when it is finished, after `done` was told, and at no other time: left to itself, Faust acknowledges
    also what an agent was busy with when it was cancelled, and the record would be lost.
    """

    async def finish(begun: asyncio.Queue[tuple[asyncio.Task[None], Any]], records: Any) -> None:
        while True:
            task, event = await begun.get()
            await task
            if event is not None:
                done(event)
                await records.ack(event)

    async def agent(records: Any) -> None:
        records.enable_acks = False
        begun: asyncio.Queue[tuple[asyncio.Task[None], Any]] = asyncio.Queue(AHEAD_RECORDS - 2)  # one more waits to be put, one is finished
        running = {asyncio.create_task(finish(begun, records))}
        try:
            async for record in records:
                event = records.current_event
                task = asyncio.create_task(handle(record if event is None else event))
                running.add(task)
                task.add_done_callback(running.discard)
                await begun.put((task, event))
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    app.agent(source, name=stream, concurrency=1)(agent)


class LocalAgents:
    """The agents of all streams, fed in process."""

    def __init__(self, handle: Handler) -> None:
        self._app = _LocalApp("fvm-pulse", web_enabled=False, stream_wait_empty=False)
        self._channels: dict[Stream, Any] = {}
        self._pending = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._failed = asyncio.Event()
        self._failure: Exception | None = None
        for stream in STREAMS:
            self._channels[stream] = self._app.channel(maxsize=CHANNEL_RECORDS)
            add_agent(self._app, stream, self._channels[stream], self._counted(handle))

    def _counted(self, handle: Handler) -> Handler:
        async def counted(record: bytes | Record) -> None:
            try:
                await handle(record)
            except Exception as error:  # noqa: BLE001 (whatever it is, it ends all of us)
                # Faust would start the agent again without this record, and say nothing.
                self._failure = self._failure or error
                self._failed.set()
                await asyncio.Event().wait()
            self._pending -= 1
            if self._pending == 0:
                self._idle.set()

        return counted

    async def put(self, record: Record) -> None:
        """Hand a record to its agent; waits while the channel is full."""
        self._pending += 1
        self._idle.clear()
        await self._channels[stream_of(record)].put(record)

    async def drained(self) -> None:
        """Wait until every record that was put is done."""
        await self._idle.wait()

    async def failed(self) -> None:
        """Wait until a handler raises, and raise that: its record is lost, so nothing that follows would be true."""
        await self._failed.wait()
        if self._failure is not None:
            raise self._failure

    @asynccontextmanager
    async def running(self) -> AsyncIterator["LocalAgents"]:
        """Start the agents; stop them at the end."""
        await self._app.start()
        try:
            # A record that is put before its agent reads would be lost, and Faust has no event for it.
            while any(channel.subscriber_count < 1 for channel in self._channels.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            yield self
        finally:
            await self._app.stop()
            self._app.close()
