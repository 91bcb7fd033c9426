"""Receive maximum, both ways (sections 3.1.2.11.3, 3.2.2.3.3, 4.9)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World

RECEIVE_MAXIMUM = 0x21


def numbers(client: Client) -> list[int]:
    return [int(payload) for payload in client.payloads()]


def test_the_clients_maximum_bounds_what_is_in_flight(world: World) -> None:
    """[MQTT-3.3.4-9]: PUBLISH until PUBACK or PUBCOMP; QoS 0 passes [MQTT-4.9.0-3]."""
    reader = world.join("reader", properties={RECEIVE_MAXIMUM: 2})
    reader.subscribe("t", qos=2)
    writer = world.join("writer")
    for number in range(6):
        writer.publish("t", b"%d" % number, 2 if number else 1)
    assert numbers(reader) == [0, 1]
    writer.publish("t", b"99", 0)
    assert numbers(reader) == [99]
    reader.ack(pt.PUBREC, 2)
    assert reader.take() == [p.Ack(pt.PUBREL, 2)]  # still counts until its PUBCOMP
    reader.ack(pt.PUBCOMP, 2)
    assert numbers(reader) == [2]
    reader.ack(pt.PUBACK, 1)
    assert numbers(reader) == [3]
    reader.ack(pt.PUBREC, 4, reasons.UNSPECIFIED_ERROR)
    assert numbers(reader) == [4]


def test_the_smaller_of_the_clients_and_ours_holds(make_world: Worlds) -> None:
    world = make_world(inflight_window=3)
    reader = world.join("reader")
    reader.subscribe("t", qos=1)
    old = world.join("old", 4)
    old.subscribe("t", qos=1)
    writer = world.join("writer")
    for number in range(9):
        writer.publish("t", b"%d" % number, 1)
    assert numbers(reader) == [0, 1, 2]
    assert numbers(old) == [0, 1, 2]


@pytest.mark.parametrize("maximum", (1, 3, 4))
def test_repeats_after_a_reconnect_keep_to_the_new_maximum(world: World, maximum: int) -> None:
    """[MQTT-3.3.4-9] holds for each connection: those beyond it wait, and nothing overtakes them."""
    reader = world.join("reader", clean=False, properties={0x11: 100})
    reader.subscribe("t", qos=2)
    writer = world.join("writer")
    for number in range(8):
        writer.publish("t", b"%d" % number, 2 if number == 1 else 1)
    reader.take()
    reader.ack(pt.PUBREC, 2)
    reader.drop()
    writer.publish("t", b"8", 1)
    again = world.join("reader", clean=False, properties={0x11: 100, RECEIVE_MAXIMUM: maximum})
    writer.publish("t", b"9", 1)
    released, *first = again.take()
    assert released == p.Ack(pt.PUBREL, 2)
    assert len(first) == maximum - 1
    in_flight = [packet for packet in first if isinstance(packet, p.Publish)]
    again.ack(pt.PUBCOMP, 2)
    got: list[p.Publish] = []
    while True:
        in_flight += again.take_publishes()
        assert len(in_flight) <= maximum
        if not in_flight:
            break
        got.append(in_flight.pop(0))
        again.ack(pt.PUBACK, got[-1].packet_id)
    assert [int(packet.payload) for packet in got] == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [packet.dup for packet in got] == [True] * 7 + [False] * 2
    assert world.node.sessions["reader"].held == 0


def test_our_maximum_binds_the_client(make_world: Worlds) -> None:
    """CONNACK says how many; one more is 0x93 [MQTT-3.3.4-7]; repeated ones do not count."""
    world = make_world(receive_maximum=3)
    client = world.join("client")
    assert client.connack is not None and client.connack.properties[RECEIVE_MAXIMUM] == 3
    for packet_id in (1, 2, 3, 3, 1):
        client.send(p.Publish("t", b"", 2, packet_id=packet_id))
    for packet_id in range(10, 20):
        client.send(p.Publish("t", b"", 1, packet_id=packet_id))
    assert not client.closed
    client.ack(pt.PUBREL, 2)
    client.send(p.Publish("t", b"", 2, packet_id=4))
    assert not client.closed
    client.take()
    client.send(p.Publish("t", b"", 2, packet_id=5))
    assert client.take_one(p.Disconnect).reason == reasons.RECEIVE_MAXIMUM_EXCEEDED


@pytest.mark.parametrize("retain", (False, True))
def test_what_is_above_our_maximum_is_not_handed_on(make_world: Worlds, retain: bool) -> None:
    world = make_world(receive_maximum=1)
    reader = world.join("reader")
    reader.subscribe("t")
    client = world.join("client")
    client.send(
        p.Publish("t", b"1", 2, retain, packet_id=1),
        p.Publish("t", b"2", 2, retain, packet_id=2),
        p.Publish("t", b"3", 2, retain, packet_id=3),
    )
    assert client.closed
    assert reader.payloads() == [b"1"]
    assert [message.payload for message in world.node.retained.match("t", 0)] == [b"1"] * retain


def test_zero_is_a_protocol_error(world: World) -> None:
    client = world.dial()
    client.connect("client", properties={RECEIVE_MAXIMUM: 0})
    assert client.connack is not None and client.connack.reason == reasons.PROTOCOL_ERROR


@pytest.mark.parametrize("level", [3, 4])
def test_a_3_x_client_was_told_of_none(make_world: Worlds, level: int) -> None:
    world = make_world(receive_maximum=5)
    writer = world.join("writer", level)
    for packet_id in range(1, 21):
        writer.send(p.Publish("t", b"x", 2, packet_id=packet_id))
    assert [ack.packet_id for ack in writer.take() if isinstance(ack, p.Ack)] == list(range(1, 21))
