"""Topic aliases, both ways (sections 3.1.2.11.5, 3.2.2.3.8, 3.3.2.3.4)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.doors import Door, Listed
from tests.apps.gateway.support.world import World

ALIAS = 0x23
ALIAS_MAXIMUM = 0x22


@pytest.mark.parametrize("qos", (0, 1, 2))
def test_a_client_may_alias(world: World, qos: int) -> None:
    """[MQTT-3.3.2-7], [MQTT-3.3.2-10], [MQTT-3.3.2-12]; the alias itself does not travel."""
    reader = world.join("reader")
    reader.subscribe("#")
    writer = world.join("writer")
    assert writer.connack is not None and writer.connack.properties[ALIAS_MAXIMUM] == 64
    steps = (("a", 1), ("", 1), ("b", 64), ("", 64), ("", 1), ("c", 1), ("", 1), ("c", 0), ("", 64))
    for topic, alias in steps:
        writer.publish(topic, b"", qos, properties={ALIAS: alias} if alias else {})
    got = reader.take_publishes()
    assert [packet.topic for packet in got] == list("aabbacccb")
    assert not any(packet.properties for packet in got)


@pytest.mark.parametrize(
    ("topic", "alias", "reason"),
    [
        ("t", 0, reasons.TOPIC_ALIAS_INVALID),  # [MQTT-3.3.2-8]
        ("t", 65, reasons.TOPIC_ALIAS_INVALID),  # [MQTT-3.3.2-9]
        ("", 7, reasons.PROTOCOL_ERROR),
        ("", None, reasons.PROTOCOL_ERROR),
        ("a/+", 1, reasons.TOPIC_NAME_INVALID),
    ],
)
def test_a_bad_alias_ends_the_connection(world: World, topic: str, alias: int | None, reason: int) -> None:
    client = world.join("client")
    client.publish(topic, b"x", properties={} if alias is None else {ALIAS: alias})
    assert client.take_one(p.Disconnect).reason == reason
    assert client.closed


def test_none_are_allowed_where_none_are_offered(make_world: Worlds) -> None:
    world = make_world(topic_alias_maximum=0)
    client = world.join("client")
    client.publish("t", properties={ALIAS: 1})
    assert client.take_one(p.Disconnect).reason == reasons.TOPIC_ALIAS_INVALID


def test_aliases_end_with_the_connection(world: World) -> None:
    """[MQTT-3.3.2-7]"""
    client = world.join("client", properties={0x11: 100})
    client.publish("t", properties={ALIAS: 1})
    client.drop()
    again = world.join("client", clean=False, properties={0x11: 100})
    again.publish("", properties={ALIAS: 1})
    assert again.take_one(p.Disconnect).reason == reasons.PROTOCOL_ERROR


def test_a_question_about_an_aliased_topic(make_world: Worlds) -> None:
    """The packet is read twice: the mapping must hold both times, also with further ones behind it."""
    world = make_world(door=Door(Listed({"a": -1, "b": -1})))
    reader = world.join("reader")
    reader.subscribe("#")
    client = world.join("client")
    client.send(
        p.Publish("a", b"1", properties={ALIAS: 1}),
        p.Publish("", b"2", properties={ALIAS: 1}),
        p.Publish("b", b"3", properties={ALIAS: 1}),
        p.Publish("", b"4", properties={ALIAS: 1}),
    )
    assert reader.take() == []
    world.answer()
    world.answer()
    assert [(packet.topic, packet.payload) for packet in reader.take_publishes()] == [
        ("a", b"1"),
        ("a", b"2"),
        ("b", b"3"),
        ("b", b"4"),
    ]


def test_a_client_that_allows_aliases_gets_them(make_world: Worlds) -> None:
    """At most as many as both allow; the topic is left out from the second message on."""
    world = make_world(topic_alias_maximum=2)
    reader = world.join("reader", properties={ALIAS_MAXIMUM: 10})
    reader.subscribe("#", qos=1)
    writer = world.join("writer")
    for topic in ("a", "b", "c", "a", "b", "c", "a"):
        writer.publish(topic, b"", 1)
        writer.publish(topic, b"", 0, properties={0x02: 5})
    got = [(packet.topic, packet.properties.get(ALIAS)) for packet in reader.take_publishes()]
    assert got == [
        ("a", 1), ("", 1), ("b", 2), ("", 2), ("c", None), ("c", None),
        ("", 1), ("", 1), ("", 2), ("", 2), ("c", None), ("c", None), ("", 1), ("", 1),
    ]  # fmt: skip


def test_a_run_of_qos_0_gets_aliases_too(world: World) -> None:
    reader = world.join("reader", properties={ALIAS_MAXIMUM: 1})
    reader.subscribe("#")
    world.join("writer", 4).send(*[p.Publish("t", b"%d" % n) for n in range(3)])
    assert reader.take() == [
        p.Publish("t", b"0", properties={ALIAS: 1}),
        p.Publish("", b"1", properties={ALIAS: 1}),
        p.Publish("", b"2", properties={ALIAS: 1}),
    ]


def test_a_dropped_message_teaches_no_alias(make_world: Worlds) -> None:
    world = make_world(max_queued_bytes=2000)
    reader = world.join("reader", properties={ALIAS_MAXIMUM: 10})
    reader.subscribe("#")
    reader.stall()
    writer = world.join("writer")
    writer.publish("first", b"x" * 1500)
    writer.publish("dropped", b"x" * 1500)
    reader.unstall()
    writer.publish("dropped", b"y")
    assert reader.take_one(p.Publish).topic == "dropped"


def test_their_topics_are_counted(make_world: Worlds) -> None:
    """Against the node's memory, in; out, long topics get none."""
    world = make_world(node_bytes=100_000)
    client = world.join("client")
    for alias in (1, 2, 1):
        client.publish("x" * 40_000, b"", properties={ALIAS: alias})
    client.publish("short", b"", properties={ALIAS: 2})
    client.publish("x" * 40_000, b"", properties={ALIAS: 3})
    assert not client.closed
    client.publish("y" * 40_000, b"", properties={ALIAS: 4})
    assert client.take_one(p.Disconnect).reason == reasons.QUOTA_EXCEEDED
    assert world.node.stats.held == 0
    reader = world.join("reader", properties={ALIAS_MAXIMUM: 10})
    reader.subscribe("#")
    writer = world.join("writer")
    for _ in range(2):
        writer.publish("x" * 2000)
    assert [packet.properties for packet in reader.take_publishes()] == [{}, {}]


def test_repeated_messages_use_the_new_connections_aliases(world: World) -> None:
    reader = world.join("reader", properties={ALIAS_MAXIMUM: 10, 0x11: 100})
    reader.subscribe("#", qos=1)
    world.join("writer").publish("t", b"1", 1)
    world.join("writer").publish("t", b"2", 1)
    reader.drop()
    again = world.join("reader", clean=False, properties={0x11: 100})
    assert [packet.topic for packet in again.take_publishes()] == ["t", "t"]
    again.drop()
    third = world.join("reader", clean=False, properties={ALIAS_MAXIMUM: 10, 0x11: 100})
    assert [packet.topic for packet in third.take_publishes()] == ["t", ""]
