"""Records that are no messages: kept in a Kafka topic with the reason, so that nothing is lost or blocked."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from apps.cluster.bridge.librdkafka import KafkaConf
from apps.cluster.bridge.records import Headers, Record

logger = logging.getLogger("gmqtt.bridge")

REMEMBERED: Final = 10_000  # places of records, by a bridge that serves several nodes
TIMEOUT: Final = 10.0  # seconds until the brokers have it
MARGIN: Final = 4096  # bytes of a record beside key, value and headers
SHOWN: Final = 3  # records of a batch that the log names
TOO_LARGE: Final = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE)


@dataclass(frozen=True)
class DeadLetter:
    record: Record
    reason: str  # a word
    text: str

    @property
    def place(self) -> str:
        return f"{self.record.topic}-{self.record.partition}-{self.record.offset}"


class KafkaDeadLetters:
    """`claim(places)`: of which of these records is this bridge the first of the cluster to find them?"""

    def __init__(self, conf: KafkaConf, topic: str, claim: Callable[[list[str]], list[bool]]) -> None:
        self._conf = conf
        self._topic = topic
        self._claim = claim
        self._lock = Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._client: Any = None

    def put(self, letters: list[DeadLetter], node: str) -> None:
        """As `DeadLetters.put`: one question to Redis and one flush, however many they are."""
        letters = self._first(letters)
        if not letters:
            return
        logger.warning(
            "%d records are no messages: %s",
            len(letters),
            "; ".join(f"{each.place} ({each.reason}): {each.text}" for each in letters[:SHOWN]),
        )
        too_large = self._produce([(each, _why(each, node), each.record.value) for each in letters])
        if too_large:
            # As large as the topic allows, and the reason on top: what it was can be looked up at its place.
            self._produce([(each, [*_why(each, node), ("dead-truncated", b"1")], None) for each in too_large])

    def _first(self, letters: list[DeadLetter]) -> list[DeadLetter]:
        """Those that nobody has found before."""
        found: list[DeadLetter] = []
        with self._lock:
            for each in letters:
                if each.place not in self._seen:
                    self._seen[each.place] = None
                    found.append(each)
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        if not found:
            return found
        claimed = self._claim([each.place for each in found])
        return [each for each, mine in zip(found, claimed, strict=True) if mine]

    def _produce(self, wanted: list[tuple[DeadLetter, Headers, bytes | None]]) -> list[DeadLetter]:
        """Those that were refused for their size."""
        client = self._producer()
        left = {each.place: each for each, _, _ in wanted}
        too_large: list[DeadLetter] = []

        def reported(letter: DeadLetter, error: KafkaError | None) -> None:
            if error is None:
                left.pop(letter.place, None)
            elif error.code() in TOO_LARGE:
                left.pop(letter.place, None)
                too_large.append(letter)

        for letter, why, value in wanted:
            record = letter.record
            truncated = value is None and record.value is not None
            key = (record.key or b"")[:1000] if truncated else record.key
            headers = why if truncated else [*record.headers, *why]

            def done(error: KafkaError | None, _: object, letter: DeadLetter = letter) -> None:
                reported(letter, error)

            for attempt in (1, 2):
                try:
                    client.produce(self._topic, value, key, headers=headers, on_delivery=done)
                except BufferError:  # librdkafka holds as much as it may
                    if attempt == 1:
                        client.flush(TIMEOUT)
                        continue
                except KafkaException as error:
                    reported(letter, error.args[0])
                break
        client.flush(TIMEOUT)
        if left:
            logger.error(
                "%d dead letters are not known to be stored, the first is %s", len(left), next(iter(left))
            )
        return too_large

    def _producer(self) -> Any:
        with self._lock:
            if self._client is None:
                more = {"acks": "all", "enable.idempotence": True, "message.max.bytes": self._conf.max_record}
                self._client = Producer(self._conf.client("gmqtt-deadletter", **more))
            return self._client


def _why(letter: DeadLetter, node: str) -> Headers:
    return [
        ("dead-reason", letter.reason.encode()),
        ("dead-text", letter.text.encode(errors="replace")[:1000]),
        ("dead-place", letter.place.encode()),
        ("dead-node", node.encode()),
    ]
