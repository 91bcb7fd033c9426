"""Kafka's twin in memory, for tests without one: the same contract suite holds for both."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from apps.cluster.bridge.records import Headers, Positions, Record

if TYPE_CHECKING:
    from apps.cluster.bridge.export_rules import Export
    from apps.gateway.broker.completion import Completion


class MemoryLog:
    """The brokers: topics with partitions of records."""

    def __init__(self) -> None:
        self.topics: dict[str, list[list[Record]]] = {}
        self.committed: dict[str, Positions] = {}
        self.more = threading.Condition()

    def create(self, topic: str, partitions: int) -> None:
        with self.more:
            self.topics.setdefault(topic, [[] for _ in range(partitions)])

    def append(self, topic: str, key: bytes, value: bytes, headers: Headers) -> None:
        with self.more:
            partitions = self.topics[topic]
            number = zlib.crc32(key) % len(partitions)
            records = partitions[number]
            now = int(time.time() * 1000)
            records.append(Record(topic, number, len(records), now, key, value, list(headers)))
            self.more.notify_all()


class MemoryProducer:
    """What is sent is safe at once, but for the completions, which `deliver` settles."""

    def __init__(self, log: MemoryLog, buffer_bytes: int) -> None:
        self._log = log
        self._room = buffer_bytes
        self._waiting: list[tuple[Completion | None, int]] = []
        self.delivered = 0

    def send(
        self, topic: str, key: bytes, value: bytes, headers: Headers, completion: Completion | None
    ) -> bool:
        size = len(key) + len(value)
        if size > self._room:
            return False
        self._room -= size
        self._log.append(topic, key, value, headers)
        if completion is not None:
            completion.expect()
        self._waiting.append((completion, size))
        return True

    def export(
        self, rule: Export, key: bytes, value: bytes, headers: Headers, completion: Completion | None
    ) -> bool:
        return self.send(rule.kafka_topic, key, value, headers, completion)

    def deliver(self, reason: int = 0) -> None:
        waiting, self._waiting = self._waiting, []
        for completion, size in waiting:
            self._room += size
            self.delivered += 1
            if completion is not None:
                completion.done(reason)

    def status(self) -> Mapping[str, object]:
        return {"ok": True, "waiting": len(self._waiting), "delivered": self.delivered}

    async def close(self, patience: float) -> None:
        self.deliver()


class MemoryReader:
    def __init__(self, log: MemoryLog, group: str) -> None:
        self._log = log
        self._group = group
        self._positions: Positions = {}

    def read(self, count: int, timeout: float) -> list[Record]:
        end = time.monotonic() + timeout
        with self._log.more:
            while True:
                found: list[Record] = []
                for (topic, partition), offset in self._positions.items():
                    records = self._log.topics[topic][partition][offset : offset + count - len(found)]
                    self._positions[topic, partition] += len(records)
                    found += records
                left = end - time.monotonic()
                if found or left <= 0:
                    return found
                self._log.more.wait(left)

    def move(self, positions: Positions) -> None:
        self._positions = dict(positions)

    def partitions(self, topic: str) -> list[int]:
        return list(range(len(self._log.topics.get(topic, []))))

    def at(self, topic: str, time: int) -> Positions:
        found: Positions = {}
        for number, records in enumerate(self._log.topics.get(topic, [])):
            since = (record.offset for record in records if record.timestamp >= time)
            found[topic, number] = next(since, len(records))
        return found

    def ends(self, positions: Positions) -> Positions:
        return {(topic, number): len(self._log.topics[topic][number]) for topic, number in positions}

    def commit(self, positions: Positions) -> None:
        self._log.committed.setdefault(self._group, {}).update(positions)

    def close(self) -> None: ...
