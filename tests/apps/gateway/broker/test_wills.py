"""Will messages (sections 3.1.2.5, 3.1.3.2, 3.14.4)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)
EXPIRY = 0x11
DELAY = 0x18


@pytest.fixture
def reader(world: World) -> Client:
    client = world.join("reader")
    client.subscribe("will/#", qos=2)
    return client


def lost(client: Client) -> None:
    client.drop()


def malformed(client: Client) -> None:
    client.send_raw(b"\xf0\xff\xff\xff\xff\xff")
    client.drop()


def silent(client: Client) -> None:
    client.world.advance(16)
    client.drop()


def kicked(client: Client) -> None:
    client.world.node.kick(client.client_id, reasons.ADMINISTRATIVE_ACTION, "", client.world.now)
    client.world.turn()


def taken_over(client: Client) -> None:
    client.world.join(client.client_id, client.level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("end", (lost, malformed, silent, kicked, taken_over))
def test_published_when_the_connection_ends(
    world: World, reader: Client, level: int, end: Callable[[Client], None]
) -> None:
    """[MQTT-3.1.2-8]"""
    will = p.Will("will/1", b"gone", 1, False)
    client = world.join("client", level, keepalive=10, will=will)
    end(client)
    assert reader.take() == [p.Publish("will/1", b"gone", 1, packet_id=1)]


@pytest.mark.parametrize("level", LEVELS)
def test_not_after_a_normal_disconnect(world: World, reader: Client, level: int) -> None:
    """[MQTT-3.1.2-10], [MQTT-3.14.4-3]"""
    world.join("client", level, will=p.Will("will/1", b"gone")).disconnect()
    assert reader.take() == []


@pytest.mark.parametrize("reason", (reasons.DISCONNECT_WITH_WILL, reasons.UNSPECIFIED_ERROR))
def test_after_any_other_disconnect(world: World, reader: Client, reason: int) -> None:
    world.join("client", will=p.Will("will/1", b"gone")).disconnect(reason)
    assert reader.payloads() == [b"gone"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("qos", (0, 1, 2))
def test_retained_and_at_its_qos(world: World, reader: Client, level: int, qos: int) -> None:
    """[MQTT-3.1.2-14], [MQTT-3.1.2-15], [MQTT-3.1.2-17]"""
    world.join("client", level, will=p.Will("will/1", b"gone", qos, True)).drop()
    assert reader.take_one(p.Publish).qos == qos
    late = world.join("late")
    late.subscribe("will/1", qos=2)
    assert late.take_one(p.Publish) == p.Publish("will/1", b"gone", qos, True, packet_id=1 if qos else 0)


def test_its_properties_travel(world: World, reader: Client) -> None:
    properties = {0x01: 1, 0x03: "text", 0x08: "re", 0x09: b"id", 0x26: [("b", "1"), ("a", "2"), ("b", "3")]}
    world.join("client", will=p.Will("will/1", b"gone", 0, False, {DELAY: 0, 0x02: 9, **properties})).drop()
    got = reader.take_one(p.Publish)
    assert got.properties == properties | {0x02: 9}
    assert got.properties[0x26] == [("b", "1"), ("a", "2"), ("b", "3")]


def test_expiry_counts_from_publication(world: World, reader: Client) -> None:
    will = p.Will("will/1", b"gone", 1, True, {DELAY: 20, 0x02: 10})
    world.join("client", properties={EXPIRY: 100}, will=will).drop()
    world.advance(21)
    assert reader.take_one(p.Publish).properties == {0x02: 10}
    world.advance(5)
    late = world.join("late")
    late.subscribe("will/1")
    left = late.take_one(p.Publish).properties[0x02]
    assert left in (4, 5)


def test_it_waits_for_its_delay(world: World, reader: Client) -> None:
    """[MQTT-3.1.3-9]"""
    will = p.Will("will/1", b"gone", properties={DELAY: 5})
    world.join("client", properties={EXPIRY: 100}, will=will).drop()
    world.advance(4.5)
    assert reader.take() == []
    world.advance(1)
    assert reader.payloads() == [b"gone"]
    world.advance(200)
    assert reader.take() == []


def test_the_end_of_the_session_ends_the_delay(world: World, reader: Client) -> None:
    """[MQTT-3.1.2-8]: by its expiry, and at once where it does not outlive the connection."""
    will = p.Will("will/1", b"gone", properties={DELAY: 50})
    world.join("client", properties={EXPIRY: 5}, will=will).drop()
    world.advance(4.5)
    assert reader.take() == []
    world.advance(1)
    assert reader.payloads() == [b"gone"]
    world.join("other", will=will).drop()
    assert reader.payloads() == [b"gone"]


def test_coming_back_in_time_cancels_it(world: World, reader: Client) -> None:
    will = p.Will("will/1", b"gone", properties={DELAY: 5})
    world.join("client", properties={EXPIRY: 100}, will=will).drop()
    world.advance(2)
    again = world.join("client", clean=False, properties={EXPIRY: 100})
    world.advance(20)
    again.disconnect()
    world.advance(200)
    assert reader.take() == []


def test_a_clean_start_publishes_it_at_once(world: World, reader: Client) -> None:
    """The old session ends there (section 3.1.3.2.2)."""
    will = p.Will("will/1", b"gone", properties={DELAY: 50})
    world.join("client", properties={EXPIRY: 100}, will=will).drop()
    world.join("client", clean=True)
    assert reader.payloads() == [b"gone"]


def test_a_takeover_cancels_a_delayed_one(world: World, reader: Client) -> None:
    """[MQTT-3.1.4-3] and the note under 3.1.3.2.2: sent unless clean start is 0 and the delay above 0."""
    will = p.Will("will/1", b"gone", properties={DELAY: 50})
    world.join("client", properties={EXPIRY: 100}, will=will)
    world.join("client", clean=False, properties={EXPIRY: 100}, will=will)
    assert reader.take() == []
    world.join("client", clean=True)
    assert reader.payloads() == [b"gone"]


def test_a_client_gets_its_own_will_when_it_returns(world: World) -> None:
    client = world.join("client", clean=False, properties={EXPIRY: 100}, will=p.Will("w", b"gone", 1))
    client.subscribe("w", qos=1)
    client.drop()
    assert world.join("client", clean=False).payloads() == [b"gone"]


@pytest.mark.parametrize("topic", ("", "a/+", "#", "x" * 300))
def test_a_bad_topic_refuses_the_client(make_world: Worlds, topic: str) -> None:
    world = make_world(max_topic_length=200)
    client = world.dial()
    client.connect("client", will=p.Will(topic, b"x"))
    assert client.connack is not None and client.connack.reason == reasons.TOPIC_NAME_INVALID
    assert client.closed
    old = world.dial(4)
    old.connect("client", will=p.Will(topic, b"x"))
    assert old.connack is None and old.closed


@pytest.mark.parametrize("topic", ("a/#", "+", ""))
def test_a_bad_response_topic_refuses_the_client(world: World, topic: str) -> None:
    client = world.dial()
    client.connect("client", will=p.Will("t", b"x", properties={0x08: topic}))
    assert client.connack is not None and client.connack.reason == reasons.PROTOCOL_ERROR


def test_wills_are_counted_against_the_nodes_memory(make_world: Worlds) -> None:
    world = make_world(node_bytes=10_000)
    will = p.Will("w", b"x" * 4000)
    one = world.join("1", will=will)
    world.join("2", will=will)
    three = world.dial()
    three.connect("3", will=will)
    assert three.connack is not None and three.connack.reason == reasons.QUOTA_EXCEEDED
    one.drop()
    world.join("3", will=will)


def test_wills_on_shutdown(world: World, reader: Client) -> None:
    """Those who are still connected when a will is published get it before their goodbye."""
    world.join("client", will=p.Will("will/1", b"gone"))
    world.node.shut_down(world.now)
    world.turn()
    got = reader.take()
    assert [type(each) for each in got] in ([p.Publish, p.Disconnect], [p.Disconnect])
