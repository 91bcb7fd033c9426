"""What a node hands to Kafka: idempotent, acknowledged by all replicas in sync, bounded in bytes.

librdkafka sends from threads of its own. Its delivery reports are fetched on the node's loop by a timer that
runs while something is on its way: no other thread competes with the loop, and completions end on the loop.
Reports are counted by batch: what one turn of the loop sends has one completion, and one callback.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from apps.cluster.bridge.export_status import ExportStatus
from apps.cluster.bridge.librdkafka import KafkaConf
from apps.cluster.bridge.records import Headers
from apps.gateway.broker.histogram import Histogram
from apps.gateway.mqtt import reasons

if TYPE_CHECKING:
    from apps.cluster.bridge.export_rules import Export
    from apps.gateway.broker.completion import Completion

logger = logging.getLogger("gmqtt.kafka")

POLL: Final = 0.001  # seconds between looks for delivery reports
IDLE: Final = 1.0  # seconds between looks for news of the brokers
OVERHEAD: Final = 256  # bytes that a record costs in memory beside what stands in it
NAMES: Final = 16  # bytes of a header's name, as counted


# What is wrong with the record alone.
TOO_LARGE: Final = frozenset((KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE))
EXPORT_PATIENCE: Final = 5.0  # seconds that acknowledgements wait for a side effect


class _Batch:
    """What was sent on one completion."""

    __slots__ = ("_producer", "began", "completion", "left", "patience", "reason", "rule", "size")

    def __init__(
        self, producer: KafkaProducer, completion: Completion | None, rule: Export | None = None
    ) -> None:
        self._producer = producer
        self.completion = completion
        self.rule = rule  # whose side effect this is
        self.patience: asyncio.TimerHandle | None = None
        self.left = 0
        self.size = 0
        self.reason = 0
        self.began = time.monotonic()
        if completion is not None:
            completion.expect()

    def reported(self, error: KafkaError | None, record: Message) -> None:
        """librdkafka's delivery report for one record."""
        self._producer.reported(self, error, record)


class KafkaProducer:
    """`failed` is called with a count of QoS 0 messages that did not get through."""

    def __init__(
        self,
        conf: KafkaConf,
        name: str,
        loop: asyncio.AbstractEventLoop,
        failed: Callable[[int], None],
    ) -> None:
        self._conf = conf
        self._name = name
        self._loop = loop
        self._failed = failed
        self._client = self._make()
        self._batch: _Batch | None = None  # of this turn's completion
        self._loose: _Batch | None = None  # of QoS 0
        self._exports: dict[Export, _Batch] = {}  # of this turn, by rule
        self.exports = ExportStatus(conf.buffer_bytes)
        self.limits: dict[str, int] = {}  # Kafka topic -> bytes that a record may have there, where known
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0  # records on their way
        self._held = 0  # their bytes
        self.delivery_seconds = Histogram()  # of batches: from the first record to the last report
        self._refused = 0
        self._delivered = 0
        self._errors = 0
        self._last_error = ""
        self._fatal = False
        self._down = False
        self._empty: asyncio.Event | None = None  # set when nothing is on its way: somebody waits
        self._idle = loop.call_later(IDLE, self._look)

    def _make(self) -> Any:
        conf = self._conf
        kilobytes = conf.buffer_bytes // 1024 + 1
        return Client(
            conf.client(
                self._name,
                **{
                    "acks": "all",
                    "enable.idempotence": True,
                    "partitioner": "murmur2_random",  # as Kafka's own Java client: a key has one partition
                    "message.timeout.ms": conf.buffer_timeout * 1000,
                    "message.max.bytes": conf.max_record,
                    "queue.buffering.max.kbytes": min(2 * kilobytes, 2_147_483_647),
                    "queue.buffering.max.messages": 0,  # bytes count
                    "linger.ms": conf.options.get("linger.ms", 1),
                    "error_cb": self._trouble,
                },
            )
        )

    # Sending --------------------------------------------------------------------------------------

    def send(
        self, topic: str, key: bytes, value: bytes, headers: Headers, completion: Completion | None
    ) -> bool:
        size = _size(key, value, headers)
        if self._held + size > self._conf.buffer_bytes:
            self._refused += 1
            return False
        if size - OVERHEAD > self.limits.get(topic, size):  # it would never get through
            self._errors += 1
            self._note(_too_large(topic, size, self.limits[topic]))
            self._failed(1)
            return True
        if completion is None:
            batch = self._loose
            if batch is None:
                batch = self._loose = _Batch(self, None)
        else:
            batch = self._batch
            if batch is None or batch.completion is not completion:
                batch = self._batch = _Batch(self, completion)
        try:
            self._client.produce(topic, value, key, on_delivery=batch.reported, headers=headers)
        except (BufferError, KafkaException) as error:
            self._note(str(error))
            if batch.left == 0:
                self._complete(batch)
            if isinstance(error, KafkaException) and error.args[0].code() in TOO_LARGE:
                self._errors += 1
                self._failed(1)
                return True
            self._refused += 1
            return False
        self._count(batch, size)
        return True

    def export(
        self, rule: Export, key: bytes, value: bytes, headers: Headers, completion: Completion | None
    ) -> bool:
        size = _size(key, value, headers)
        topic = rule.kafka_topic
        if self._held + size > self._conf.buffer_bytes:
            self._refused += 1
            self.exports.failed(rule, "the producer's buffer is full", lasting=False)
            return False
        if size - OVERHEAD > self.limits.get(topic, size):
            self.exports.failed(rule, _too_large(topic, size, self.limits[topic]), lasting=False)
            return True
        if not self.exports.has_room(rule, size) and not self._down:
            self.exports.failed(rule, "the topic does not take records as fast as they come")
            return True
        waits = None if self.exports.is_failing(rule) and not self._down else completion
        batch = self._exports.get(rule)
        if batch is None or batch.completion is not waits:
            batch = self._exports[rule] = _Batch(self, waits, rule)
            if waits is not None:
                batch.patience = self._loop.call_later(EXPORT_PATIENCE, self._let_go, batch)
        try:
            self._client.produce(topic, value, key, on_delivery=batch.reported, headers=headers)
        except (BufferError, KafkaException) as error:
            self.exports.failed(rule, str(error), lasting=_is_lasting(error))
            if batch.left == 0:
                self._complete(batch)
            return True
        self.exports.sent(rule, size)
        self._count(batch, size)
        return True

    def _let_go(self, batch: _Batch) -> None:
        """Nobody waits for long for a topic that does not take what others would."""
        if self._down:
            batch.patience = self._loop.call_later(EXPORT_PATIENCE, self._let_go, batch)
            return
        batch.patience = None
        completion, batch.completion = batch.completion, None
        if batch.rule is not None:
            if self._exports.get(batch.rule) is batch:
                del self._exports[batch.rule]
            self.exports.failed(batch.rule, f"no answer within {EXPORT_PATIENCE:g} s", count=0)
        if completion is not None:
            completion.done(0)

    def _count(self, batch: _Batch, size: int) -> None:
        """One more of the batch is on its way."""
        batch.left += 1
        batch.size += size
        self._left += 1
        self._held += size
        if self._timer is None:
            self._timer = self._loop.call_later(POLL, self._poll)

    def _poll(self) -> None:
        self._loose = None
        self._client.poll(0)
        if self._fatal:
            self._begin_again()
        self._timer = self._loop.call_later(POLL, self._poll) if self._left else None

    def _look(self) -> None:
        self._idle = self._loop.call_later(IDLE, self._look)
        if not self._left:
            self._client.poll(0)
            if self._down:
                self._loop.run_in_executor(None, self._probe)

    def _probe(self) -> None:
        with contextlib.suppress(KafkaException):
            self._client.list_topics(timeout=IDLE)
            self._down = False

    def reported(self, batch: _Batch, error: KafkaError | None, record: Message) -> None:
        self._left -= 1
        batch.left -= 1
        if error is None:
            self._delivered += 1
            self._down = False
            if batch.rule is not None:
                self.exports.delivered(batch.rule)
        elif batch.rule is not None:
            self._errors += 1
            self.exports.failed(batch.rule, error.str(), lasting=error.code() not in TOO_LARGE)
            if self._down:  # it is not the rule's fault: the publisher may come again
                batch.reason = reasons.QUOTA_EXCEEDED
        elif error.code() in TOO_LARGE and self._is_impossible(record):
            self._errors += 1
            self._note(error.str())
            self._failed(1)
        else:
            self._errors += 1
            self._note(error.str())
            batch.reason = reasons.QUOTA_EXCEEDED
            if batch.completion is None:
                self._failed(1)
        if batch.left == 0:
            self._complete(batch)
        if self._left == 0 and self._empty is not None:
            self._empty.set()

    def _is_impossible(self, record: Message) -> bool:
        """Or was it only too large together with others of its batch?"""
        limit = self.limits.get(record.topic() or "")
        return limit is not None and len(record.value() or b"") > limit // 2

    def _complete(self, batch: _Batch) -> None:
        """All of the batch is safe, or known not to be."""
        self.delivery_seconds.observe(time.monotonic() - batch.began)
        if self._batch is batch:
            self._batch = None
        elif self._loose is batch:
            self._loose = None
        if batch.rule is not None:
            self.exports.settled(batch.rule, batch.size)
            if self._exports.get(batch.rule) is batch:
                del self._exports[batch.rule]
            if batch.patience is not None:
                batch.patience.cancel()
        self._held -= batch.size
        completion, batch.completion = batch.completion, None
        if completion is not None:
            completion.done(batch.reason)

    # Trouble --------------------------------------------------------------------------------------

    def _trouble(self, error: KafkaError) -> None:
        """librdkafka's: called from `poll`."""
        if error.fatal():
            self._fatal = True
        self._down = error.code() == KafkaError._ALL_BROKERS_DOWN or self._down
        self._note(error.str())

    def _note(self, text: str) -> None:
        self._last_error = text

    def _begin_again(self) -> None:
        """An idempotent producer that lost its place cannot go on; what it held is refused, never guessed."""
        logger.error("Kafka's producer begins again: %s", self._last_error)
        self._fatal = False
        self._client.purge()
        self._client.poll(0)
        self._client = self._make()

    def status(self) -> Mapping[str, object]:
        return {
            "ok": not self._down,
            "waiting": self._left,
            "waiting_bytes": self._held,
            "delivered": self._delivered,
            "failed": self._errors,
            "refused": self._refused,
            "exports_failing": self.exports.failing,
            "last_error": self._last_error,
        }

    async def close(self, patience: float) -> None:
        if self._left:
            self._empty = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), patience)
        if self._left:
            self._client.purge()
            self._client.poll(0)
        self._idle.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _size(key: bytes, value: bytes, headers: Headers) -> int:
    size = OVERHEAD + len(key) + len(value)
    for _, each in headers:
        size += NAMES + len(each or b"")
    return size


def _too_large(topic: str, size: int, limit: int) -> str:
    return f"a record of {size} bytes, {limit} allowed by max.message.bytes of {topic}"


def _is_lasting(error: BufferError | KafkaException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() not in TOO_LARGE
