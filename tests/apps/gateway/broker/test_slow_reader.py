"""A subscriber that does not read costs at most its byte budget, and nobody else anything."""

from __future__ import annotations

import pytest

from apps.gateway.broker.messages import OVERHEAD
from apps.gateway.mqtt import codec, reasons
from apps.gateway.mqtt import packets as p
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World

KB = b"x" * 1000


def stalled(world: World, qos: int, level: int = 5, **options: object) -> Client:
    reader = world.join("reader", level, **options)
    reader.subscribe("t", qos=qos)
    reader.stall()
    return reader


@pytest.mark.parametrize("level", (4, 5))
@pytest.mark.parametrize("together", (True, False))
@pytest.mark.parametrize("sender", (4, 5))
def test_qos_0_waits_within_the_budget(make_world: Worlds, level: int, together: bool, sender: int) -> None:
    """What is beyond it is dropped and counted; what was taken comes, in order, when it reads again."""
    world = make_world(max_queued_bytes=20_000)
    reader = stalled(world, 0, level)
    writer = world.join("writer", sender)
    other = world.join("other", level)
    other.subscribe("t")
    packets = [p.Publish("t", b"%03d" % number + KB) for number in range(100)]
    if together:
        writer.send(*packets)
    else:
        for packet in packets:
            writer.send(packet)
    # One segment is handed on as a whole: the reader's link says only then that it is full.
    assert world.held < (105_000 if together else 23_000)
    assert len(other.payloads()) == 100
    dropped = world.node.stats.drops["slow_subscriber"]
    got = [packet.payload[:3] for packet in reader.unstall() if isinstance(packet, p.Publish)]
    assert len(got) + dropped == 100
    assert got == sorted(got)
    assert dropped > (-1 if together else 70)
    assert world.held < 1000
    writer.publish("t", b"after")
    assert reader.payloads() == [b"after"]


@pytest.mark.parametrize("qos", (1, 2))
@pytest.mark.parametrize("policy", ("drop_newest", "drop_oldest"))
def test_higher_qos_waits_in_the_queue(make_world: Worlds, qos: int, policy: str) -> None:
    world = make_world(max_queued_bytes=20_000, queue_full_policy=policy)
    reader = stalled(world, qos)
    reader.polite = True
    writer = world.join("writer")
    writer.polite = True
    for number in range(100):
        writer.publish("t", b"%03d" % number + KB, qos)
    assert world.node.sessions["reader"].held <= 20_000
    dropped = world.node.stats.drops["queue_full"]
    assert dropped > 70
    got = [packet.payload[:3] for packet in reader.unstall() if isinstance(packet, p.Publish)]
    got += [payload[:3] for payload in reader.payloads()]
    assert len(got) + dropped == 100
    everything = [b"%03d" % number for number in range(100)]
    # The first was on the wire when the reader stopped.
    kept = everything[: len(got)] if policy == "drop_newest" else everything[:1] + everything[1 - len(got) :]
    assert got == kept


@pytest.mark.parametrize("level", (4, 5))
def test_the_policy_may_be_to_disconnect(make_world: Worlds, level: int) -> None:
    world = make_world(max_queued_messages=5, queue_full_policy="disconnect", inflight_window=2)
    reader = world.join("reader", level, clean=False, properties={0x11: 100} if level == 5 else {})
    reader.subscribe("t", qos=1)
    writer = world.join("writer")
    for number in range(10):
        writer.publish("t", b"%d" % number, 1)
    assert reader.closed
    found = [type(packet) for packet in reader.take()]
    assert found == [p.Publish, p.Publish] + [p.Disconnect] * (level == 5)
    assert world.node.stats.drops["queue_full"] == 3
    assert world.events.ends[0][:2] == ("reader", reasons.QUOTA_EXCEEDED)


@pytest.mark.parametrize("policy", ("drop_newest", "drop_oldest", "disconnect"))
def test_the_number_of_messages_is_bounded_too(make_world: Worlds, policy: str) -> None:
    world = make_world(max_queued_messages=3, queue_full_policy=policy)
    reader = world.join("reader", clean=False, properties={0x11: 100})
    reader.subscribe("t", qos=1)
    reader.drop()
    writer = world.join("writer")
    for number in range(5):
        writer.publish("t", b"%d" % number, 1)
    assert world.node.stats.queued == 3
    assert world.node.stats.drops["queue_full"] == 2
    again = world.join("reader", clean=False)
    assert again.payloads() == ([b"2", b"3", b"4"] if policy == "drop_oldest" else [b"0", b"1", b"2"])


def test_one_message_larger_than_the_budget(make_world: Worlds) -> None:
    """Dropped under every policy, without taking what waits along."""
    for policy in ("drop_newest", "drop_oldest"):
        world = make_world(max_queued_bytes=5000, queue_full_policy=policy, inflight_window=1)
        reader = world.join("reader")
        reader.subscribe("t", qos=1)
        writer = world.join("writer")
        for payload in (b"1", b"2", KB * 6, b"3"):
            writer.publish("t", payload, 1)
        got = []
        for _ in range(4):
            for packet in reader.take_publishes():
                got.append(packet.payload)
                reader.ack(4, packet.packet_id)
        assert got == [b"1", b"2", b"3"]


def test_the_nodes_budget(make_world: Worlds) -> None:
    """Many subscribers that do not read, none of them above its own limit."""
    world = make_world(node_bytes=50_000, max_queued_bytes=20_000)
    readers = []
    for number in range(10):
        reader = world.join(f"reader-{number}")
        reader.subscribe("t", qos=number % 2)
        reader.stall()
        readers.append(reader)
    writer = world.join("writer")
    for _ in range(40):
        writer.publish("t", KB, 1)
    writer.take()
    assert world.node.stats.held + world.node.stats.inbound <= 50_000 + 10 * (1000 + OVERHEAD)
    assert world.node.stats.drops["node_memory"] > 0
    for reader in readers:
        reader.polite = True
        reader.unstall()
        reader.take()
    writer.publish("t", b"after", 1)
    assert all(reader.payloads()[-1] == b"after" for reader in readers)


def test_acknowledgements_to_a_client_that_does_not_read(make_world: Worlds) -> None:
    """Its answers pile up: beyond the budget it is disconnected."""
    world = make_world(max_queued_bytes=10_000)
    client = world.join("client")
    client.stall()
    raw = b"".join(codec.encode(p.Publish("t", b"", 1, packet_id=1 + n % 9), 5) for n in range(500))
    for _ in range(20):
        if client.closed:
            break
        client.send_raw(raw)
        assert world.node.stats.held < 10_000 + 500 * 200
    assert client.closed
    assert world.events.ends[0][:2] == ("client", reasons.QUOTA_EXCEEDED)


def test_pings_to_a_client_that_does_not_read(make_world: Worlds) -> None:
    world = make_world(max_queued_bytes=10_000)
    client = world.join("client")
    client.stall()
    for _ in range(100):
        if not client.closed:
            client.send_raw(b"\xc0\x00" * 100)
    assert client.closed


def test_repeats_wait_for_a_reader_that_stalls(world: World) -> None:
    """A reconnect does not put a full window of copies into memory."""
    reader = world.join("reader", properties={0x11: 100})
    reader.subscribe("t", qos=1)
    writer = world.join("writer")
    for number in range(500):
        writer.publish("t", b"%03d" % number + KB * 10, 1)
    assert len(reader.payloads()) == 500
    reader.drop()
    again = world.dial()
    again.link.capacity = 0
    again.connect("reader", clean=False, properties={0x11: 100})
    again.link.capacity = 0
    got = [packet for packet in again.unread if isinstance(packet, p.Publish)]
    again.unread.clear()
    assert len(got) < 300
    got += [packet for packet in again.unstall() if isinstance(packet, p.Publish)]
    assert [packet.payload[:3] for packet in got] == [b"%03d" % number for number in range(500)]
    assert all(packet.dup for packet in got)


def test_a_slow_reader_leaves(make_world: Worlds) -> None:
    world = make_world(max_queued_bytes=10_000)
    reader = stalled(world, 1)
    writer = world.join("writer")
    for number in range(30):
        writer.publish("t", KB, number % 2)
    reader.drop()
    assert world.held == len("writer")


def test_retained_messages_for_a_reader_that_stalls(make_world: Worlds) -> None:
    """A subscription to everything costs no memory, and loses nothing."""
    world = make_world(max_queued_bytes=20_000)
    writer = world.join("writer")
    for number in range(100):
        writer.publish(f"r/{number}", KB, number % 2, retain=True)
    reader = world.join("reader")
    reader.polite = True
    reader.stall()
    reader.send(p.Subscribe(1, [p.Filter("r/+", 1)]))
    assert world.node.sessions["reader"].held <= 20_000
    assert world.node.sessions["reader"].connection.unsent <= 60_000  # of one loop turn
    found = reader.unstall()
    assert len([each for each in found if isinstance(each, p.Publish)]) == 100
    assert sum(world.node.stats.drops.values()) == 0
