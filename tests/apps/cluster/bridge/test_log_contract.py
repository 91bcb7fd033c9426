"""What the bridge and the node expect of Kafka, held against Kafka and its twin in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from apps.cluster.bridge import librdkafka
from apps.cluster.bridge.memory import MemoryLog, MemoryProducer, MemoryReader
from apps.cluster.bridge.producer import KafkaProducer
from apps.cluster.bridge.reader import KafkaReader
from apps.cluster.bridge.records import Positions, Record
from apps.gateway.broker.completion import Completion
from tests.apps.cluster.bridge.confs import kafka_conf

TOPIC = "things"


@dataclass
class Log:
    topic: str
    producer: Any
    reader: Callable[[str], Any]
    report: Callable[[], None]  # where reports do not come by themselves

    async def settle(self, completion: Completion) -> None:
        completion.close()
        end = time.monotonic() + 20
        while not completion.is_complete:
            assert time.monotonic() < end, "no delivery report came"
            self.report()
            await asyncio.sleep(0.005)

    async def fill(self, *values: bytes, key: bytes = b"k") -> None:
        completion = Completion()
        for value in values:
            assert self.producer.send(self.topic, key, value, [("n", value)], completion)
        await self.settle(completion)
        assert completion.reason == 0


@pytest.fixture(params=["memory", "kafka"])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Log]:
    if request.param == "memory":
        memory = MemoryLog()
        memory.create(TOPIC, 2)
        producer = MemoryProducer(memory, 100_000)
        yield Log(TOPIC, producer, lambda group: MemoryReader(memory, group), producer.deliver)
        return
    conf = kafka_conf(request.getfixturevalue("kafka"), request.getfixturevalue("kafka_prefix"))
    topic = conf.prefix + TOPIC
    await asyncio.to_thread(librdkafka.create_topics, conf, [topic])
    loop = asyncio.get_running_loop()
    real = KafkaProducer(conf, "test", loop, lambda count: None)
    readers: list[KafkaReader] = []

    def reader(group: str) -> KafkaReader:
        readers.append(KafkaReader(conf, conf.prefix + group))
        return readers[-1]

    yield Log(topic, real, reader, lambda: None)
    await real.close(5)
    for each in readers:
        each.close()


def read(reader: Any, count: int) -> list[Record]:
    found: list[Record] = []
    end = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < end, f"{len(found)} of {count} records came"
        found += reader.read(100, 0.1)
    return found


def beginning(log: Log) -> Positions:
    return {(log.topic, 0): 0, (log.topic, 1): 0}


async def test_a_record_comes_back_as_it_was_sent(log: Log) -> None:
    await log.fill(b"value", key=b"a/b")
    reader = log.reader("g")
    reader.move(beginning(log))
    record = read(reader, 1)[0]
    assert (record.topic, record.offset, record.key, record.value) == (log.topic, 0, b"a/b", b"value")
    assert record.headers == [("n", b"value")]
    assert abs(record.timestamp / 1000 - time.time()) < 30


async def test_one_key_stays_in_order(log: Log) -> None:
    values = [b"%d" % n for n in range(300)]
    await log.fill(*values)
    reader = log.reader("g")
    reader.move(beginning(log))
    found = read(reader, 300)
    assert [record.value for record in found] == values
    assert len({record.partition for record in found}) == 1


async def test_a_reader_goes_on_where_it_is_put(log: Log) -> None:
    await log.fill(b"0", b"1", b"2")
    reader = log.reader("g")
    reader.move(beginning(log))
    first = read(reader, 3)[0]
    other = log.reader("g")
    other.move({(log.topic, first.partition): 2})
    assert [record.value for record in read(other, 1)] == [b"2"]


async def test_partitions_that_are_taken_away_are_not_read(log: Log) -> None:
    reader = log.reader("g")
    reader.move(beginning(log))
    await log.fill(b"0")
    assert len(read(reader, 1)) == 1
    reader.move({})
    await log.fill(b"1")
    assert reader.read(10, 0.3) == []


async def test_the_records_since_a_moment(log: Log) -> None:
    await log.fill(b"before")
    await asyncio.sleep(0.05)
    moment = int(time.time() * 1000)
    reader = log.reader("g")
    assert sum(reader.at(log.topic, moment).values()) == 1  # nothing yet: the end
    await asyncio.sleep(0.05)
    await log.fill(b"after")
    positions = reader.at(log.topic, moment)
    assert set(positions) == {(log.topic, 0), (log.topic, 1)}
    reader.move(positions)
    assert [record.value for record in read(reader, 1)] == [b"after"]


async def test_a_topic_that_is_not_there_has_no_partitions(log: Log) -> None:
    reader = log.reader("g")
    assert reader.partitions(log.topic) == [0, 1]
    assert reader.partitions(log.topic + "-nowhere") == []
    assert reader.at(log.topic + "-nowhere", 0) == {}


async def test_a_receipt_waits_for_all_of_its_records(log: Log) -> None:
    completion = Completion()
    for value in (b"1", b"2", b"3"):
        assert log.producer.send(log.topic, b"k", value, [], completion)
    completion.close()
    assert not completion.is_complete
    await log.settle(completion)
    assert completion.reason == 0 and log.producer.status()["waiting"] == 0


async def test_what_does_not_fit_the_buffer_is_not_taken(log: Log) -> None:
    completion = Completion()
    sent = 0
    while log.producer.send(log.topic, b"k", bytes(10_000), [], completion):
        sent += 1
        assert sent < 100, "no bound"
    await log.settle(completion)  # what was taken is delivered
    assert log.producer.status()["delivered"] == sent
    assert log.producer.send(log.topic, b"k", bytes(10_000), [], None)  # and there is room again


async def test_ends_tell_how_far_there_is_to_go(log: Log) -> None:
    reader = log.reader("g")
    reader.move(beginning(log))
    await log.fill(b"0", b"1", b"2")
    read(reader, 3)
    ends = reader.ends(beginning(log))
    assert sum(ends.values()) == 3
    reader.commit(ends)


def test_the_same_trouble_is_said_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gmqtt.kafka")
    text = "FAIL [client-%d] Connect to broker failed: Connection refused (after %dms in state CONNECT)"
    for number in range(50):
        librdkafka.logger.error(text, number % 2, number)
    assert [record.getMessage().partition("]")[0] for record in caplog.records] == [
        "FAIL [client-0",
        "FAIL [client-1",
    ]
