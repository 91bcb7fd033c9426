"""Retained messages (sections 3.3.1.3 and 3.8.3.1)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)


@pytest.mark.parametrize("level", LEVELS)
def test_the_last_retained_message_comes_with_the_flag(world: World, level: int) -> None:
    """[MQTT-3.3.1-5], [MQTT-3.3.1-8]; QoS 0 and messages that are not retained are no exception."""
    writer = world.join("writer", level)
    writer.publish("a/b", b"old", 1, retain=True)
    writer.publish("a/b", b"kept", 0, retain=True)
    writer.publish("a/b", b"passing", 0)
    reader = world.join("reader", level)
    reader.subscribe("a/+", qos=2)
    assert reader.take() == [p.Publish("a/b", b"kept", 0, True)]


@pytest.mark.parametrize("level", LEVELS)
def test_an_established_subscription_gets_it_without_the_flag(world: World, level: int) -> None:
    """[MQTT-3.3.1-12]"""
    reader = world.join("reader", level)
    reader.subscribe("t")
    world.join("writer", level).publish("t", b"x", retain=True)
    assert reader.take() == [p.Publish("t", b"x")]


@pytest.mark.parametrize("level", LEVELS)
def test_an_empty_payload_clears(world: World, level: int) -> None:
    """[MQTT-3.3.1-6], [MQTT-3.3.1-7]; it still goes to those who listen."""
    reader = world.join("reader", level)
    reader.subscribe("t")
    writer = world.join("writer", level)
    writer.publish("t", b"x", retain=True)
    writer.publish("t", b"", retain=True)
    assert reader.payloads() == [b"x", b""]
    assert (len(world.node.retained), world.node.retained.bytes) == (0, 0)
    late = world.join("late", level)
    late.subscribe("t")
    assert late.take() == []


def test_retain_as_published(world: World) -> None:
    """[MQTT-3.3.1-12], [MQTT-3.3.1-13], in a group of plain subscribers and in all others."""
    kept = world.join("kept")
    kept.subscribe(p.Filter("t", 1, retain_as_published=True))
    known = world.join("known")
    known.subscribe(p.Filter("t", 1, retain_as_published=True), identifier=3)
    bare = world.join("bare")
    bare.subscribe("t", qos=1)
    shared = world.join("shared")
    shared.subscribe(p.Filter("$share/g/t", 1, retain_as_published=True))
    writer = world.join("writer")
    for retain in (True, False):
        writer.publish("t", b"x", 1, retain)
        flags = [each.take_one(p.Publish).retain for each in (kept, known, bare, shared)]
        assert flags == [retain, retain, False, retain]


def test_retain_as_published_at_qos_0_in_a_run(world: World) -> None:
    kept = world.join("kept")
    kept.subscribe(p.Filter("t", 0, retain_as_published=True))
    writer = world.join("writer")
    writer.send(*[p.Publish("t", b"%d" % n, retain=n == 2) for n in range(5)])
    assert [(each.payload, each.retain) for each in kept.take_publishes()] == [
        (b"%d" % n, n == 2) for n in range(5)
    ]


@pytest.mark.parametrize(("handling", "first", "second"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
def test_retain_handling(world: World, handling: int, first: int, second: int) -> None:
    """[MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]"""
    world.join("writer").publish("t", b"x", retain=True)
    reader = world.join("reader")
    for expected in (first, second):
        reader.subscribe(p.Filter("t", 0, retain_handling=handling))
        assert len(reader.take_publishes()) == expected
    reader.unsubscribe("t")
    reader.subscribe(p.Filter("t", 0, retain_handling=handling))
    assert len(reader.take_publishes()) == first


def test_retained_messages_carry_the_identifier_of_the_subscription(world: World) -> None:
    world.join("writer").publish("a/b", b"x", 2, retain=True, properties={0x03: "text", 0x26: [("k", "v")]})
    reader = world.join("reader")
    reader.subscribe("a/#", qos=1, identifier=268_435_455)
    got = reader.take_one(p.Publish)
    assert (got.qos, got.retain) == (1, True)
    assert got.properties == {0x0B: [268_435_455], 0x03: "text", 0x26: [("k", "v")]}


def test_not_with_a_shared_subscription(world: World) -> None:
    """Section 4.8.2: no retained messages are sent to it."""
    world.join("writer").publish("t", b"x", retain=True)
    reader = world.join("reader")
    reader.subscribe("$share/g/t")
    assert reader.take() == []


def test_not_to_its_own_publisher_with_no_local(world: World) -> None:
    client = world.join("client")
    client.publish("t", b"x", retain=True)
    client.subscribe(p.Filter("t", no_local=True))
    assert client.take() == []


def test_expired_ones_are_gone(world: World) -> None:
    writer = world.join("writer")
    writer.publish("t", b"x", retain=True, properties={0x02: 10})
    world.advance(4)
    reader = world.join("reader")
    reader.subscribe("t")
    assert reader.take_one(p.Publish).properties == {0x02: 6}
    world.advance(6)
    reader.subscribe("t")
    assert reader.take() == []
    assert (len(world.node.retained), world.node.retained.bytes) == (0, 0)


def test_leading_wildcards_do_not_match_dollar_topics(world: World) -> None:
    """[MQTT-4.7.2-1]"""
    writer = world.join("writer")
    writer.publish("$own/t", b"x", retain=True)
    reader = world.join("reader")
    for filter in ("#", "+/t", "+/#"):
        reader.subscribe(filter)
        assert reader.take() == []
    reader.subscribe("$own/#")
    assert reader.payloads() == [b"x"]


def test_the_limits_of_the_store(make_world: Worlds) -> None:
    """A full store refuses new topics, keeps and replaces old ones; 5.0 is told, with 0x97."""
    world = make_world(max_retained_messages=2, max_retained_bytes=1000)
    reader = world.join("reader")
    reader.subscribe("#", qos=2)
    writer = world.join("writer")
    writer.polite = True
    for topic in ("a", "b"):
        writer.publish(topic, b"x", 1, retain=True)
    writer.take()
    reader.take()
    for qos in (1, 2):
        writer.publish("c", b"x", qos, retain=True)
        answer = writer.take()[0]
        assert isinstance(answer, p.Ack) and answer.reason == reasons.QUOTA_EXCEEDED
    assert reader.take() == []  # refused is not handed on: the client may try again
    writer.publish("b", b"y", 1, retain=True)
    assert [each.reason for each in writer.take() if isinstance(each, p.Ack)] == [0]
    writer.publish("b", b"y" * 900, 1, retain=True)
    assert [each.reason for each in writer.take() if isinstance(each, p.Ack)] == [0x97]
    old = world.join("old", 4)
    old.publish("d", b"x", 1, retain=True)  # 3.1.1 cannot be told: the message passes, and is not kept
    assert [type(each) for each in old.take()] == [p.Ack]
    writer.publish("e", b"x", 0, retain=True)
    assert [each.topic for each in reader.take_publishes()] == ["b", "d", "e"]
    assert world.node.stats.drops["retained_full"] == 5
    writer.publish("a", b"", 1, retain=True)
    writer.publish("c", b"x", 1, retain=True)
    assert sorted(world.node.retained.match("#", world.now), key=lambda each: each.topic)[1].topic == "c"
    assert len(world.node.retained) == 2
