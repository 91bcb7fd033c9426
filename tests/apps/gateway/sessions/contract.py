"""What a session store keeps over a crash. A provider is added by giving `stored` another store."""

from __future__ import annotations

import pytest

from apps.gateway.broker import limits
from apps.gateway.broker.messages import Message
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import properties as props
from tests.apps.gateway.sessions.conftest import Stored, StoredWorld
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World

LONG = {props.SESSION_EXPIRY_INTERVAL: 3600}


def join(world: StoredWorld, name: str = "reader", clean: bool = False) -> Client:
    return world.join(name, clean=clean, properties=dict(LONG))


def away(world: StoredWorld, qos: int = 1, name: str = "reader") -> None:
    """A client with a subscription that has gone."""
    client = join(world, name)
    client.subscribe("t/#", qos=qos)
    client.disconnect()


def fill(world: StoredWorld, count: int, qos: int = 1, start: int = 0) -> None:
    writer = world.join("writer")
    for number in range(start, start + count):
        writer.publish("t/a", b"%d" % number, qos)
        writer.take()
        if qos == 2:
            writer.ack(pt.PUBREL, writer._packet_id)
            writer.take()
    writer.disconnect()


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


@pytest.mark.parametrize("qos", [1, 2])
def test_a_queue_outlives_the_process(stored: Stored, qos: int) -> None:
    world = stored()
    away(world, qos)
    fill(world, 5, qos)
    assert world.node.stats.queued == 5
    world = world.crash()
    assert world.node.sessions["reader"].backlog == 5 and world.node.sessions["reader"].queue is None
    reader = world.dial()
    reader.polite = True
    reader.connect("reader", clean=False, properties=dict(LONG))
    assert reader.connack is not None and reader.connack.session_present
    assert [each.payload for each in reader.take() if isinstance(each, p.Publish)] == numbers(5)
    assert world.node.stats.queued == 0
    assert world.crash().node.sessions["reader"].backlog == 0


def test_a_publisher_waits_for_the_commit(stored: Stored) -> None:
    world = stored()
    away(world)
    world.slow = True
    writer = world.join("writer")
    writer.publish("t/a", b"1", 1)
    assert not writer.take()
    world.commit()
    assert isinstance(writer.take_one(p.Ack), p.Ack)


def test_a_clean_session_costs_nothing(stored: Stored) -> None:
    world = stored()
    world.slow = True
    reader, writer = world.join("reader"), world.join("writer")
    reader.subscribe("t/#", qos=1)
    writer.publish("t/a", b"1", 1)
    assert len(reader.take()) == len(writer.take()) == 1
    assert not world.worker.answers


def test_what_comes_and_goes_within_a_transaction_is_never_written(stored: Stored) -> None:
    world = stored()
    reader, writer = join(world), world.join("writer")
    reader.subscribe("t/#", qos=1)
    world.slow = True
    writer.publish("t/a", b"1", 1)
    assert not writer.take()  # its row is being written
    writer.publish("t/a", b"2", 1)
    first, second = reader.take_publishes()
    reader.ack(pt.PUBACK, second.packet_id)
    assert world.store._batch.is_empty
    world._answer()
    World.turn(world)
    assert len(writer.take()) == 2  # though no loop turn brought it to a flush
    reader.ack(pt.PUBACK, first.packet_id)


def test_in_flight_messages_keep_their_identifiers(stored: Stored) -> None:
    world = stored()
    reader = join(world)
    reader.subscribe("t/#", qos=2)
    fill(world, 3, 1)
    fill(world, 2, 2, start=3)
    before = [(each.packet_id, each.payload) for each in reader.take_publishes()]
    assert len(before) == 5
    world = world.crash()
    again = join(world).take_publishes()
    assert [(each.packet_id, each.payload) for each in again] == before
    assert all(each.dup for each in again)


def test_acknowledged_in_any_order_the_others_stay(stored: Stored) -> None:
    """Of two sessions side by side, in one transaction."""
    world = stored()
    readers = [join(world, name) for name in ("reader", "second")]
    for reader in readers:
        reader.subscribe("t/#", qos=1)
    fill(world, 7)
    done = ((1, 5, 0, 2), (0, 4, 6))
    for reader, numbers_done in zip(readers, done, strict=True):
        came = reader.take_publishes()
        reader.send(*(p.Ack(pt.PUBACK, came[each].packet_id) for each in numbers_done))
    world.turn()
    world = world.crash()
    left = [[each.payload for each in join(world, name).take_publishes()] for name in ("reader", "second")]
    assert left == [[b"3", b"4", b"6"], [b"1", b"2", b"3", b"5"]]


def test_qos_2_to_a_client_leaves_after_the_commit_of_its_identifier(stored: Stored) -> None:
    world = stored()
    reader, writer = join(world), world.join("writer")
    reader.subscribe("t/#", qos=2)
    world.slow = True
    writer.publish("t/a", b"1", 2)
    assert not reader.take() and not writer.take()
    world.commit()
    (got,) = reader.take_publishes()
    assert not got.dup and len(writer.take()) == 1
    reader.ack(pt.PUBREC, got.packet_id)
    assert not reader.take()  # PUBREL promises that it will not be sent again
    world.commit()
    assert reader.take_one(p.Ack).type == pt.PUBREL
    world = world.crash()
    again = join(world)
    assert again.take_one(p.Ack).type == pt.PUBREL
    again.ack(pt.PUBCOMP, got.packet_id)
    assert not join(world.crash()).take()


def test_an_incoming_identifier_is_known_after_the_crash(stored: Stored) -> None:
    world = stored()
    away(world, 2)
    writer = join(world, "writer")
    packet_id = writer.publish("t/a", b"1", 2)
    assert writer.take_one(p.Ack).type == pt.PUBREC
    world = world.crash()
    writer = join(world, "writer")
    writer.send(p.Publish("t/a", b"1", 2, False, True, packet_id))
    assert writer.take_one(p.Ack).type == pt.PUBREC
    writer.ack(pt.PUBREL, packet_id)
    assert writer.take_one(p.Ack).reason == 0
    assert world.node.sessions["reader"].backlog == 1
    assert not world.crash().node.sessions["writer"].incoming


def test_a_repeated_publish_is_not_acknowledged_before_the_first(stored: Stored) -> None:
    world = stored()
    away(world, 2)
    writer = join(world, "writer")
    world.slow = True
    packet_id = writer.publish("t/a", b"1", 2)
    writer.drop()
    again = world.dial()
    again.connect("writer", clean=False, properties=dict(LONG))
    again.send(p.Publish("t/a", b"1", 2, False, True, packet_id))
    assert not again.take()
    world.commit()
    world.commit()
    assert again.take_one(p.Ack).type == pt.PUBREC


def test_a_suback_waits_for_the_commit(stored: Stored) -> None:
    world = stored()
    reader = join(world)
    world.slow = True
    reader.send(p.Subscribe(1, [p.Filter("t/#", 1)], {}))
    assert not reader.take()
    world.commit()
    assert isinstance(reader.take_one(p.Suback), p.Suback)


def test_subscriptions_with_their_options(stored: Stored) -> None:
    world = stored()
    reader = join(world)
    reader.subscribe(p.Filter("a/+", 1, True, True), identifier=7)
    reader.subscribe("$share/g/b", "c", qos=2)
    reader.unsubscribe("c")
    world = world.crash()
    found = world.node.sessions["reader"].subscriptions
    assert set(found) == {"a/+", "$share/g/b"}
    one = found["a/+"]
    assert (one.qos, one.no_local, one.retain_as_published, one.identifier) == (1, True, True, 7)
    assert (found["$share/g/b"].share, found["$share/g/b"].filter) == ("g", "b")


def test_retained_messages(stored: Stored) -> None:
    world = stored()
    writer = world.join("writer")
    writer.publish("keep", b"1", 1, True)
    writer.publish("keep", b"2", 0, True)
    writer.publish("clear", b"1", 1, True)
    writer.publish("clear", b"", 1, True)
    writer.publish("short", b"1", 1, True, {props.MESSAGE_EXPIRY_INTERVAL: 5})
    world = world.crash()
    assert {each.topic: each.payload for each in world.node.retained.values()} == {
        "keep": b"2",
        "short": b"1",
    }
    world.advance(10)
    reader = world.join("reader")
    reader.subscribe("#")
    assert reader.payloads() == [b"2"]


def test_wills_of_those_who_were_connected(stored: Stored) -> None:
    world = stored()
    away(world)
    will = p.Will("t/will", b"now", 1, False, {})
    world.join("clean", will=will)
    later = p.Will("t/will", b"later", 1, False, {props.WILL_DELAY_INTERVAL: 60})
    world.join("slow", clean=False, will=later, properties=dict(LONG))
    polite = world.join("polite", will=p.Will("t/will", b"never", 1, False, {}))
    polite.disconnect()
    world = world.crash()
    assert world.node.sessions["reader"].backlog == 1
    world.advance(61)
    assert world.node.sessions["reader"].backlog == 2
    assert sorted(join(world).payloads()) == [b"later", b"now"]
    assert world.node.stats.held > 0
    assert not world.crash().store.database.wills()


def test_sessions_expire_while_no_node_runs(stored: Stored) -> None:
    world = stored()
    join(world).disconnect()
    join(world, "online")
    world = world.crash()
    assert set(world.node.sessions) == {"reader", "online"}
    world.advance(3700)
    assert not world.node.sessions
    assert not world.crash().node.sessions


def test_a_clean_start_forgets_everything(stored: Stored) -> None:
    world = stored()
    away(world)
    fill(world, 3)
    join(world, clean=True)
    world = world.crash()
    assert world.node.sessions["reader"].backlog == 0 and not world.node.sessions["reader"].subscriptions
    assert world.node.stats.queued == 0


def test_a_long_queue_comes_page_by_page_in_order(stored: Stored) -> None:
    world = stored(inflight_window=10)
    away(world)
    fill(world, 2500)
    assert world.node.stats.held < 10_000  # nothing of it is in memory
    reader = world.dial()
    reader.polite = True
    reader.connect("reader", clean=False, properties=dict(LONG))
    session = world.node.sessions["reader"]
    most = 0
    got: list[bytes] = []
    while len(got) < 2500:
        more = reader._read() or reader.unread
        reader.unread = []
        for each in more:
            if isinstance(each, p.Publish):
                got.append(each.payload)
                reader.ack(pt.PUBACK, each.packet_id)
        most = max(most, len(session.queue or ()))
    assert got == numbers(2500)
    assert most <= 1250
    assert (session.backlog, session.held, world.node.stats.queued) == (0, 0, 0)


def test_what_is_published_while_a_page_loads_comes_behind_it(stored: Stored) -> None:
    world = stored()
    away(world)
    fill(world, 3)
    world.slow = True
    reader = world.dial()
    reader.polite = True
    reader.connect("reader", clean=False, properties=dict(LONG))
    world.slow = False
    fill(world, 3, start=3)
    assert reader.payloads() == numbers(6)


def test_drop_newest(stored: Stored) -> None:
    world = stored(max_queued_messages=3)
    away(world)
    fill(world, 5)
    assert world.node.stats.drops["queue_full"] == 2
    assert join(world).payloads() == numbers(3)


def test_drop_oldest(stored: Stored) -> None:
    world = stored(max_queued_messages=3, queue_full_policy=limits.DROP_OLDEST)
    away(world)
    fill(world, 7)
    assert world.node.stats.drops["queue_full"] == 4
    assert world.events.drops[-1] == ("reader", "queue_full", "t/a", 1)
    world = world.crash()
    assert join(world).payloads() == numbers(3, 4)


def test_messages_expire_in_the_queue_of_a_client_that_is_away(stored: Stored) -> None:
    world = stored()
    away(world)
    writer = world.join("writer")
    writer.publish("t/a", b"short", 1, properties={props.MESSAGE_EXPIRY_INTERVAL: 5})
    writer.publish("t/a", b"long", 1, properties={props.MESSAGE_EXPIRY_INTERVAL: 500})
    world.advance(6)
    world.wait()
    assert world.node.stats.drops["expired"] == 1
    assert world.node.sessions["reader"].backlog == 1
    assert join(world).payloads() == [b"long"]


def test_a_message_for_many_is_stored_once(stored: Stored) -> None:
    world = stored()
    for number in range(20):
        away(world, name=f"reader-{number}")
    fill(world, 1)
    count = world.store.database._one
    assert (count("SELECT count(*) FROM messages"), count("SELECT count(*) FROM queue")) == (1, 20)
    for number in range(20):
        assert count("SELECT count(*) FROM messages") == 1
        reader = world.dial()
        reader.polite = True
        reader.connect(f"reader-{number}", clean=False, properties=dict(LONG))
        assert reader.payloads() == [b"0"]
    assert (count("SELECT count(*) FROM messages"), count("SELECT count(*) FROM queue")) == (0, 0)


def test_a_purged_queue_stays_empty(stored: Stored) -> None:
    world = stored()
    away(world)
    fill(world, 4)
    assert world.node.sessions["reader"].purge() == 4
    world.turn()
    assert world.node.stats.drops["purged"] == 4
    assert not join(world.crash()).take()


def test_every_step_of_the_way_may_be_the_last(stored: Stored) -> None:
    """A crash after each transaction: what was acknowledged is there, and QoS 2 comes once."""
    for steps in range(8):
        world = stored()
        away(world, 2)
        writer, reader = join(world, "writer"), join(world)
        world.slow = True
        got: list[bytes] = []
        packet_id = writer.publish("t/a", b"1", 2)
        acknowledged = False
        for _ in range(steps):
            if world.worker.answers:
                world.commit()
            for packet in writer.take():
                if isinstance(packet, p.Ack) and packet.type == pt.PUBREC:
                    acknowledged = True
                    writer.ack(pt.PUBREL, packet_id)
            got += _receive(reader)
        world = world.crash()
        reader = join(world)
        if packet_id not in world.node.sessions["writer"].incoming and not acknowledged:
            writer = join(world, "writer")
            writer.send(p.Publish("t/a", b"1", 2, False, True, packet_id))
        for _ in range(5):
            got += _receive(reader)
        assert got == [b"1"], f"after {steps} steps"


def _receive(reader: Client) -> list[bytes]:
    """As a client does it: a message is its own with the PUBLISH; known identifiers are answered again."""
    got = []
    for packet in reader.take():
        if isinstance(packet, p.Publish):
            if packet.packet_id not in KNOWN.setdefault(reader.client_id, set()):
                got.append(packet.payload)
                KNOWN[reader.client_id].add(packet.packet_id)
            reader.ack(pt.PUBREC, packet.packet_id)
        elif isinstance(packet, p.Ack) and packet.type == pt.PUBREL:
            KNOWN.setdefault(reader.client_id, set()).discard(packet.packet_id)
            reader.ack(pt.PUBCOMP, packet.packet_id)
    return got


KNOWN: dict[str, set[int]] = {}


def test_a_full_disk_refuses_publishers_and_loses_nothing(stored: Stored) -> None:
    world = stored()
    away(world)
    fill(world, 3)
    world.store.database.limit(0)
    writer = world.join("writer")
    acknowledged = 3
    refused = 0
    for number in range(200):
        writer.publish("t/a", b"x" * 4000 + b"%d" % number, 1)
        (answer,) = writer.take()
        assert isinstance(answer, p.Ack)
        refused += answer.reason == 0x97
        acknowledged += answer.reason == 0
    assert refused and not world.store.status()["ok"]
    assert "full" in world.store.status()["error"]
    assert world.node.sessions["reader"].backlog == acknowledged
    world.store.database.limit(2**30)
    world.wait()
    assert world.store.status()["ok"] and not world.store.full
    writer.publish("t/a", b"last", 1)
    assert writer.take_one(p.Ack).reason == 0
    assert len(join(world.crash()).take()) == acknowledged + 1


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_all_retained_messages_reach_a_session_through_small_limits(stored: Stored, qos: int) -> None:
    """They come at the client's pace and not by way of its queue, which could not hold them."""
    world = stored(max_queued_messages=300, inflight_window=20)
    for number in range(1500):
        world.node.keep(Message(f"t/{number}", b"%d" % number, number % 3, True))
    world.turn()
    reader = join(world)
    reader.polite = True
    reader.subscribe("t/#", qos=qos)
    found = [each.payload for each in reader.take() if isinstance(each, p.Publish)]
    assert sorted(found) == sorted(numbers(1500))
    assert not any(world.node.stats.drops.values())
    assert world.node.sessions["reader"].replay is None
