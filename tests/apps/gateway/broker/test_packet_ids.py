"""Packet identifiers the broker gives out (section 2.2.1)."""

from __future__ import annotations

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from tests.apps.gateway.conftest import Worlds


def test_identifiers_wrap_around_those_in_use(make_world: Worlds) -> None:
    """Never 0, never one in flight [MQTT-2.2.1-3], [MQTT-2.2.1-4]; a full window waits."""
    world = make_world(inflight_window=4)
    reader = world.join("reader")
    reader.subscribe("t", qos=2)
    writer = world.join("writer")
    writer.polite = True
    writer.publish("t", b"stays", 1)
    writer.publish("t", b"released", 2)
    kept, half = reader.take_publishes()
    reader.ack(pt.PUBREC, half.packet_id)
    reader.take()
    seen = set()
    for number in range(65_535 + 3):
        writer.publish("t", b"", 1)
        packet_id = reader.take_one(p.Publish).packet_id
        assert packet_id not in (0, kept.packet_id, half.packet_id), number
        seen.add(packet_id)
        reader.ack(pt.PUBACK, packet_id)
    assert len(seen) == 65_533
    for number in range(10):
        writer.publish("t", b"%d" % number, 1)
    assert [packet.payload for packet in reader.take_publishes()] == [b"0", b"1"]
    assert world.node.stats.queued == 8


def test_every_identifier_in_flight(make_world: Worlds) -> None:
    world = make_world(inflight_window=65_535)
    reader = world.join("reader")
    reader.subscribe("t", qos=1)
    writer = world.join("writer")
    raw = b"\x32\x06\x00\x01t\x00\x01\x00"
    writer.send_raw(raw * 65_536)
    got = reader.take_publishes()
    assert [packet.packet_id for packet in got] == list(range(1, 65_536))
    assert world.node.stats.queued == 1
    reader.ack(pt.PUBACK, 77)
    assert reader.take_one(p.Publish).packet_id == 77
