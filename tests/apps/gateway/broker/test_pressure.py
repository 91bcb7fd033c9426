"""What is acknowledged reaches a reader that is online, or its publisher is slowed down or hears 0x97."""

from __future__ import annotations

import pytest

from apps.gateway.broker.limits import Limits
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World

SMALL = {"max_queued_bytes": 50_000, "inflight_window": 2}


def test_the_defaults_fit() -> None:
    limits = Limits()
    assert limits.max_queued_bytes >= 2 * limits.max_packet_size
    assert limits.node_bytes >= 2 * limits.max_queued_bytes


def reading(world: World, client_id: str = "reader", qos: int = 1, **options: object) -> Client:
    client = world.join(client_id, **options)  # type: ignore[arg-type]
    client.subscribe("t", qos=qos)
    return client


@pytest.mark.parametrize("level", (3, 4, 5))
@pytest.mark.parametrize("qos", (1, 2))
def test_a_writer_waits_for_a_reader_that_is_behind(make_world: Worlds, level: int, qos: int) -> None:
    """Its socket is not read, so that all it sends arrives, many times what may be queued."""
    world = make_world(**SMALL)
    reader = reading(world, qos=2)
    writer = world.join("writer", level)
    writer.polite = True
    sent = got = 0
    for _ in range(400):
        while not writer.link.paused_reading and sent < 400:
            writer.publish("t", b"%04d" % sent + bytes(996), qos)
            writer.take()
            sent += 1
        assert world.node.sessions["reader"].held <= 30_000
        reader.polite = True
        got += len(reader.take_publishes())
        reader.polite = False
        if sent == 400 and got == 400:
            break
    assert got == 400
    assert not any(world.node.stats.drops.values())
    assert not writer.link.paused_reading


def test_messages_count_as_bytes_do(make_world: Worlds) -> None:
    world = make_world(max_queued_messages=200, inflight_window=2)
    reading(world)
    writer = world.join("writer")
    sent = 0
    while not writer.link.paused_reading:
        writer.publish("t", b"x", 1)
        sent += 1
    assert sent == 2 + 101


def test_not_for_ever(make_world: Worlds) -> None:
    """A reader that takes nothing holds nobody back for more than a second or so, and only once."""
    world = make_world(**SMALL)
    reader = reading(world)
    writer = world.join("writer", keepalive=5)
    while not writer.link.paused_reading:
        writer.publish("t", bytes(1000), 1)
    world.advance(2)
    assert not writer.link.paused_reading
    for _ in range(100):
        writer.publish("t", bytes(1000), 1)
    assert not writer.link.paused_reading
    codes = [each.reason for each in writer.take() if isinstance(each, p.Ack)]
    assert codes.count(reasons.QUOTA_EXCEEDED) == world.node.stats.drops["queue_full"] > 0
    reader.polite = True
    got = len(reader.take_publishes())
    assert got == codes.count(0)
    while not writer.link.paused_reading:  # it follows again: so it is waited for again
        reader.polite = False
        writer.publish("t", bytes(1000), 1)


def test_nor_for_one_that_is_slow(make_world: Worlds) -> None:
    world = make_world(**SMALL)
    reader = reading(world)
    writer = world.join("writer")
    while not writer.link.paused_reading:
        writer.publish("t", bytes(1000), 1)
    for _ in range(20):
        if not writer.link.paused_reading:
            break
        world.advance(0.5)
        for each in reader.take_publishes()[:1]:
            reader.ack(pt.PUBACK, each.packet_id)
    assert not writer.link.paused_reading
    assert world.node.sessions["reader"].crowd is not None


@pytest.mark.parametrize("level", (3, 4))
def test_older_writers_are_not_disconnected_for_it(make_world: Worlds, level: int) -> None:
    world = make_world(**SMALL)
    reading(world)
    writer = world.join("writer", level)
    for _ in range(100):
        writer.publish("t", bytes(1000), 1)
    assert len(writer.take()) == 100
    assert world.node.stats.drops["queue_full"] > 0


def test_somebody_else_got_it(make_world: Worlds) -> None:
    """Then it was taken: a publisher that repeated it would double it for others."""
    world = make_world(**SMALL)
    reading(world)
    other = reading(world, "other")
    other.polite = True
    writer = world.join("writer")
    for _ in range(100):
        writer.publish("t", bytes(1000), 1)
        other.take()
    assert {each.reason for each in writer.take() if isinstance(each, p.Ack)} == {0}
    assert world.node.stats.drops["queue_full"] > 0


def test_the_reader_leaves(make_world: Worlds) -> None:
    world = make_world(**SMALL)
    reader = reading(world, properties={0x11: 100})
    writer = world.join("writer")
    while not writer.link.paused_reading:
        writer.publish("t", bytes(1000), 1)
    reader.drop()
    assert not writer.link.paused_reading
    for _ in range(100):  # a queue of a client that is away is its policy's
        writer.publish("t", bytes(1000), 1)
    assert not writer.link.paused_reading
    assert {each.reason for each in writer.take() if isinstance(each, p.Ack)} == {0}


def test_the_writer_leaves(make_world: Worlds) -> None:
    world = make_world(**SMALL)
    reader = reading(world)
    writer = world.join("writer")
    while not writer.link.paused_reading:
        writer.publish("t", bytes(1000), 1)
    writer.drop()
    reader.polite = True
    assert len(reader.take_publishes()) > 20


def test_who_writes_to_itself_goes_on(make_world: Worlds) -> None:
    """Else nobody would read its acknowledgements."""
    world = make_world(**SMALL)
    client = reading(world)
    for _ in range(60):
        client.publish("t", bytes(1000), 1)
    assert not client.link.paused_reading
