"""The doctor's look at Kafka: brokers, topics, partitions, whose records they hold, and what we may do there."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from processors.doctor import Finding, Outcome
from streams import topics
from streams.records import STREAMS
from streams.settings import Settings

REACHED_SECONDS = 8.0
ANSWERED_SECONDS = 15.0
SUBJECT = "kafka"
_UNHEARD = (
    "is a broker up there, reachable from here under the address that it advertises (advertised.listeners),"
    " with a listener for what kafka_security_protocol says?"
)


async def check_kafka(settings: Settings) -> list[Finding]:
    """What there is to say of the brokers that are configured."""
    shown = str(settings.brokers)
    client = AIOKafkaAdminClient(request_timeout_ms=5_000, **settings.brokers.arguments())
    try:
        async with asyncio.timeout(REACHED_SECONDS):
            await client.start()
    except (KafkaError, OSError, TimeoutError) as error:
        await client.close()
        if (refused := await settings.brokers.refusal()) is not None:
            return [Finding(SUBJECT, "connection", "failed", str(refused), "see 'A secured Kafka' in docs/operations.md")]
        return [Finding(SUBJECT, "connection", "failed", f"{_told(error)} at {shown}", _UNHEARD)]
    try:
        async with asyncio.timeout(ANSWERED_SECONDS):
            return [Finding(SUBJECT, "connection", "ok", shown), *await _Kafka(settings, client).findings()]
    except (KafkaError, OSError, TimeoutError) as error:
        return [_refused("answers", error, "see the brokers' log")]
    finally:
        await client.close()


def _told(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error)[:120] or type(error).__name__


def _refused(check: str, error: Exception, advice: str) -> Finding:
    return Finding(SUBJECT, check, "failed", _told(error), advice)


@dataclass(frozen=True, slots=True)
class _Kafka:
    settings: Settings
    client: AIOKafkaAdminClient

    async def findings(self) -> list[Finding]:
        """Everything, in the order in which it matters."""
        found = await topics.partitions_of(self.client)
        ours = {name: count for name, count in found.items() if self._network(name) is not None}
        return [
            *self._topics(ours),
            *self._partitions(ours),
            *[await self._origin(name) for name in sorted(ours)],
            await self._may_create(needed=not self._complete(ours)),
            await self._may_join(),
        ]

    def _network(self, topic: str) -> str | None:
        network = topics.network_of(self.settings.topic_prefix, topic)
        return network if self.settings.network in {None, network} else None

    def _complete(self, ours: Mapping[str, int]) -> list[str]:
        names = sorted({self._network(name) or "" for name in ours})
        return [name for name in names if all(topics.topic_of(self.settings.topic_prefix, name, stream) in ours for stream in STREAMS)]

    def _topics(self, ours: Mapping[str, int]) -> Sequence[Finding]:
        if complete := self._complete(ours):
            return [Finding(SUBJECT, "topics", "ok", f"{self.settings.topic_prefix}.* of {', '.join(complete)}")]
        advice = "nothing to do: the first fvm-pulse follow makes them (or see the permissions below, or topic_prefix)"
        return [Finding(SUBJECT, "topics", "note", f"none of {self.settings.topic_prefix}.* yet, or none that we may see", advice)]

    def _partitions(self, ours: Mapping[str, int]) -> list[Finding]:
        wanted = self.settings.partitions
        few = [
            Finding(SUBJECT, "partitions", "failed", f"{name} has {count}, configured are {wanted}", topics.too_few(name, count, wanted))
            for name, count in sorted(ours.items())
            if count < wanted
        ]
        return few or ([Finding(SUBJECT, "partitions", "ok", f"at least {wanted}")] if ours else [])

    async def _origin(self, topic: str) -> Finding:
        try:
            found = await topics.newest_headers(self.settings.brokers, topic)
        except KafkaError as error:
            return _refused(topic, error, f"allow Read and Describe on topics {self.settings.topic_prefix}.*")
        network, chain_id = found.get("network", b"").decode(), found.get("chain_id", b"").decode()
        if not found:
            return Finding(SUBJECT, topic, "ok", "no records")
        wrong_chain = self.settings.chain_id is not None and chain_id != str(self.settings.chain_id)
        if network != self._network(topic) or wrong_chain:
            advice = "another deployment writes there: choose another topic_prefix or network"
            return Finding(SUBJECT, topic, "failed", f"holds records of network {network!r}, chain id {chain_id or '?'}", advice)
        return Finding(SUBJECT, topic, "ok", f"records of {network}, chain id {chain_id}")

    async def _may_create(self, *, needed: bool) -> Finding:
        name = topics.topic_of(self.settings.topic_prefix, "doctor", STREAMS[0])
        answer = await self.client.create_topics([NewTopic(name, self.settings.partitions, -1, {}, {})], validate_only=True)
        code = answer.topic_errors[0][1]
        if not code:
            return Finding(SUBJECT, "permission to make topics", "ok", "granted")
        outcome: Outcome = "failed" if needed else "note"
        make = f"allow Create on topics {self.settings.topic_prefix}.*, or make them yourself"
        advice = make if needed else "nothing to do: all topics are there"
        return Finding(SUBJECT, "permission to make topics", outcome, for_code(code).__name__, advice)

    async def _may_join(self) -> Finding:
        group = topics.group_of(self.settings.topic_prefix, self.settings.consumer_group)
        while True:
            try:
                await self.client.list_consumer_group_offsets(group)
                return Finding(SUBJECT, "permission to join", "ok", f"group {group}")
            except KafkaError as error:
                # Brokers that are new have no coordinator for a moment.
                if not error.retriable:
                    return _refused("permission to join", error, f"allow Read and Describe on group {group}")
            await asyncio.sleep(0.2)
