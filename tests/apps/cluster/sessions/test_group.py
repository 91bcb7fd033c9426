"""The consumer group of all bridges, on a real Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer

from apps.cluster.bridge import librdkafka
from apps.cluster.bridge.consumer_group import KafkaGroup
from apps.cluster.bridge.records import Broken
from tests.apps.cluster.bridge.confs import kafka_conf

TIMEOUT = 30.0


@pytest.fixture
def member(kafka: str, kafka_prefix: str) -> Iterator[Callable[[str], KafkaGroup]]:
    conf = kafka_conf(kafka, kafka_prefix)
    librdkafka.create_topics(conf, [f"{kafka_prefix}t"])
    made: list[KafkaGroup] = []

    def join(name: str) -> KafkaGroup:
        made.append(KafkaGroup(conf, f"{kafka_prefix}group", name))
        made[-1].join([f"{kafka_prefix}t"])
        made[-1].want(frozenset([f"{kafka_prefix}t"]))
        return made[-1]

    yield join
    for each in made:
        each.close()


def values(group: KafkaGroup, count: int) -> list[bytes | None]:
    found: list[bytes | None] = []
    end = time.monotonic() + TIMEOUT
    while len(found) < count:
        assert time.monotonic() < end
        found += [record.value for record in group.read(100, 0.1)]
    return found


def publish(kafka: str, topic: str, *payloads: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for payload in payloads:
        producer.produce(topic, payload, b"key")
    assert not producer.flush(TIMEOUT)


def test_who_is_made_a_stranger_says_so(
    kafka: str, kafka_prefix: str, member: Callable[[str], KafkaGroup]
) -> None:
    """librdkafka ends such a member for good."""
    publish(kafka, f"{kafka_prefix}t", b"1")
    first = member("one")
    assert values(first, 1) == [b"1"]
    second = member("one")
    with pytest.raises(Broken, match="fenced"):
        values(first, 1)
    assert values(second, 1) == [b"1"]  # it was not committed


def test_what_nobody_wants_is_passed_over(
    kafka: str, kafka_prefix: str, member: Callable[[str], KafkaGroup]
) -> None:
    topic = f"{kafka_prefix}t"
    group = member("one")
    group.want(frozenset())
    publish(kafka, topic, b"1", b"2")
    end = time.monotonic() + TIMEOUT
    while sum(group.idle_ends().values()) < 2:
        assert time.monotonic() < end
        assert not group.read(100, 0.1)
    group.skip(group.idle_ends())
    publish(kafka, topic, b"3")
    group.want(frozenset([topic]))
    assert values(group, 1) == [b"3"]
    group.commit({place: end for place, end in group.positions().items() if end >= 0})
    group.close()
    publish(kafka, topic, b"4")
    assert values(member("two"), 1) == [b"4"]
