"""One node's consumer. It is given its partitions and positions; nobody else shares the group, so there is no
group protocol to wait for, neither when a topic is added nor after a crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as Raw

from apps.cluster.bridge.librdkafka import KafkaConf, logger
from apps.cluster.bridge.records import Broken, Headers, Positions, Record, Unreachable

T = TypeVar("T")

TIMEOUT: Final = 10.0  # seconds that the brokers may take to answer
PREFETCH: Final = 8192  # KiB that librdkafka reads ahead


class KafkaReader:
    def __init__(self, conf: KafkaConf, group: str) -> None:
        self._client: Any = Consumer(
            conf.client(
                group,
                **{
                    "group.id": group,
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",  # what is older is gone: go on with what there is
                    "queued.max.messages.kbytes": PREFETCH,
                    "fetch.wait.max.ms": 100,
                    "fetch.error.backoff.ms": 100,
                },
            )
        )
        self._there: set[tuple[str, int]] = set()

    def read(self, count: int, timeout: float) -> list[Record]:
        first = self._client.poll(timeout)
        if first is None:
            return []
        found = [first, *self._client.consume(count - 1, 0)] if count > 1 else [first]
        return [record(each) for each in found if not failed(each)]

    def move(self, positions: Positions) -> None:
        """Partitions that stay are not touched: what was read ahead of them is not read again."""
        gone = [TopicPartition(*each) for each in self._there - positions.keys()]
        new = [
            TopicPartition(topic, partition, offset)
            for (topic, partition), offset in positions.items()
            if (topic, partition) not in self._there
        ]
        if gone:
            self._client.incremental_unassign(gone)
        if new:
            self._client.incremental_assign(new)
        self._there = set(positions)

    def partitions(self, topic: str) -> list[int]:
        found = _patiently(lambda: self._client.list_topics(topic, TIMEOUT)).topics[topic]
        return [] if found.error is not None else sorted(found.partitions)

    def at(self, topic: str, time: int) -> Positions:
        wanted = [TopicPartition(topic, number, time) for number in self.partitions(topic)]
        if not wanted:
            return {}
        ends = {each.partition: self._end(topic, each.partition) for each in wanted}  # before the question
        positions: Positions = {}
        for each in _patiently(lambda: self._client.offsets_for_times(wanted, TIMEOUT)):
            if each.error is not None:
                raise Unreachable(each.error.str())
            nothing_as_young = each.offset < 0
            positions[topic, each.partition] = ends[each.partition] if nothing_as_young else each.offset
        return positions

    def _end(self, topic: str, partition: int) -> int:
        place = TopicPartition(topic, partition)
        _, end = _patiently(lambda: self._client.get_watermark_offsets(place, TIMEOUT))
        return int(end)

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
        except KafkaException as error:  # the node knows its positions; this is for those who look on
            logger.debug("offsets not committed: %s", error)

    def close(self) -> None:
        self._client.close()


def _patiently(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except KafkaException as error:
        raise Unreachable(error.args[0].str()) from None


def is_fatal(error: KafkaError) -> bool:
    """Is it the end of its client?"""
    return bool(error.fatal()) or error.code() in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID)


def failed(raw: Raw) -> bool:
    """Is it no record? Raises `Broken`."""
    error = raw.error()
    if error is None:
        return False
    if is_fatal(error):
        raise Broken(error.str())
    if error.code() != KafkaError._PARTITION_EOF:
        logger.warning("reading %s: %s", raw.topic(), error.str())
    return True


def record(raw: Raw) -> Record:
    """As the other parts know it."""
    try:
        headers: Headers = raw.headers() or []  # type: ignore[assignment]
    except UnicodeDecodeError:  # a header's name is not UTF-8: the record is no message of ours
        headers = []
    _, timestamp = raw.timestamp()
    return Record(raw.topic(), raw.partition(), raw.offset(), timestamp, raw.key(), raw.value(), headers)  # type: ignore[arg-type]
