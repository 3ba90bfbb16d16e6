"""From a record to Redis: what every agent does with what it reads, embedded and distributed alike."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog

from processors.classify import Classifier
from processors.folds import fold_logs, fold_tipset
from processors.patience import patiently
from processors.store import Store
from streams.errors import RecordFault
from streams.metrics import ProcessMetrics
from streams.records import LogsRecord, Record, Rewind, StateRecord, TipsetRecord, decode, stream_of

log = structlog.get_logger(__name__)

DeadLetter: TypeAlias = Callable[[str], Awaitable[None]]


class Worker:
    """Applies records to one network's store.

    A record is done only when Redis has it: an unreachable Redis is tried again for as long as it takes, and a record that can
    never be applied is counted and set aside. So an agent never raises.

    Args:
        store: where the totals are.
        classifier: names the class of a contract.
        metrics: of this process.
    """

    def __init__(
        self,
        store: Store,
        classifier: Classifier,
        metrics: ProcessMetrics,
    ) -> None:
        self._store = store
        self._classifier = classifier
        self._metrics = metrics

    async def process(self, value: bytes | Record, dead_letter: DeadLetter | None = None, *, stream: str = "unknown") -> None:
        """Take one record, as an object or as it travels; `dead_letter` is told why it can never be applied.

        `stream` is what is known of one that can not be decoded.
        """
        try:
            record = decode(value) if isinstance(value, bytes) else value
            await self._apply_for_sure(record)
        except RecordFault as fault:
            stream = stream if isinstance(value, bytes) else stream_of(value)
            log.warning("record set aside", stream=stream, reason=str(fault))
            self._metrics.dead_letters.labels(stream).inc()
            if dead_letter is not None:
                await dead_letter(str(fault))

    async def _apply_for_sure(self, record: Record) -> None:
        async for attempt in patiently():
            with attempt:
                await self._apply(record)

    async def _apply(self, record: Record) -> None:
        match record:
            case TipsetRecord():
                await self._store.apply(record, fold_tipset(record, self._classifier))
                if record.noticed_at:
                    self._metrics.tipset_latency_seconds.labels(record.network).observe(max(time.time() - record.noticed_at, 0))
            case LogsRecord():
                await self._store.apply(record, fold_logs(record, self._classifier))
            case StateRecord() | Rewind():
                await self._store.apply(record, None)
