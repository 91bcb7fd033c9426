"""Records that are no messages: kept in a Kafka topic with the reason, so that nothing is lost or blocked."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from apps.cluster.bridge.librdkafka import KafkaConf
from apps.cluster.bridge.records import Headers, Record

logger = logging.getLogger("gmqtt.bridge")

REMEMBERED: Final = 10_000  # places of records, by a bridge that serves several nodes
TIMEOUT: Final = 10.0  # seconds until the brokers have it
MARGIN: Final = 4096  # bytes of a record beside key, value and headers


class KafkaDeadLetters:
    """`claim(place)`: is this bridge the first of the cluster to find the record?"""

    def __init__(self, conf: KafkaConf, topic: str, claim: Callable[[str], bool]) -> None:
        self._conf = conf
        self._topic = topic
        self._claim = claim
        self._lock = Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._client: Any = None

    def put(self, record: Record, reason: str, text: str, node: str) -> None:
        place = f"{record.topic}-{record.partition}-{record.offset}"
        with self._lock:
            if place in self._seen:
                return
            self._seen[place] = None
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        if not self._claim(place):
            return
        logger.warning("%s is no message (%s): %s", place, reason, text)
        why: Headers = [
            ("dead-reason", reason.encode()),
            ("dead-text", text.encode(errors="replace")[:1000]),
            ("dead-place", place.encode()),
            ("dead-node", node.encode()),
        ]
        if not self._produce(record.key, record.value, [*record.headers, *why]):
            # As large as the topic allows, and the reason on top: what it was can be looked up at its place.
            self._produce((record.key or b"")[:1000], None, [*why, ("dead-truncated", b"1")])

    def _produce(self, key: bytes | None, value: bytes | None, headers: Headers) -> bool:
        if self._client is None:
            more = {"acks": "all", "enable.idempotence": True, "message.max.bytes": self._conf.max_record}
            self._client = Producer(self._conf.client("gmqtt-deadletter", **more))
        errors: list[object] = []
        try:
            self._client.produce(
                self._topic, value, key, headers=headers, on_delivery=lambda error, _: errors.append(error)
            )
        except (KafkaException, BufferError):
            return False
        self._client.flush(TIMEOUT)
        return errors == [None]
