"""Retained messages at the pace of the subscriber: all of them, in bounded memory, and nobody else waits."""

from __future__ import annotations

import random

import pytest

from apps.gateway.broker import replay, retained
from apps.gateway.broker.messages import Message
from apps.gateway.broker.retained import RetainedStore
from apps.gateway.mqtt import codec, topics
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.world import World

SESSION = {0x11: 1000}
MANY = 3000


def fill(world: World, count: int = MANY, size: int = 20) -> None:
    for number in range(count):
        world.node.publish(Message(f"r/{number % 10}/{number}", bytes(size), number % 3, True))


def topics_of(packets: list[p.Packet]) -> list[str]:
    return [each.topic for each in packets if isinstance(each, p.Publish) and each.retain]


@pytest.mark.parametrize("qos", (0, 1, 2))
@pytest.mark.parametrize("filter", ("#", "r/#", "+/+/+", "r/3/+", "r/+/7"))
def test_all_of_them_through_small_limits(make_world: Worlds, qos: int, filter: str) -> None:
    """Many times what may be queued."""
    world = make_world(max_queued_messages=10, max_queued_bytes=5_000, inflight_window=7)
    fill(world)
    reader = world.join("reader")
    reader.polite = True
    reader.stall(3000)
    reader.send(p.Subscribe(1, [p.Filter(filter, qos)]))
    session = world.node.sessions["reader"]
    assert session.held <= 5_000
    assert session.connection.unsent <= 100_000  # what one loop turn wrote
    found = topics_of(reader.unstall())
    wanted = [f"r/{n % 10}/{n}" for n in range(MANY) if topics.matches(filter, f"r/{n % 10}/{n}")]
    assert sorted(found) == sorted(wanted)
    assert not any(world.node.stats.drops.values())
    assert session.replay is None


def test_while_it_lasts_others_have_their_turn(world: World) -> None:
    """One loop turn takes a bounded part, of all subscribers together."""
    fill(world)
    readers = [world.join(f"reader-{number}") for number in range(5)]
    for reader in readers:
        reader.connection.feed(codec.encode(p.Subscribe(1, [p.Filter("#")]), 5), world.now)
    before = world.node.stats.publishes_out
    turns = 0
    while not world.node.replays.is_idle:
        turns += 1
        world.node.flush()
        sent = world.node.stats.publishes_out - before
        assert sent <= replay.TURN // replay.SENT + len(readers)
        before += sent
        some = [len(reader.take()) for reader in readers]
        assert turns > 3 or min(some) > 0  # in turn
    assert turns >= 5 * MANY * replay.SENT // replay.TURN
    world.turn()


@pytest.mark.parametrize("qos", (0, 1))
def test_what_changes_meanwhile_is_seen_once(make_world: Worlds, qos: int) -> None:
    """Replaced: the new one, without the flag. Cleared: nothing but that. New: once."""
    world = make_world(inflight_window=10)
    fill(world)
    reader = world.join("reader")
    reader.stall(500)
    reader.send(p.Subscribe(1, [p.Filter("#", qos)]))
    early = reader.take()
    seen = set(topics_of(early))
    assert 0 < len(seen) < 300
    late = [f"r/{number % 10}/{number}" for number in range(MANY - 300, MANY)]
    writer = world.join("writer")
    for topic in late[:100]:
        writer.publish(topic, b"new", 0, retain=True)
    for topic in late[100:200]:
        writer.publish(topic, b"", 0, retain=True)
    for number in range(100):
        writer.publish(f"r/new/{number}", b"new", 0, retain=True)
    reader.polite = True
    reader._acknowledge(early)
    rest = reader.unstall()
    kept = topics_of(early) + topics_of(rest)
    assert len(kept) == len(set(kept)) == MANY - 200
    assert not set(late[:200]) & set(kept)
    live = [each.topic for each in rest if isinstance(each, p.Publish) and not each.retain]
    assert sorted(live) == sorted(late[:200] + [f"r/new/{number}" for number in range(100)])


def test_messages_that_are_sent_now_do_not_wait_behind_it(make_world: Worlds) -> None:
    world = make_world(inflight_window=10)
    fill(world)
    reader = world.join("reader")
    reader.subscribe("#", qos=1)
    window = [each for each in reader.take() if isinstance(each, p.Publish) and each.qos]
    assert len(window) == 10
    world.join("writer").publish("now", b"x", 1)
    reader.ack(pt.PUBACK, window[0].packet_id)
    assert [each.topic for each in reader.take_publishes() if each.qos] == ["now"]


def test_a_session_goes_on_after_a_reconnect(make_world: Worlds) -> None:
    world = make_world(inflight_window=5)
    fill(world)
    reader = world.join("reader", properties=SESSION)
    reader.subscribe("#", qos=1)
    found = topics_of(reader.take())
    reader.drop()
    again = world.join("reader", clean=False, properties=SESSION)
    again.polite = True
    found += topics_of(again.take())
    assert len(set(found)) == MANY
    assert len(found) == MANY + 5  # what was in flight came again


def test_it_ends_with_its_subscription(make_world: Worlds) -> None:
    world = make_world(inflight_window=5)
    fill(world)
    reader = world.join("reader")
    reader.subscribe("#", qos=1)
    window = [each for each in reader.take_publishes() if each.qos]
    reader.unsubscribe("#")
    assert world.node.sessions["reader"].replay.is_done
    for each in window:
        reader.ack(pt.PUBACK if each.qos == 1 else pt.PUBREC, each.packet_id)
    assert topics_of(reader.take()) == []
    reader.subscribe(p.Filter("#", 1, retain_handling=2))
    assert topics_of(reader.take()) == []


def test_subscribed_again_it_begins_again(make_world: Worlds) -> None:
    """[MQTT-3.8.4-3]; at retain handling 1 it goes on."""
    world = make_world(inflight_window=5)
    fill(world, 100)
    reader = world.join("reader")
    reader.subscribe("#", qos=1)
    first = reader.take()
    reader.subscribe(p.Filter("#", 1, retain_handling=1))
    reader.subscribe("#", qos=1)
    reader.polite = True
    reader._acknowledge(first)
    found = topics_of(first) + topics_of(reader.take())
    assert len(set(found)) == 100
    assert len(found) > 100


def test_the_store_changes_under_the_cursors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a model: every message that was there and stays is seen once by each cursor."""
    monkeypatch.setattr(retained, "FEW", 4)
    source = random.Random(7)
    for _ in range(200):
        store = RetainedStore(10_000, 10_000_000)
        names = [f"{a}/{b}" for a in range(6) for b in range(6)]
        for name in names:
            if source.random() < 0.7:
                store.keep(Message(name, b"old", 0, True))
        filter = source.choice(["#", "1/#", "+/2", "+/+", "3/3", "1/2/#"])
        before = {name for name in names if store.get(name) and topics.matches(filter, name)}
        cursor = store.cursor(filter)
        seen: list[str] = []
        changed: set[str] = set()
        while cursor is not None and not cursor.is_done:
            message, _ = cursor.look(source.randint(1, 3))
            if source.random() < 0.5:
                name = source.choice(names)
                changed.add(name)
                store.keep(Message(name, source.choice([b"new", b""]), 0, True))
                continue
            if message is not None and (current := store.get(message.topic)) is message:
                assert current.payload == b"old"
                seen.append(message.topic)
                cursor.step()
        assert len(seen) == len(set(seen))
        assert before - changed <= set(seen) <= before
        if cursor is not None:
            cursor.close()
        assert not store._resting


def test_what_a_cluster_reads_again_keeps_its_place() -> None:
    """A node that reads all of Redis once more must not hide messages from who is being sent them."""
    store = RetainedStore(10_000, 10_000_000)
    for number in range(2000):
        store.keep(Message(f"t/{number}", b"x", 0, True))
    cursor = store.cursor("#")
    for number in range(2000):
        store.keep(Message(f"t/{number}", b"x", 0, True), True)
    count = 0
    while not cursor.is_done:
        message, _ = cursor.look(10)
        count += message is not None
        cursor.step()
    assert count == 2000


def test_a_node_without_room_waits(make_world: Worlds) -> None:
    """Its budget is used up by others: nothing is dropped, and it goes on when there is room."""
    world = make_world(node_bytes=30_000, inflight_window=1)
    fill(world, 50, 100)
    hog = world.join("hog", properties=SESSION)
    hog.subscribe("hog", qos=1)
    hog.drop()
    reader = world.join("reader", 4)
    reader.subscribe("r/1/#", qos=1)
    first = [each for each in reader.take_publishes() if each.qos]
    assert len(first) == 1
    writer = world.join("writer")
    for size in (500, 50):
        for _ in range(100):
            writer.publish("hog", bytes(size), 1)
    drops = dict(world.node.stats.drops)
    reader.polite = True
    reader.connection.feed(codec.encode(p.Ack(pt.PUBACK, first[0].packet_id), 4), world.now)
    writer.publish("hog", bytes(100), 1)  # before its turn comes
    world.advance(2)
    assert topics_of(reader.take()) == []
    world.node.forget("hog", world.now)
    world.advance(2)
    assert len(reader.take()) >= 2
    assert world.node.stats.drops["node_memory"] == drops["node_memory"]
    assert world.node.sessions["reader"].replay is None
