"""`python -m benchmarks.contestants NAME …`: the loops that fvm-pulse is measured against over Kafka, each a process of its own.

All of them do the same with a record, `benchmarks.bare.BareLoop` with one script a record; only what brings the records differs.
Those of other libraries run in `.venv-peers` (`make peers`), so this module imports nothing but what both environments have. It says
`first` when so many records are applied that the windows are full, and `last` after the last one.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis

from benchmarks.bare import BareLoop
from benchmarks.synthetic import registered
from processors.classify import Classifier
from processors.windows import parse_all
from streams.records import COUNTED_STREAMS, Contract

WINDOWS = ("30e", "60e", "120e", "240e")


class Applying:
    """Applies records and says when the marks are passed."""

    def __init__(self, given: argparse.Namespace) -> None:
        classifier = Classifier(registered())

        def class_of(contract: Contract) -> tuple[str, str | None]:
            verdict = classifier.classify(contract)
            return verdict.contract_class, verdict.project

        self._redis = Redis(unix_socket_path=given.redis)
        self._loop = BareLoop(self._redis, "bare", parse_all(WINDOWS), class_of, scripted=True)
        self._marks = {given.first: "first", given.last: "last"}
        self._last: int = given.last
        self._applied = 0

    async def apply(self, value: bytes) -> bool:
        """Apply a record; whether there are more to come."""
        await self._loop.process(value)
        self._applied += 1
        if (mark := self._marks.get(self._applied)) is not None:
            print(mark, flush=True)
        return self._applied < self._last


@contextmanager
def blocking(applying: Applying) -> Iterator[Callable[[bytes], bool]]:
    """The same for those that know no coroutines."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        yield lambda value: loop.run_until_complete(applying.apply(value))


async def aiokafka(given: argparse.Namespace) -> None:
    """A consumer and a loop."""
    from aiokafka import AIOKafkaConsumer

    applying = Applying(given)
    async with AIOKafkaConsumer(
        *given.topics, bootstrap_servers=given.broker, group_id=given.group, auto_offset_reset="earliest", auto_commit_interval_ms=1000
    ) as consumer:
        async for message in consumer:
            if not await applying.apply(message.value):
                return


def confluent(given: argparse.Namespace) -> None:
    """The same with librdkafka."""
    from confluent_kafka import Consumer

    consumer = Consumer(
        {
            "bootstrap.servers": given.broker,
            "group.id": given.group,
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 1000,
        }
    )
    consumer.subscribe(given.topics)
    with blocking(Applying(given)) as apply:
        more = True
        while more:
            message = consumer.poll(1.0)
            if message is not None:
                if message.error():
                    raise SystemExit(str(message.error()))
                more = apply(message.value())
    consumer.close()


def quix(given: argparse.Namespace) -> None:
    """A streaming data frame for each topic."""
    from quixstreams import Application

    app = Application(
        broker_address=given.broker,
        consumer_group=given.group,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        auto_create_topics=False,
        loglevel="ERROR",
    )
    with blocking(Applying(given)) as apply:

        def update(value: bytes) -> None:
            if not apply(value):
                app.stop()

        for name in given.topics:
            app.dataframe(app.topic(name, value_deserializer="bytes", key_deserializer="bytes")).update(update)
        app.run()


def bytewax(given: argparse.Namespace) -> None:
    """A dataflow of one step."""
    from bytewax import operators
    from bytewax.connectors.kafka import KafkaSource
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, run_main

    flow, seen = Dataflow("bench"), []
    with blocking(Applying(given)) as apply:
        read = operators.input("read", flow, KafkaSource([given.broker], given.topics, tail=False, batch_size=100))
        applied = operators.filter("apply", read, lambda message: not apply(message.value))
        operators.output("end", applied, TestingSink(seen))
        run_main(flow)


CONTESTANTS: dict[str, Callable[[argparse.Namespace], Awaitable[None] | None]] = {
    "aiokafka": aiokafka,
    "confluent-kafka": confluent,
    "quixstreams": quix,
    "bytewax": bytewax,
}


def main() -> None:
    """Run one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contestants", description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=CONTESTANTS)
    parser.add_argument("--broker", required=True, metavar="HOST:PORT")
    parser.add_argument("--prefix", required=True, help="of the topics, as in PREFIX.tipsets")
    parser.add_argument("--group", default="bench", help="of consumers")
    parser.add_argument("--redis", required=True, metavar="SOCKET")
    parser.add_argument("--first", type=int, required=True, help="records before the first mark")
    parser.add_argument("--last", type=int, required=True, help="records before the last mark, and the end")
    given: Any = parser.parse_args()
    given.topics = [f"{given.prefix}.{stream}" for stream in COUNTED_STREAMS]
    running = CONTESTANTS[given.name](given)
    if running is not None:
        asyncio.run(running)  # type: ignore[arg-type]
    sys.stdout.flush()


if __name__ == "__main__":
    main()
