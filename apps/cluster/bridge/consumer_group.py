"""The consumer group that all bridges share: Kafka gives each of its partitions to one of them.

Members are static, so that a bridge which comes back in time gets its partitions again without a stir.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from apps.cluster.bridge.librdkafka import KafkaConf, logger
from apps.cluster.bridge.reader import PREFETCH, failed, is_fatal, record
from apps.cluster.bridge.records import Broken, Positions, Record

SESSION_TIMEOUT: Final = (
    6_000  # milliseconds without a word of a member; the least that Kafka allows by default
)
HEARTBEAT: Final = 1_500
TIMEOUT: Final = 2.0  # seconds that the brokers may take to answer


class KafkaGroup:
    """`records.Group`."""

    def __init__(self, conf: KafkaConf, group: str, member: str) -> None:
        """`member`: a name that no other one has, the same after a restart."""
        self._broken = ""
        self._client: Any = Consumer(
            conf.client(
                group,
                **{
                    "group.id": group,
                    "group.instance.id": member,
                    "session.timeout.ms": SESSION_TIMEOUT,
                    "heartbeat.interval.ms": HEARTBEAT,
                    "partition.assignment.strategy": "cooperative-sticky",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "earliest",  # nothing that was acknowledged is passed over
                    "queued.max.messages.kbytes": PREFETCH,
                    "fetch.wait.max.ms": 50,
                    "fetch.error.backoff.ms": 100,
                    "topic.metadata.refresh.interval.ms": 10_000,
                    "error_cb": self._trouble,
                    "on_commit": lambda error, _: self._trouble(error),
                },
            )
        )
        self._wanted: frozenset[str] = frozenset()
        self._running: set[tuple[str, int]] = set()  # partitions that are read

    def _trouble(self, error: KafkaError | None) -> None:
        """librdkafka's: called from `poll`, which itself says nothing of it where a commit failed."""
        if error is not None and is_fatal(error):
            self._broken = error.str()

    def join(self, topics: list[str]) -> None:
        self._client.subscribe(topics)

    def want(self, topics: frozenset[str]) -> None:
        self._wanted = topics

    def read(self, count: int, timeout: float) -> list[Record]:
        self._run(self._wanted)
        first = self._client.poll(timeout)
        if self._broken:
            raise Broken(self._broken)
        if first is None:
            return []
        found = [first, *self._client.consume(count - 1, 0)] if count > 1 else [first]
        return [record(each) for each in found if not failed(each)]

    def pause(self) -> None:
        self._run(frozenset())
        self._client.poll(0)
        if self._broken:
            raise Broken(self._broken)

    def _run(self, topics: frozenset[str]) -> None:
        """Of the partitions that this member has, read those of `topics`."""
        there = self._client.assignment()
        wanted = {(each.topic, each.partition) for each in there if each.topic in topics}
        stop = [each for each in there if (each.topic, each.partition) not in wanted]
        start = [each for each in there if (each.topic, each.partition) in wanted - self._running]
        with contextlib.suppress(KafkaException):  # it has just lost one
            if stop and (self._running or not wanted):
                self._client.pause(stop)
            if start:
                self._client.resume(start)
        self._running = wanted

    def idle_ends(self) -> Positions:
        found: Positions = {}
        for each in self._client.assignment():
            if each.topic not in self._wanted:
                with contextlib.suppress(KafkaException):
                    _, end = self._client.get_watermark_offsets(each, TIMEOUT)
                    found[each.topic, each.partition] = int(end)
        return found

    def skip(self, positions: Positions) -> None:
        for place, offset in positions.items():
            with contextlib.suppress(KafkaException):  # it has just lost it
                self._client.seek(TopicPartition(*place, offset))
        self.commit(positions)

    def positions(self) -> Positions:
        """Where this member reads."""
        with contextlib.suppress(KafkaException):
            there = self._client.position(self._client.assignment())
            return {(each.topic, each.partition): each.offset for each in there}
        return {}

    def ends(self, positions: Positions) -> Positions:
        found: Positions = {}
        for topic, number in positions:
            with contextlib.suppress(KafkaException):
                _, end = self._client.get_watermark_offsets(TopicPartition(topic, number), cached=True)
                if end >= 0:
                    found[topic, number] = end
        return found

    def commit(self, positions: Positions) -> None:
        offsets = [TopicPartition(*each, offset) for each, offset in positions.items()]
        try:
            self._client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:  # what is read again is known
            logger.debug("offsets not committed: %s", error)

    def close(self) -> None:
        self._client.close()
