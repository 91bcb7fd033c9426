"""Messages of one topic stay in order (section 4.6), whatever happens to the reader."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import codec
from apps.gateway.mqtt import packets as p
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.world import World


@pytest.mark.parametrize("level", (3, 4, 5))
def test_mixed_qos_in_one_segment(world: World, level: int) -> None:
    """Runs of QoS 0 are handed on together, never past a message of another kind."""
    reader = world.join("reader", level)
    reader.subscribe("#", qos=2)
    writer = world.join("writer", level)
    sent: list[p.Packet] = []
    for number in range(60):
        qos = (0, 0, 0, 1, 0, 2, 0, 0)[number % 8]
        topic = ("t", "t", "u")[number % 3]
        retain = number % 13 == 0
        sent.append(p.Publish(topic, b"%d" % number, qos, retain, False, number + 1 if qos else 0))
        if number % 11 == 0:
            sent.append(p.Ping(12))
    writer.send(*sent)
    assert reader.payloads() == [b"%d" % number for number in range(60)]


@pytest.mark.parametrize("qos", (1, 2))
def test_a_small_window_and_a_stalled_reader(make_world: Worlds, qos: int) -> None:
    world = make_world(inflight_window=3)
    reader = world.join("reader")
    reader.polite = True
    reader.subscribe("t", qos=qos)
    writer = world.join("writer")
    writer.polite = True
    got: list[bytes] = []
    for number in range(300):
        writer.publish("t", b"%d" % number, 2)
        if number == 50:
            reader.stall(20)
        if number == 150:
            got += [each.payload for each in reader.unstall() if isinstance(each, p.Publish)]
        if number > 200 and number % 7 == 0:
            got += reader.payloads()
    got += reader.payloads()
    assert got == [b"%d" % number for number in range(300)]


def test_acknowledgements_leave_in_the_order_of_their_publishes(world: World) -> None:
    """[MQTT-4.6.0-2], [MQTT-4.6.0-3]"""
    writer = world.join("writer", 4)
    writer.send(*[p.Publish("t", b"", 1 + number % 2, packet_id=number) for number in range(1, 50)])
    assert [packet.packet_id for packet in writer.take() if isinstance(packet, p.Ack)] == list(range(1, 50))


@pytest.mark.parametrize("qos", (0, 1))
def test_more_than_one_flush_where_there_is_very_much(world: World, qos: int) -> None:
    """Memory has its bounds within one segment, too; what leaves early leaves first."""
    reader = world.join("reader")
    reader.subscribe("t", qos=1)
    writer = world.join("writer")
    sent = [p.Publish("t", b"%05d" % n + b"x" * 3000, qos, packet_id=qos * (n + 1)) for n in range(900)]
    before = reader.link.writes
    writer.send(*sent, *[p.Ping(12)] * 20_000)
    assert [payload[:5] for payload in reader.payloads()] == [b"%05d" % n for n in range(900)]
    assert reader.link.writes > before + qos
    assert len(writer.take()) == 20_000 + 900 * qos


def test_one_flush_for_a_segment(world: World) -> None:
    """Everything that one segment causes leaves in one write for each connection."""
    reader = world.join("reader", 4)
    reader.subscribe("t", qos=1)
    reader.take()
    writer = world.join("writer", 4)
    before = (reader.link.writes, writer.link.writes)
    writer.send_raw(b"".join(codec.encode(p.Publish("t", b"x", 1, packet_id=n), 4) for n in range(1, 100)))
    assert (reader.link.writes, writer.link.writes) == (before[0] + 1, before[1] + 1)
