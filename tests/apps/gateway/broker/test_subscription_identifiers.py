"""Subscription identifiers (sections 3.3.2.3.8, 3.8.2.1.2)."""

from __future__ import annotations

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons, wire
from tests.apps.gateway.support.world import World

IDENTIFIER = 0x0B


def test_all_that_match_come_with_the_one_copy(world: World) -> None:
    """[MQTT-3.3.4-3], [MQTT-3.3.4-4], [MQTT-3.3.4-5]"""
    reader = world.join("reader")
    reader.subscribe("a/#", identifier=1)
    reader.subscribe("a/+", qos=1, identifier=268_435_455)
    reader.subscribe("a/b", qos=2)
    reader.subscribe("other", identifier=9)
    world.join("writer").publish("a/b", b"x", 2)
    got = reader.take_one(p.Publish)
    assert got.qos == 2
    assert sorted(got.properties[IDENTIFIER]) == [1, 268_435_455]


def test_one_for_all_filters_of_a_packet(world: World) -> None:
    reader = world.join("reader")
    reader.subscribe("a", "b", identifier=5)
    writer = world.join("writer")
    writer.publish("a")
    writer.publish("b")
    assert [packet.properties for packet in reader.take_publishes()] == [{IDENTIFIER: [5]}] * 2


def test_replaced_with_the_subscription(world: World) -> None:
    """[MQTT-3.8.4-3]"""
    reader = world.join("reader")
    writer = world.join("writer")
    reader.subscribe("t", identifier=5)
    reader.subscribe("t", identifier=6)
    writer.publish("t")
    assert reader.take_one(p.Publish).properties == {IDENTIFIER: [6]}
    reader.subscribe("t")
    writer.publish("t")
    assert reader.take_one(p.Publish).properties == {}


def test_kept_over_a_reconnect(world: World) -> None:
    """[MQTT-4.1.0-1]: part of the session's state; also what waits in the queue carries it."""
    reader = world.join("reader", properties={0x11: 100})
    reader.subscribe("t", qos=1, identifier=7)
    reader.drop()
    writer = world.join("writer")
    writer.publish("t", b"1", 1)
    again = world.join("reader", clean=False)
    writer.publish("t", b"2", 1)
    assert [packet.properties for packet in again.take_publishes()] == [{IDENTIFIER: [7]}] * 2


def test_a_3_1_1_client_sees_none(world: World) -> None:
    reader = world.join("reader", properties={0x11: 100})
    reader.subscribe("t", qos=1, identifier=7)
    reader.drop()
    again = world.join("reader", 4, clean=False)
    writer = world.join("writer")
    writer.publish("t", b"x", 1)
    writer.publish("t", b"y", 0)
    assert again.take() == [p.Publish("t", b"x", 1, packet_id=1), p.Publish("t", b"y")]


def test_with_shared_subscriptions(world: World) -> None:
    reader = world.join("reader")
    reader.subscribe("$share/g/t", identifier=3)
    reader.subscribe("t", identifier=4)
    world.join("writer").publish("t")
    assert sorted(packet.properties[IDENTIFIER] for packet in reader.take_publishes()) == [[3], [4]]


def test_a_client_may_not_publish_one(world: World) -> None:
    """[MQTT-3.3.4-6]"""
    client = world.join("client")
    client.publish("t", properties={IDENTIFIER: [1]})
    assert client.take_one(p.Disconnect).reason == reasons.PROTOCOL_ERROR


def test_zero_and_two_are_refused(world: World) -> None:
    for body in (b"\x02\x0b\x00", b"\x04\x0b\x01\x0b\x01"):
        client = world.join("client")
        client.send_raw(b"\x82" + wire.varint(len(body) + 6) + b"\x00\x01" + body + b"\x00\x01t\x00")
        assert client.take_one(p.Disconnect).reason == reasons.PROTOCOL_ERROR
