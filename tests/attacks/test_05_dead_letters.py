"""Many records that are no messages: one question to Redis and one flush for a batch of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from apps.cluster.bridge import dead_letters
from apps.cluster.bridge.dead_letters import DeadLetter, KafkaDeadLetters
from apps.cluster.bridge.librdkafka import KafkaConf
from apps.cluster.bridge.records import Record

LARGE = 1000  # bytes; above, the broker refuses a record


class Producer:
    """As confluent-kafka's: what is produced is reported by `flush`."""

    def __init__(self, conf: dict[str, object]) -> None:
        self.stored: list[tuple[bytes | None, dict[str, bytes]]] = []
        self.flushes = 0
        self.room = 100_000
        self.broken = False
        self._reports: list[tuple[Callable[[Any, Any], None], KafkaError | None]] = []

    def produce(
        self, topic: str, value: bytes | None, key: bytes | None, headers: Any, on_delivery: Any
    ) -> None:
        size = len(value or b"") + sum(len(each) for _, each in headers)
        if size > 2 * LARGE:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if len(self._reports) >= self.room:
            raise BufferError
        error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE) if size > LARGE else None
        if error is None:
            self.stored.append((value, dict(headers)))
        self._reports.append((on_delivery, error))

    def flush(self, timeout: float) -> int:
        self.flushes += 1
        if self.broken:
            return len(self._reports)
        reports, self._reports = self._reports, []
        for on_delivery, error in reports:
            on_delivery(error, None)
        return 0


class Kept(KafkaDeadLetters):
    def __init__(
        self, claim: Callable[[list[str]], list[bool]] = lambda places: [True] * len(places)
    ) -> None:
        super().__init__(KafkaConf((), "gmqtt.", (), 1, 1, 0, 0, LARGE), "gmqtt.deadletter", claim)
        self.producer = Producer({})
        self._client = self.producer


def letters(count: int, value: bytes = b"x", first: int = 0) -> list[DeadLetter]:
    return [
        DeadLetter(Record("t", 0, first + number, 0, b"key", value, []), "no_topic", "no header mqtt-topic")
        for number in range(count)
    ]


def test_a_batch_costs_one_flush_and_one_question() -> None:
    asked: list[int] = []

    def claim(places: list[str]) -> list[bool]:
        asked.append(len(places))
        return [True] * len(places)

    kept = Kept(claim)
    kept.put(letters(500), "a")
    assert (kept.producer.flushes, asked, len(kept.producer.stored)) == (1, [500], 500)
    kept.put(letters(500), "b")  # the same records, for another node
    assert (kept.producer.flushes, asked, len(kept.producer.stored)) == (1, [500], 500)


def test_only_what_was_claimed_is_written() -> None:
    kept = Kept(lambda places: [place.endswith(("0", "5")) for place in places])
    kept.put(letters(10), "a")
    assert [headers["dead-place"] for _, headers in kept.producer.stored] == [b"t-0-0", b"t-0-5"]


@pytest.mark.parametrize("size", [LARGE + 1, 3 * LARGE])
def test_too_large_with_its_reason_it_is_kept_without_its_value(size: int) -> None:
    kept = Kept()
    kept.put([*letters(1, bytes(size)), *letters(1, b"small", 1)], "a")
    assert [value for value, _ in kept.producer.stored] == [b"small", None]
    assert kept.producer.stored[1][1]["dead-truncated"] == b"1"
    assert kept.producer.stored[1][1]["dead-reason"] == b"no_topic"


def test_a_full_buffer_is_emptied_first() -> None:
    kept = Kept()
    kept.producer.room = 4
    kept.put(letters(10), "a")
    assert len(kept.producer.stored) == 10


def test_what_is_not_known_to_be_stored_is_named(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    kept.producer.broken = True
    kept.put(letters(3), "a")
    assert "3 dead letters are not known to be stored, the first is t-0-0" in caplog.text


def test_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "REMEMBERED", 100)
    kept = Kept()
    kept.put(letters(500), "a")
    assert len(kept._seen) == 100
