"""Clean start, session present, session expiry (sections 3.1.2.4, 3.1.2.11.2, 3.2.2.1.1, 4.1)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World

EXPIRY = 0x11


def present(client: Client) -> bool:
    assert client.connack is not None
    return client.connack.session_present


def test_3_1_1_clean_session(world: World) -> None:
    """[MQTT-3.1.2-4] to [MQTT-3.1.2-6], [MQTT-3.2.2-1] to [MQTT-3.2.2-3] of 3.1.1."""
    first = world.join("client", 4, clean=False)
    assert not present(first)
    first.subscribe("t", qos=1)
    first.disconnect()
    again = world.join("client", 4, clean=False)
    assert present(again)
    world.join("writer").publish("t", b"x", 1)
    assert again.payloads() == [b"x"]
    again.drop()
    clean = world.join("client", 4, clean=True)
    assert not present(clean)
    clean.drop()
    last = world.join("client", 4, clean=False)
    assert not present(last)
    assert world.node.router.trie.count == 0


def test_3_1_has_no_such_flag(world: World) -> None:
    world.join("client", 3, clean=False).drop()
    again = world.join("client", 3, clean=False)
    assert not present(again)
    again.drop()
    assert present(world.join("client", 4, clean=False))


def test_5_0_clean_start_and_expiry_are_two_things(world: World) -> None:
    """[MQTT-3.1.2-4], [MQTT-3.1.2-5], [MQTT-3.1.2-6]"""
    world.join("client", clean=True, properties={EXPIRY: 60}).drop()
    again = world.join("client", clean=False)
    assert present(again)  # and no expiry any more: it ends with the connection
    again.drop()
    assert not present(world.join("client", clean=False))


def test_expiry(world: World) -> None:
    """[MQTT-3.1.2-23]"""
    client = world.join("client", properties={EXPIRY: 10})
    client.subscribe("t", qos=1)
    client.drop()
    world.join("writer").publish("t", b"x", 1)
    world.advance(9)
    assert world.node.stats.queued == 1
    world.advance(2)
    assert (world.node.stats.queued, world.held) == (0, len("writer"))
    assert list(world.node.sessions) == ["writer"]
    assert world.node.stats.sessions_expired == 1
    assert world.node.stats.drops["session_ended"] == 1
    assert not present(world.join("client", clean=False))


def test_expiry_counts_from_each_disconnect(world: World) -> None:
    for _ in range(4):
        client = world.join("client", clean=False, properties={EXPIRY: 10})
        world.advance(8)
        client.drop()
        world.advance(8)
    assert present(world.join("client", clean=False))


def test_expired_but_not_yet_swept(world: World) -> None:
    """The clock decides, not the tick."""
    world.join("client", properties={EXPIRY: 10}).drop()
    world.now += 11
    assert not present(world.join("client", clean=False))


def test_changed_on_disconnect(world: World) -> None:
    """[MQTT-3.14.2-2]"""
    client = world.join("client", properties={EXPIRY: 10})
    client.disconnect(properties={EXPIRY: 100})
    world.advance(50)
    client = world.join("client", clean=False, properties={EXPIRY: 100})
    assert present(client)
    client.disconnect(properties={EXPIRY: 0})
    assert not present(world.join("client", clean=False))
    client = world.join("other")
    client.send(p.Disconnect(0, {EXPIRY: 5}))
    assert client.closed
    answer = client.take_one(p.Disconnect)
    assert answer.reason == reasons.PROTOCOL_ERROR


def test_a_bad_disconnect_does_not_suppress_the_will(world: World) -> None:
    reader = world.join("reader")
    reader.subscribe("w")
    client = world.join("client", will=p.Will("w", b"gone"))
    client.send(p.Disconnect(0, {EXPIRY: 5}))
    assert reader.payloads() == [b"gone"]


def test_the_server_bounds_the_expiry(make_world: Worlds) -> None:
    """CONNACK tells, only where it differs (section 3.2.2.3.2); without a bound 0xFFFFFFFF is for ever."""
    world = make_world(session_expiry_max=100)
    client = world.join("client", properties={EXPIRY: 50})
    assert client.connack is not None and EXPIRY not in client.connack.properties
    client = world.join("client", clean=False, properties={EXPIRY: 0xFFFFFFFF})
    assert client.connack is not None and client.connack.properties[EXPIRY] == 100
    client.drop()
    old = world.join("old", 4, clean=False)
    old.drop()
    world.advance(99, step=1)
    assert len(world.node.sessions) == 2
    world.advance(3)
    assert len(world.node.sessions) == 0
    endless = make_world(session_expiry_max=0xFFFFFFFF)
    endless.join("client", properties={EXPIRY: 0xFFFFFFFF}).drop()
    endless.join("old", 4, clean=False).drop()
    endless.advance(10_000_000, step=100_000)
    assert len(endless.node.sessions) == 2


def test_the_number_of_sessions_is_bounded(make_world: Worlds) -> None:
    world = make_world(max_sessions=2)
    world.join("1", properties={EXPIRY: 10}).drop()
    world.join("2")
    for level, reason in ((5, reasons.QUOTA_EXCEEDED), (4, 3)):
        client = world.dial(level)
        client.connect("3")
        assert client.connack is not None and client.connack.reason == reason
        assert client.closed
    assert present(world.join("1", clean=False, properties={EXPIRY: 10}))


def test_subscriptions_of_ended_sessions_are_gone(world: World) -> None:
    client = world.join("client")
    client.subscribe("a", "b/+", "$share/g/c")
    assert (world.node.router.trie.count, world.node.router.trie.shared_count) == (3, 1)
    client.drop()
    assert (world.node.router.trie.count, world.node.router.trie.shared_count) == (0, 0)


def test_many_sessions_leave_nothing_in_the_timers(world: World) -> None:
    """Dates of sessions that no longer are must not pile up until their time comes."""
    for _ in range(5000):
        world.join("client", properties={EXPIRY: 604_800}).drop()
        world.clients.clear()
    assert len(world.node.timers._heap) < 3000


@pytest.mark.parametrize("level", (3, 4, 5))
def test_what_waits_is_dropped_with_the_session(world: World, level: int) -> None:
    properties = {EXPIRY: 100} if level == 5 else {}
    client = world.join("client", level, clean=False, properties=properties)
    client.subscribe("t", qos=2)
    writer = world.join("writer")
    writer.publish("t", b"x", 2)
    writer.publish("t", b"y", 1)
    client.drop()
    writer.publish("t", b"z", 1)
    world.join("client", level, clean=True)
    assert world.node.stats.drops["session_ended"] == 3
    assert world.node.stats.queued == 0
