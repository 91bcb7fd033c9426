"""The servers that the other tests rely on survive being killed, and keep what they were told."""

from __future__ import annotations

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tools.kafka import Kafka
from tools.redis import Redis


def test_redis_keeps_what_it_was_told(own_redis: Redis) -> None:
    own_redis.call("SET a 1")
    own_redis.call("CONFIG SET appendfsync always")
    own_redis.call("SET b 2")
    own_redis.kill()
    own_redis.start()
    assert own_redis.call("GET b") == b"$1\r\n2\r\n"


def test_kafka_keeps_what_it_acknowledged(own_kafka: Kafka) -> None:
    quiet = {"bootstrap.servers": own_kafka.servers, "log_level": 0}
    admin = AdminClient(quiet)
    admin.create_topics([NewTopic("a", 1, 1)])["a"].result(20)
    producer = Producer(quiet)
    producer.produce("a", b"x")
    assert producer.flush(20) == 0
    own_kafka.kill()
    own_kafka.start()
    consumer = Consumer(quiet | {"group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["a"])
    record = consumer.poll(30)
    consumer.close()
    assert record is not None and record.value() == b"x"


def test_a_shared_kafka_answers(kafka: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    assert admin.list_topics(timeout=20).brokers
