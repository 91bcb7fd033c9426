"""QoS 0, 1 and 2, both ways (section 4.3)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("granted", (0, 1, 2))
@pytest.mark.parametrize("sent", (0, 1, 2))
def test_a_message_goes_out_at_the_lower_qos(world: World, level: int, granted: int, sent: int) -> None:
    """[MQTT-3.8.4-8]"""
    reader = world.join("reader", level)
    assert reader.subscribe("a/b", qos=granted).reasons == [granted]
    writer = world.join("writer", level)
    packet_id = writer.publish("a/b", b"x", sent)
    answers = ([], [p.Ack(pt.PUBACK, packet_id)], [p.Ack(pt.PUBREC, packet_id)])
    assert writer.take() == answers[sent]
    qos = min(sent, granted)
    assert reader.take_one(p.Publish) == p.Publish("a/b", b"x", qos, packet_id=1 if qos else 0)


@pytest.mark.parametrize("levels", [(a, b) for a in LEVELS for b in LEVELS])
def test_versions_understand_each_other(world: World, levels: tuple[int, int]) -> None:
    reader = world.join("reader", levels[0])
    reader.polite = True
    reader.subscribe("t/#", qos=2)
    writer = world.join("writer", levels[1])
    writer.polite = True
    for qos in (0, 1, 2):
        for size in (0, 1, 200, 20_000):
            writer.publish("t/é", b"%d" % qos * size, qos)
    assert reader.payloads() == [b"%d" % qos * size for qos in (0, 1, 2) for size in (0, 1, 200, 20_000)]


@pytest.mark.parametrize("level", LEVELS)
def test_incoming_qos_2_is_handed_on_once(world: World, level: int) -> None:
    """[MQTT-4.3.3-10]: not again before PUBREL, as a new message after it."""
    reader = world.join("reader", level)
    reader.subscribe("t")
    writer = world.join("writer", level)
    writer.send(p.Publish("t", b"1", 2, packet_id=7))
    writer.send(p.Publish("t", b"1", 2, dup=True, packet_id=7))
    assert writer.take() == [p.Ack(pt.PUBREC, 7)] * 2
    assert reader.payloads() == [b"1"]
    writer.ack(pt.PUBREL, 7)
    assert writer.take() == [p.Ack(pt.PUBCOMP, 7)]
    writer.send(p.Publish("t", b"2", 2, packet_id=7))
    assert reader.payloads() == [b"2"]


def test_repeats_in_any_form_are_known(world: World) -> None:
    """Also where the PUBLISH has properties, or is retained."""
    reader = world.join("reader")
    reader.subscribe("t")
    writer = world.join("writer")
    for dup in (False, True, True):
        writer.send(p.Publish("t", b"1", 2, True, dup, 7, {0x03: "text"}))
    assert writer.take() == [p.Ack(pt.PUBREC, 7)] * 3
    assert reader.payloads() == [b"1"]


@pytest.mark.parametrize("level", LEVELS)
def test_outgoing_qos_2_takes_both_steps(world: World, level: int) -> None:
    """[MQTT-4.3.3-1] to [MQTT-4.3.3-6]"""
    reader = world.join("reader", level)
    reader.subscribe("t", qos=2)
    writer = world.join("writer", level)
    writer.publish("t", b"x", 2)
    got = reader.take_one(p.Publish)
    session = world.node.sessions["reader"]
    assert (got.qos, len(session.unacked)) == (2, 1)
    reader.ack(pt.PUBREC, got.packet_id)
    assert reader.take() == [p.Ack(pt.PUBREL, got.packet_id)]
    assert (len(session.unacked), len(session.released)) == (0, 1)
    reader.ack(pt.PUBREC, got.packet_id)  # it may ask again
    assert reader.take() == [p.Ack(pt.PUBREL, got.packet_id)]
    reader.ack(pt.PUBCOMP, got.packet_id)
    assert (len(session.unacked), len(session.released)) == (0, 0)
    assert session.held == 0


def test_a_client_may_refuse_a_message(world: World) -> None:
    """PUBREC and PUBACK with an error end the exchange (section 4.3.3): nothing is sent again."""
    reader = world.join("reader", clean=False, properties={0x11: 100})
    reader.subscribe("t", qos=2)
    writer = world.join("writer")
    writer.publish("t", b"1", 1)
    writer.publish("t", b"2", 2)
    one, two = reader.take_publishes()
    reader.ack(pt.PUBACK, one.packet_id, reasons.QUOTA_EXCEEDED)
    reader.ack(pt.PUBREC, two.packet_id, reasons.IMPLEMENTATION_SPECIFIC_ERROR)
    assert reader.take() == []
    assert world.node.sessions["reader"].held == 0
    reader.drop()
    assert world.join("reader", clean=False).take() == []


@pytest.mark.parametrize("level", LEVELS)
def test_acknowledgements_of_unknown_identifiers(world: World, level: int) -> None:
    """Answered where the exchange has a next step: 5.0 with 0x92, 3.x plainly; never an error."""
    client = world.join("client", level)
    reason = reasons.PACKET_IDENTIFIER_NOT_FOUND if level == 5 else 0
    client.ack(pt.PUBACK, 9)
    client.ack(pt.PUBCOMP, 9)
    assert client.take() == []
    client.ack(pt.PUBREC, 9)
    assert client.take() == [p.Ack(pt.PUBREL, 9, reason)]
    client.ack(pt.PUBREL, 9)
    assert client.take() == [p.Ack(pt.PUBCOMP, 9, reason)]
    assert not client.closed


def test_a_client_learns_that_nobody_listens(world: World) -> None:
    """Reason 0x10, only in 5.0, whatever form the PUBLISH has."""
    writer = world.join("writer")
    for properties in ({}, {0x26: [("a", "b")]}):
        for qos, kind in ((1, pt.PUBACK), (2, pt.PUBREC)):
            packet_id = writer.publish("t", b"x", qos, properties=dict(properties))
            assert writer.take() == [p.Ack(kind, packet_id, reasons.NO_MATCHING_SUBSCRIBERS)]
            writer.ack(pt.PUBREL, packet_id)
            writer.take()
    old = world.join("old", 4)
    packet_id = old.publish("t", b"x", 1)
    assert old.take() == [p.Ack(pt.PUBACK, packet_id)]


def test_overlapping_subscriptions_give_one_copy_at_the_highest_qos(world: World) -> None:
    """[MQTT-3.3.4-2]"""
    reader = world.join("reader")
    reader.subscribe("a/#", qos=0)
    reader.subscribe("a/+", qos=2)
    reader.subscribe("a/b", qos=1)
    world.join("writer").publish("a/b", b"x", 2)
    assert [packet.qos for packet in reader.take_publishes()] == [2]


def test_a_subscription_is_replaced(world: World) -> None:
    """[MQTT-3.8.4-3]"""
    reader = world.join("reader")
    reader.subscribe("t", qos=2)
    reader.subscribe("t", qos=0)
    assert world.node.router.trie.count == 1
    world.join("writer").publish("t", b"x", 2)
    assert reader.take_one(p.Publish).qos == 0
