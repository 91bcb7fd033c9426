"""What was not acknowledged comes again after a reconnect, in order (section 4.4)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)


def rejoin(world: World, level: int, **properties: int) -> Client:
    extra = {0x11: 1000} if level == 5 else {}
    return world.join("reader", level, clean=False, properties=extra)


@pytest.mark.parametrize("level", LEVELS)
def test_unacknowledged_messages_come_again_with_dup(world: World, level: int) -> None:
    """[MQTT-4.4.0-1], [MQTT-3.3.1-1], [MQTT-4.6.0-1]: same identifiers, same order, DUP set."""
    reader = rejoin(world, level)
    reader.subscribe("t", qos=2)
    writer = world.join("writer")
    writer.polite = True
    for number in range(6):
        writer.publish("t", b"%d" % number, 1 + number % 2)
    first = reader.take_publishes()
    reader.ack(pt.PUBACK, first[2].packet_id)
    reader.drop()
    again = rejoin(world, level)
    assert again.connack is not None
    assert again.connack.session_present == (level > 3)
    expected = [
        p.Publish("t", f.payload, f.qos, False, True, f.packet_id) for f in first if f is not first[2]
    ]
    assert again.take() == expected
    again.drop()
    third = rejoin(world, level)
    assert third.take() == expected


@pytest.mark.parametrize("level", LEVELS)
def test_pubrel_comes_again(world: World, level: int) -> None:
    reader = rejoin(world, level)
    reader.subscribe("t", qos=2)
    world.join("writer").publish("t", b"x", 2)
    packet_id = reader.take_one(p.Publish).packet_id
    reader.ack(pt.PUBREC, packet_id)
    reader.drop()
    again = rejoin(world, level)
    assert again.take() == [p.Ack(pt.PUBREL, packet_id)]
    again.ack(pt.PUBCOMP, packet_id)
    again.drop()
    assert rejoin(world, level).take() == []


@pytest.mark.parametrize("level", LEVELS)
def test_an_incoming_qos_2_identifier_is_remembered(world: World, level: int) -> None:
    """[MQTT-4.3.3-10] over a reconnect: no second copy."""
    reader = world.join("other")
    reader.subscribe("t")
    writer = rejoin(world, level)
    writer.send(p.Publish("t", b"x", 2, packet_id=5))
    writer.drop()
    again = rejoin(world, level)
    again.send(p.Publish("t", b"x", 2, dup=True, packet_id=5))
    assert again.take() == [p.Ack(pt.PUBREC, 5)]
    assert reader.payloads() == [b"x"]


@pytest.mark.parametrize("level", LEVELS)
def test_messages_wait_for_an_absent_client(world: World, level: int) -> None:
    reader = rejoin(world, level)
    reader.subscribe("t", qos=1)
    reader.drop()
    writer = world.join("writer")
    for number in range(5):
        writer.publish("t", b"%d" % number, number % 3)
    assert (world.node.stats.queued, world.node.stats.held > 0) == (3, True)
    again = rejoin(world, level)
    got = again.take_publishes()
    assert [packet.payload for packet in got] == [b"1", b"2", b"4"]  # QoS 0 does not wait
    assert not any(packet.dup for packet in got)
    assert world.node.stats.queued == 0


def test_a_session_moves_between_versions(world: World) -> None:
    """What 5.0 sent is repeated in the form of 3.1.1, and the other way round."""
    reader = rejoin(world, 5)
    reader.subscribe("t", qos=1, identifier=7)
    world.join("writer").publish("t", b"x", 1, properties={0x03: "text"})
    assert reader.take_one(p.Publish).properties == {0x0B: [7], 0x03: "text"}
    reader.drop()
    old = rejoin(world, 4)
    assert old.take() == [p.Publish("t", b"x", 1, dup=True, packet_id=1)]
    old.drop()
    assert rejoin(world, 5).take_one(p.Publish).properties == {0x0B: [7], 0x03: "text"}


@pytest.mark.parametrize("level", LEVELS)
def test_queue_and_unacknowledged_keep_their_order(world: World, level: int) -> None:
    """Repeated ones first, then what waited [MQTT-4.6.0-6]."""
    reader = rejoin(world, level)
    reader.subscribe("t", qos=1)
    writer = world.join("writer")
    writer.publish("t", b"1", 1)
    reader.take()
    reader.drop()
    writer.publish("t", b"2", 1)
    again = rejoin(world, level)
    writer.publish("t", b"3", 1)
    assert again.payloads() == [b"1", b"2", b"3"]
