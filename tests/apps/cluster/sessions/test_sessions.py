"""Persistent sessions of a cluster, through its doors: whatever waits for a client, any node gives it."""

from __future__ import annotations

import contextlib
import secrets
import signal
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from redis import Redis

from apps.cluster.sessions import packing
from tests.apps.cluster.support.asking import ask, shell
from tests.apps.cluster.support.clients import prefix, until
from tests.apps.cluster.support.device import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, WAIT, Device
from tests.wire import raw
from tests.wire.raw import V5, V311, Closed, Raw
from tools.cluster import Cluster, Process


def unique(name: str) -> str:
    return f"{name}-{secrets.token_hex(4)}"


def send(node: Process, topic: str, *payloads: bytes, qos: int = 1) -> None:
    """All of it is acknowledged."""
    with Device(node, unique("writer"), clean=True) as writer:
        for number, payload in enumerate(payloads, 1):
            writer.publish(topic, payload, qos, number)
            writer.expect(PUBACK if qos == 1 else PUBREC, number)


def rows(cluster: Cluster) -> list[tuple[str, Any]]:
    """Of the directory: sessions that are away, by client id."""
    return [(row["client_id"], row) for row in ask(cluster, "sessions", "list", "--no-online")]


@pytest.fixture
def nodes(cluster: Cluster) -> tuple[Process, Process]:
    a, b = cluster.nodes
    return a, b


@contextlib.contextmanager
def redis_of(cluster: Cluster) -> Iterator[Redis]:
    with Redis.from_url(cluster.redis_url) as redis:
        yield redis


def away(node: Process, name: str, filter: str, qos: int = 1) -> None:
    """A client with a subscription that has gone."""
    with Device(node, name) as device:
        device.subscribe(V311, filter, qos=qos)
        device.leave()


def test_what_came_from_anywhere_waits_everywhere(cluster: Cluster, nodes: tuple[Process, Process]) -> None:
    a, b = nodes
    name, topic = unique("reader"), f"telemetry/{unique('t')}"
    away(a, name, topic)
    send(a, topic, b"from a")
    send(b, topic, b"from b")
    service = Producer({"bootstrap.servers": cluster.servers, "partitioner": "murmur2_random"})
    headers = [("mqtt-topic", topic.encode()), ("qos", b"1")]
    service.produce(prefix(cluster) + "telemetry", b"from a service", topic.encode(), headers=headers)
    assert service.flush(WAIT) == 0
    with Device(b, name) as device:
        assert device.present
        assert device.take(3) == [b"from a", b"from b", b"from a service"]
        assert device.quiet()


def test_what_expires_while_its_client_is_away_is_gone_and_counted(
    cluster: Cluster, nodes: tuple[Process, Process]
) -> None:
    a, b = nodes
    name, topic = unique("reader"), unique("t")
    away(a, name, topic)
    with Raw(b.mqtt, timeout=WAIT) as writer:
        writer.connect(V5, unique("writer"))
        for number, properties in enumerate((b"\x02\0\0\0\x01", b""), 1):
            writer.send(raw.publish(V5, topic, b"%d" % number, 1, number, properties=properties))
            assert writer.packet()[0] == PUBACK
    with redis_of(cluster) as redis:
        until(lambda: redis.xlen(f"gmqtt:queue:{name}") == 2, "not queued")
        until(lambda: redis.xlen(f"gmqtt:queue:{name}") == 1, "it stays")
    until(
        lambda: (
            [each["reason"] for each in ask(cluster, "drops", "list", "--client-id", name)] == ["expired"]
        ),
        "not counted",
    )
    with Device(b, name) as device:
        assert device.take(1) == [b"2"]
        assert device.quiet()


def test_what_a_bridge_dropped_is_counted(cluster: Cluster) -> None:
    """As its script writes it down (`test_queues.py`)."""
    name, topic = unique("reader"), unique("t")
    with redis_of(cluster) as redis:
        redis.hincrby("gmqtt:drops", packing.pack((name, "queue_full", topic)), 7)  # type: ignore[arg-type]

        def found() -> list[tuple[Any, ...]]:
            rows = ask(cluster, "drops", "list", "--client-id", name)
            return [(each["reason"], each["topic"], each["count"]) for each in rows]

        until(lambda: found() == [("queue_full", topic, 7)], "not counted")
        assert not redis.hlen("gmqtt:drops")


def test_a_client_that_is_here_gets_it_once_wherever_it_is(nodes: tuple[Process, Process]) -> None:
    a, b = nodes
    topic = unique("t")
    with Device(a, unique("reader")) as here, Device(b, unique("reader")) as there:
        for device in (here, there):
            device.subscribe(V311, topic, qos=1)
        send(a, topic, b"1", b"2")
        for device in (here, there):
            assert device.take(2) == [b"1", b"2"]
            assert device.quiet()
        with Device(b, unique("writer"), clean=True) as writer:  # QoS 0 is not queued, and comes all the same
            writer.publish(topic, b"3", 0)
            for device in (here, there):
                assert device.packet()[1].endswith(b"3")


@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_in_flight_moves_with_its_identifiers(nodes: tuple[Process, Process], qos: int) -> None:
    a, b = nodes
    name, topic = unique("reader"), unique("t")
    with Device(a, name) as device:
        device.subscribe(V311, topic, qos=qos)
        send(b, topic, b"1", b"2", qos=qos)
        before = [device.message() for _ in range(2)]
        with Device(b, name) as moved:  # a takeover
            assert moved.present
            with pytest.raises(Closed):
                device.packet()
            after = [moved.message() for _ in range(2)]
            assert after == [(first | 0x08, packet_id, payload) for first, packet_id, payload in before]
            if qos == 1:
                for _, packet_id, _ in after:
                    moved.ack(PUBACK, packet_id)
            else:
                moved.ack(PUBREC, after[0][1])
                moved.expect(PUBREL, after[0][1])
            moved.ping()
    with Device(a, name) as back:
        if qos == 2:  # one was released, one was not
            found = dict(back.packet() for _ in range(2))
            assert found[PUBREL] == struct.pack("!H", before[0][1])
            assert found[PUBLISH | 0x0C].endswith(struct.pack("!H", before[1][1]) + b"2")
        else:
            assert back.quiet()


def test_a_publisher_of_qos_2_may_go_on_anywhere(nodes: tuple[Process, Process]) -> None:
    a, b = nodes
    reader, writer, topic = unique("reader"), unique("writer"), unique("t")
    away(b, reader, topic, 2)
    with Device(a, writer) as first:
        first.publish(topic, b"1", 2, 7)
        first.expect(PUBREC, 7)
        first.publish(topic, b"2", 2, 8)
        first.expect(PUBREC, 8)
        first.ack(PUBREL, 8)
        first.expect(PUBCOMP, 8)
        first.reset()
    with Device(b, writer) as second:  # which has not had the PUBREC of the first, it says
        assert second.present
        second.publish(topic, b"1", 2, 7, dup=True)
        second.expect(PUBREC, 7)
        second.ack(PUBREL, 7)
        second.expect(PUBCOMP, 7)
        second.publish(topic, b"3", 2, 7)  # the identifier is free for another message
        second.expect(PUBREC, 7)
    with Device(a, reader) as device:
        messages = [device.message() for _ in range(3)]
        assert [payload for _, _, payload in messages] == [b"1", b"2", b"3"]
        for _, packet_id, _ in messages:
            device.ack(PUBREC, packet_id)
            device.expect(PUBREL, packet_id)
            device.ack(PUBCOMP, packet_id)
        assert device.quiet()


def test_what_qos_2_messages_are_known_by_does_not_stay(
    cluster: Cluster, nodes: tuple[Process, Process]
) -> None:
    a, b = nodes
    reader, topic = unique("reader"), unique("t")
    away(b, reader, topic, 2)

    def known(redis: Redis) -> int:
        return sum(redis.hlen(key) for key in redis.keys("gmqtt:ids:*"))

    with redis_of(cluster) as redis, Device(a, unique("writer")) as writer:
        before = known(redis)
        send(a, topic, b"c", qos=2)  # its publisher's session is over: nobody will repeat it
        for number in range(1, 6):
            writer.publish(topic, b"%d" % number, 2, number)
            writer.expect(PUBREC, number)
        until(lambda: redis.xlen(f"gmqtt:queue:{reader}") == 6, "not queued")
        assert known(redis) <= before + 5
        for number in range(1, 6):
            writer.ack(PUBREL, number)
            writer.expect(PUBCOMP, number)
        until(lambda: known(redis) <= before, "the names stay")


def test_a_clean_start_forgets_everything(cluster: Cluster, nodes: tuple[Process, Process]) -> None:
    a, b = nodes
    name, topic = unique("reader"), unique("t")
    away(a, name, topic)
    send(a, topic, b"1")
    with Device(b, name, clean=True) as device:
        assert not device.present
        assert device.quiet(0.2)
    with redis_of(cluster) as redis:
        until(lambda: not redis.keys(f"*{name}*"), "something is left")
        assert redis.hget("gmqtt:routes:@sessions -", topic) is None


def test_a_session_ends_when_its_time_is_over(cluster: Cluster, nodes: tuple[Process, Process]) -> None:
    a, _ = nodes
    name, topic = unique("reader"), unique("t")
    device = Raw(a.mqtt)
    with device:
        device.connect(V5, name, clean=False, properties=b"\x11" + struct.pack("!I", 2))
        device.subscribe(V5, topic, qos=1)
    send(a, topic, b"1")
    with redis_of(cluster) as redis:
        assert redis.exists(f"gmqtt:session:{name}")
        until(lambda: not redis.keys(f"*{name}*"), "it has not ended")


def test_a_node_that_was_taken_for_dead_has_its_clients_again(
    cluster: Cluster, nodes: tuple[Process, Process]
) -> None:
    a, b = nodes
    name, topic = unique("reader"), unique("t")
    with redis_of(cluster) as redis, Device(a, name) as device:
        device.subscribe(V311, topic, qos=1)
        key = f"gmqtt:session:{name}"
        assert redis.hget(key, "node") == b"node-a"
        a.signal(signal.SIGSTOP)
        try:
            until(lambda: redis.hget(key, "node") == b"", "not buried")
        finally:
            a.signal(signal.SIGCONT)
        until(lambda: redis.hget(key, "node") == b"node-a", "the node has not said that its client is there")
        assert not redis.hexists(key, "expires_at") and redis.zscore("gmqtt:expiring", name) is None
        send(b, topic, b"1")
        assert device.take(1) == [b"1"]
        device.leave()
        until(lambda: redis.hget(key, "node") == b"", "it has not gone")
        assert float(redis.hget(key, "expires_at") or 0) > time.time() + 60


def test_a_message_for_many_is_stored_once(cluster: Cluster, nodes: tuple[Process, Process]) -> None:
    a, b = nodes
    topic = unique("t")
    names = [unique("reader") for _ in range(3)]
    for name in names:
        away(a, name, topic)
    with redis_of(cluster) as redis:
        before = set(redis.keys("gmqtt:message:*"))
        send(b, topic, b"x" * 1000)
        until(lambda: all(redis.xlen(f"gmqtt:queue:{name}") for name in names), "it was not queued")
        (key,) = set(redis.keys("gmqtt:message:*")) - before
        assert redis.hget(key, "n") == b"3"
        for left, name in zip((2, 1, 0), names, strict=True):
            with Device(b, name) as device:
                assert device.take(1) == [b"x" * 1000]
                device.ping()
                device.leave()
            until(lambda left=left: int(redis.hget(key, "n") or 0) == left, "it is still there")  # type: ignore[misc]


def test_retained_messages_come_by_the_queue(nodes: tuple[Process, Process]) -> None:
    a, b = nodes
    name, topic = unique("reader"), unique("t")
    with Device(a, unique("writer"), clean=True) as writer:
        writer.send(raw.publish(V311, topic, b"kept", 1, 1, retain=True))
        writer.expect(PUBACK, 1)
    with Device(b, name) as device:
        device.subscribe(V311, topic, qos=1)
        first, _, payload = device.message()
        assert (first, payload) == (0x33, b"kept")
    with Device(a, name) as device:
        assert device.message()[2] == b"kept"
    with Device(a, unique("writer"), clean=True) as writer:
        writer.send(raw.publish(V311, topic, b"", 1, 1, retain=True))
        writer.expect(PUBACK, 1)


def test_a_shared_subscription_queues_for_one_that_is_away(
    cluster: Cluster, nodes: tuple[Process, Process]
) -> None:
    """No node has to do with it: neither that where the member was, nor another one."""
    a, b = nodes
    name, topic = unique("reader"), f"telemetry/{unique('t')}"
    away(a, name, f"$share/g/{topic}")
    with redis_of(cluster) as redis:
        until(lambda: not redis.exists(f"gmqtt:owner:{name}"), "a node still has the session")
        send(b, topic, b"1")
        send(a, topic, b"2")
        service = Producer({"bootstrap.servers": cluster.servers, "partitioner": "murmur2_random"})
        headers = [("mqtt-topic", topic.encode()), ("qos", b"1")]
        service.produce(prefix(cluster) + "telemetry", b"3", topic.encode(), headers=headers)
        assert service.flush(WAIT) == 0
        until(lambda: redis.xlen(f"gmqtt:queue:{name}") == 3, "not queued")
    with Device(b, name) as device:
        assert sorted(device.take(3)) == [b"1", b"2", b"3"]
        assert device.quiet()


def test_a_shared_subscription_has_every_message_for_one_member(nodes: tuple[Process, Process]) -> None:
    """Of two persistent ones, on both nodes, one that is away, and one without a session."""
    a, b = nodes
    topic = unique("t")
    away(b, unique("away"), f"$share/g/{topic}")
    with (
        Device(a, unique("here")) as here,
        Device(b, unique("there")) as there,
        Device(a, unique("clean"), clean=True) as clean,
    ):
        members = (here, there, clean)
        for member in members:
            member.subscribe(V311, f"$share/g/{topic}", qos=1)
        send(b, topic, *(b"%d" % number for number in range(30)))
        found = [member.take(10) for member in members]
        assert sorted(int(payload) for some in found for payload in some) == list(range(30))
        for some in found:
            assert some == sorted(some, key=int)
        with Device(a, unique("writer"), clean=True) as writer:
            for number in range(6):
                writer.publish(topic, b"%d" % number, 0)
            fleeting = [member.packet()[0] for member in members for _ in range(2)]
        assert fleeting == [PUBLISH] * 6
        assert all(member.quiet() for member in members)


def test_topics_with_a_dollar_are_the_clusters_too(nodes: tuple[Process, Process]) -> None:
    """All but those below $SYS."""
    a, b = nodes
    here, there, topic = unique("here"), unique("there"), f"${unique('things')}/1"
    away(b, there, topic)
    away(a, here, f"$share/g/{topic}")
    with Device(a, here) as reader, Device(b, unique("clean"), clean=True) as clean:
        clean.subscribe(V311, topic, qos=1)
        send(a, topic, b"1", b"2")
        assert reader.take(2) == [b"1", b"2"] and clean.take(2) == [b"1", b"2"]
    with Raw(a.mqtt, timeout=WAIT) as writer:
        writer.connect(V311, unique("writer"))
        data = raw.publish(V311, topic, b"kept", 1, 1)
        writer.send(bytes([data[0] | 1]) + data[1:])
        assert writer.packet()[0] == PUBACK
    with Device(b, there) as reader:
        assert reader.take(3) == [b"1", b"2", b"kept"]
    with Device(b, unique("clean"), clean=True) as clean:
        clean.subscribe(V311, topic, qos=1)
        assert clean.take(1) == [b"kept"]


def test_a_queue_is_purged_and_looked_at_while_its_client_is_away(
    cluster: Cluster, nodes: tuple[Process, Process]
) -> None:
    a, b = nodes
    name, topic = unique("reader"), unique("t")
    away(a, name, topic)
    send(b, topic, b"1", b"2")
    with redis_of(cluster) as redis:
        until(lambda: redis.xlen(f"gmqtt:queue:{name}") == 2, "not queued")
    until(
        lambda: {"client_id": name, "queued": 2}.items() <= dict(rows(cluster)).get(name, {}).items(),
        "the directory does not know",
    )
    found = ask(cluster, "sessions", "queue", name)
    assert [message["topic"] for message in found] == [topic, topic]
    assert ask(cluster, "sessions", "purge", name)
    with Device(b, name) as device:
        assert device.present
        assert device.quiet()


def test_a_queue_is_replayed_and_a_client_subscribed_while_nobody_is_there(
    cluster: Cluster, nodes: tuple[Process, Process]
) -> None:
    a, b = nodes
    source, target, topic, later = unique("source"), unique("target"), unique("t"), unique("later")
    away(a, source, topic)
    away(b, target, unique("other"))
    send(b, topic, b"1", b"2", b"3")
    with redis_of(cluster) as redis:
        until(lambda: redis.xlen(f"gmqtt:queue:{source}") == 3, "not queued")
        until(lambda: {source, target} <= dict(rows(cluster)).keys(), "the directory does not know")
        assert ask(cluster, "sessions", "replay", source, "--to", target, "--limit", "2") == {"replayed": 2}
        ask(cluster, "subscribe", target, later, "--qos", "1")
        send(a, later, b"4")
        until(lambda: redis.xlen(f"gmqtt:queue:{target}") == 3, "not queued")
        assert redis.xlen(f"gmqtt:queue:{source}") == 3
    with Device(a, target) as device:
        assert device.take(3) == [b"1", b"2", b"4"]
        assert device.quiet()
    with Device(b, target) as device:
        until(lambda: ask(cluster, "clients", "list", "--prefix", target), "the directory does not know")
        assert ask(cluster, "sessions", "replay", source, "--to", target) == {"replayed": 3}
        assert device.take(3) == [b"1", b"2", b"3"]
    ask(cluster, "unsubscribe", target, later)
    send(a, later, b"5")
    with Device(b, target) as device:
        assert device.present
        assert device.quiet()


UNREGISTER = """
from apps.common.actors import SYSTEM
from apps.auth.models import Client
from apps.auth.services import clients
clients.unregister(SYSTEM, [Client.objects.create(client_id="{}")])
"""


def test_who_is_unregistered_leaves_nothing(cluster: Cluster, nodes: tuple[Process, Process]) -> None:
    a, b = nodes
    name, topic = unique("reader"), unique("t")
    away(b, name, topic)
    send(a, topic, b"1")
    with redis_of(cluster) as redis:
        until(lambda: redis.xlen(f"gmqtt:queue:{name}") == 1, "not queued")
        shell(cluster, UNREGISTER.format(name))
        until(lambda: not redis.keys(f"*{name}*"), "something is left")
