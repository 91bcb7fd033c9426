"""The limits that have no file of their own: connections, rates, topics, subscriptions, partial packets."""

from __future__ import annotations

import tracemalloc

import pytest

from apps.gateway.mqtt import codec, reasons
from apps.gateway.mqtt import packets as p
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.doors import Door, Listed
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)


@pytest.mark.parametrize(("level", "reason"), [(5, reasons.SERVER_BUSY), (4, 3), (3, 3)])
def test_connections(make_world: Worlds, level: int, reason: int) -> None:
    world = make_world(max_connections=2)
    one = world.join("1")
    world.join("2")
    third = world.dial(level)
    third.connect("3")
    assert third.connack is not None and third.connack.reason == reason
    assert third.closed
    one.drop()
    world.join("3", level)


def test_connections_that_are_still_being_decided(make_world: Worlds) -> None:
    """A slow authority must not let more in than the limit."""
    world = make_world(max_connections=3, door=Door(slow=True))
    waiting = [world.dial() for _ in range(6)]
    for number, client in enumerate(waiting):
        client.connect(str(number))
    world.answer()
    for client in waiting:
        client.read_connack()
    answers = [client.connack.reason for client in waiting if client.connack is not None]
    assert answers == [0] * 3 + [reasons.SERVER_BUSY] * 3
    assert world.node.stats.max_connections == 3


def test_taking_over_needs_no_free_place(make_world: Worlds) -> None:
    """A client that comes back on a full node takes the place of its old connection."""
    world = make_world(max_connections=1)
    first = world.join("client")
    world.join("client")
    assert first.closed


@pytest.mark.parametrize(("level", "reason"), [(5, reasons.CONNECTION_RATE_EXCEEDED), (4, 3)])
def test_connects_per_second(make_world: Worlds, level: int, reason: int) -> None:
    world = make_world(connect_rate=10)
    answers = []
    for number in range(15):
        client = world.dial(level)
        client.connect(str(number))
        assert client.connack is not None
        answers.append(client.connack.reason)
    assert answers == [0] * 10 + [reason] * 5
    world.advance(0.5)
    for number in range(5):
        world.join(f"later-{number}", level)
    late = world.dial(level)
    late.connect("late")
    assert late.connack is not None and late.connack.reason == reason
    world.advance(5)
    for number in range(10):
        world.join(f"much-later-{number}", level)


def test_no_limit_of_connects(make_world: Worlds) -> None:
    world = make_world(connect_rate=0)
    for number in range(200):
        world.join(str(number))


@pytest.mark.parametrize("level", LEVELS)
def test_publishes_per_second(make_world: Worlds, level: int) -> None:
    """Above its rate the client is read more slowly; nothing is lost, others are not held up."""
    world = make_world(publish_rate=10)
    reader = world.join("reader")
    reader.subscribe("t")
    client = world.join("client", level)
    raw = b"".join(codec.encode(p.Publish("t", b"%d" % n), level) for n in range(10))
    client.send_raw(raw)
    assert not client.link.paused_reading
    client.send_raw(raw)
    assert client.link.paused_reading
    assert len(reader.payloads()) == 20
    other = world.join("other", level)
    other.publish("t", b"x")
    assert len(reader.payloads()) == 1
    world.advance(0.5)
    assert client.link.paused_reading
    world.advance(0.6)
    assert not client.link.paused_reading
    sent = 20
    start = world.now
    while world.now < start + 20:
        if not client.link.paused_reading:
            client.send_raw(raw[: len(raw) // 10])
            sent += 1
        else:
            world.advance(0.5)
    assert 190 <= sent - 20 <= 215


def test_the_rate_holds_whatever_form_a_publish_has(make_world: Worlds) -> None:
    world = make_world(publish_rate=10)
    for number, packet in enumerate(
        (
            p.Publish("t", b"", 1, packet_id=1),
            p.Publish("t", b"", 2, packet_id=1),
            p.Publish("t", b"", 0, True),
            p.Publish("t", b"", 0, properties={0x03: "text"}),
            p.Publish("$SYS/t", b""),
        )
    ):
        client = world.join(f"client-{number}")
        client.send(*[packet] * 11)
        assert client.link.paused_reading, packet


def test_a_throttled_client_that_leaves(make_world: Worlds) -> None:
    world = make_world(publish_rate=10)
    client = world.join("client")
    client.send(*[p.Publish("t")] * 1000)
    client.drop()
    world.advance(1)
    again = world.join("client")
    assert not again.link.paused_reading


def test_throttled_and_asked(make_world: Worlds) -> None:
    """Two reasons not to read: both must have passed."""
    world = make_world(publish_rate=10, door=Door(Listed({"q": -1})))
    client = world.join("client")
    client.send(*[p.Publish("t")] * 25, p.Publish("q", b"", 1, packet_id=1))
    world.answer()
    assert client.link.paused_reading
    world.advance(3)
    assert not client.link.paused_reading
    client = world.join("other")
    client.send(*[p.Publish("t")] * 15, p.Publish("q", b"", 1, packet_id=1))
    world.advance(3)
    assert client.link.paused_reading
    world.answer()
    assert not client.link.paused_reading


@pytest.mark.parametrize("topic", ("x" * 21, "ü" * 11, "a/b/c/d/e", "////"))
def test_topics(make_world: Worlds, topic: str) -> None:
    """Length in bytes of UTF-8, and levels, for names and for filters."""
    world = make_world(max_topic_length=20, max_topic_levels=4)
    client = world.join("client")
    good = ("x" * 20, "ü" * 10, "a/b/c/d", "///")
    assert client.subscribe(*good).reasons == [0] * 4
    assert client.subscribe(topic, f"$share/g/{topic}", "$share/a-long-share-name/t").reasons == [
        reasons.TOPIC_FILTER_INVALID,
        reasons.TOPIC_FILTER_INVALID,
        0,
    ]
    for each in good:
        client.publish(each, b"x")
    assert len(client.payloads()) == 4
    client.publish(topic, b"x")
    assert client.take_one(p.Disconnect).reason == reasons.TOPIC_NAME_INVALID
    old = world.join("old", 4)
    assert old.subscribe(topic).reasons == [0x80]
    old.publish(topic, b"x", 1)
    assert old.closed


@pytest.mark.parametrize("level", (4, 5))
def test_subscriptions(make_world: Worlds, level: int) -> None:
    world = make_world(max_subscriptions=2)
    client = world.join("client", level)
    full = reasons.QUOTA_EXCEEDED if level == 5 else 0x80
    assert client.subscribe("a", "b", "c", "a").reasons == [0, 0, full, 0]
    client.unsubscribe("a")
    assert client.subscribe("c", "$share/g/d").reasons == [0, full]


def test_subscriptions_and_the_nodes_memory(make_world: Worlds) -> None:
    world = make_world(node_bytes=10_000)
    client = world.join("client")
    filters = [f"{n}" * 1000 for n in range(9)]
    answer = client.subscribe(*filters).reasons
    assert answer == [0] * answer.count(0) + [reasons.QUOTA_EXCEEDED] * (9 - answer.count(0))
    assert 7 <= answer.count(0) <= 8
    client.unsubscribe(*filters)
    assert world.node.stats.held == len("client")


def test_partial_packets_and_the_nodes_memory(make_world: Worlds) -> None:
    """Bytes of packets that never end: the client that passes the budget goes, the others stay."""
    world = make_world(node_bytes=100_000)
    clients = [world.join(str(number)) for number in range(5)]
    for client in clients:
        client.send_raw(b"\x30\xff\xff\x03")
    for _ in range(40):
        for client in clients:
            if not client.closed:
                client.send_raw(b"x" * 1000)
        assert world.node.stats.inbound <= 100_000
    assert any(client.closed for client in clients) and not all(client.closed for client in clients)
    for client in clients:
        if client.closed:
            (goodbye,) = client.take()
            assert isinstance(goodbye, p.Disconnect) and goodbye.reason == reasons.QUOTA_EXCEEDED


def test_a_packet_in_tiny_pieces(world: World) -> None:
    """A large packet bit by bit is complete when its last byte is there, and costs what it says."""
    reader = world.join("reader")
    reader.subscribe("t")
    client = world.join("client")
    raw = codec.encode(p.Publish("t", b"x" * 50_000), 5)
    tracemalloc.start()
    for index in range(0, len(raw) - 2, 2):
        client.connection.feed(raw[index : index + 2], world.now)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 100_000
    client.send_raw(raw[-2:])
    assert reader.payloads() == [b"x" * 50_000]
    assert world.node.stats.inbound == 0


def test_more_topics_than_are_remembered(make_world: Worlds) -> None:
    """Caches of routes and publish grants are bounded; what falls out is found again."""
    world = make_world(route_cache=10)
    reader = world.join("reader")
    reader.subscribe("t/#")
    client = world.join("client")
    for _ in range(2):
        client.send(*[p.Publish(f"t/{number}", b"%d" % number) for number in range(5000)])
        assert reader.payloads() == [b"%d" % number for number in range(5000)]
    assert len(world.node.router._routes) <= 10
    long = "t/" + "x" * 1000
    client.publish(long, b"1", 1)
    assert reader.payloads() == [b"1"]
    reader.unsubscribe("t/#")
    client.publish(long, b"2", 1)
    reader.subscribe("+/" + "x" * 1000)
    client.publish(long, b"3", 1)
    assert reader.payloads() == [b"3"]
