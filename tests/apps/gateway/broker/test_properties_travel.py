"""Properties that go from publisher to subscriber unaltered (section 3.3.2.3), request and response."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from apps.gateway.mqtt.properties import Properties
from tests.apps.gateway.support.world import World

USER = 0x26
EVERY: Properties = {
    0x01: 1,
    0x03: "text/plain",
    0x08: "answers/ü",
    0x09: b"\x00\xff correlation",
    USER: [("b", "1"), ("a", "2"), ("b", "1"), ("", "")],
}


@pytest.mark.parametrize("qos", (0, 1, 2))
@pytest.mark.parametrize("retain", (False, True))
def test_unaltered_and_in_order(world: World, qos: int, retain: bool) -> None:
    """[MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-20], live, retained and over a reconnect."""
    reader = world.join("reader", properties={0x11: 100})
    reader.subscribe("t", qos=2)
    writer = world.join("writer")
    writer.publish("t", b"x", qos, retain, properties=EVERY)
    got = reader.take_one(p.Publish)
    assert got.properties == EVERY
    assert got.properties[USER] == EVERY[USER]
    reader.drop()
    again = world.join("reader", clean=False, properties={0x11: 100})
    if qos:
        assert again.take_one(p.Publish).properties == EVERY
    again.subscribe("t")
    if retain:
        assert again.take_one(p.Publish).properties == EVERY


def test_not_to_3_1_1(world: World) -> None:
    old = world.join("old", 4)
    old.subscribe("t", qos=1)
    writer = world.join("writer")
    writer.publish("t", b"x", 1, properties=EVERY)
    assert old.take() == [p.Publish("t", b"x", 1, packet_id=1)]


@pytest.mark.parametrize("topic", ("a/+", "#", "a#b", ""))
@pytest.mark.parametrize("qos", (0, 2))
def test_a_response_topic_is_a_topic_name(world: World, topic: str, qos: int) -> None:
    """[MQTT-3.3.2-14]; and the bad QoS 2 message leaves no trace in the session."""
    client = world.join("client", properties={0x11: 100})
    client.publish("t", b"x", qos, properties={0x08: topic})
    assert client.take_one(p.Disconnect).reason == reasons.PROTOCOL_ERROR
    assert not world.node.sessions["client"].incoming


def test_response_information(world: World) -> None:
    """[MQTT-3.1.2-28]: only where it was asked for."""
    asked = world.join("client", properties={0x19: 1})
    assert asked.connack is not None and asked.connack.properties[0x1A] == "response/client"
    for properties in ({}, {0x19: 0}):
        other = world.join("client", properties=dict(properties))
        assert other.connack is not None and 0x1A not in other.connack.properties


def test_what_the_node_offers(world: World) -> None:
    """Section 3.2.2.3."""
    client = world.join("client")
    assert client.connack is not None
    assert client.connack.properties == {
        0x21: 1024,
        0x27: 16_777_216,
        0x22: 64,
        0x25: 1,
        0x28: 1,
        0x29: 1,
        0x2A: 1,
    }
    old = world.join("old", 4)
    assert old.connack == p.Connack()


def test_no_reason_string_without_problem_information(world: World) -> None:
    """[MQTT-3.1.2-29]: allowed in CONNACK and DISCONNECT only, and there they are all that we send."""
    client = world.join("client", properties={0x17: 0})
    client.subscribe("a/#/b", "t")
    client.unsubscribe("nothing")
    client.publish("t", b"x", 1)
    client.publish("u", b"x", 2)
    for packet in client.take():
        assert not getattr(packet, "properties", None)
