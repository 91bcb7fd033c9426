"""A subscription anywhere counts everywhere, from its SUBACK on."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from apps.cluster.coordination import subscription_sync
from tests.apps.cluster.coordination.conftest import Cluster
from tests.support.waiting import until


async def test_what_is_published_after_a_suback_arrives(cluster: Cluster) -> None:
    a, b, c = await cluster("a", "b", "c")
    writer, reader = await a.join("writer"), await b.join("reader")
    for number in range(100):
        topic = f"t/{number}"
        await reader.subscribe(topic)
        await writer.publish(topic, topic.encode())
        await until(lambda topic=topic: reader.payloads() == [topic.encode()])
    assert c.member.subscription_sync.late == b.member.subscription_sync.late == 0
    await reader.unsubscribe(*(f"t/{number}" for number in range(100)))
    await until(lambda: not a.node.bus.wants("t/1"))
    assert not a.member.routes._wanted and not c.member.routes._wanted


async def test_many_subscribe_at_once(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    readers = [await b.join(f"r{number}") for number in range(200)]
    await asyncio.gather(*(reader.subscribe(f"{n}/+", f"{n}/x/#") for n, reader in enumerate(readers)))
    assert b.member.subscription_sync.late == 0
    assert b.member.subscription_sync.version < 40  # together, not one by one
    assert all(a.node.bus.wants(f"{n}/x") for n in range(200))


async def test_a_new_node_knows_what_the_others_want(cluster: Cluster) -> None:
    (a,) = await cluster("a")
    reader = await a.join("reader")
    await reader.subscribe("old/#")
    (b,) = await cluster("b")
    writer = await b.join("writer")
    await writer.publish("old/t", b"x")
    await until(lambda: reader.payloads() == [b"x"])


async def test_who_leaves_in_order_is_forgotten_at_once(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    reader = await b.join("reader")
    await reader.subscribe("t")
    await b.stop()
    await until(lambda: not a.node.bus.wants("t"), 1.0)
    assert a.member.failovers.count == 0
    keys = [key async for key in a.member.store._redis.scan_iter("t:*:b *")]
    assert keys == []


async def test_a_message_to_a_shared_subscription_has_one_reader(cluster: Cluster) -> None:
    a, b, c = await cluster("a", "b", "c")
    readers = {}
    for host, count in ((a, 1), (b, 2), (c, 1)):
        for number in range(count):
            reader = readers[f"{host.name}{number}"] = await host.join(f"{host.name}{number}")
            await reader.subscribe("$share/g/jobs/#")
    plain = await c.join("plain")
    await plain.subscribe("jobs/+")
    writers = [await host.join(f"writer-{host.name}") for host in (a, b, c)]
    sent = []
    for number in range(120):
        payload = str(number).encode()
        sent.append(payload)
        await writers[number % 3].publish(f"jobs/{number % 5}", payload)
    got = {name: reader.payloads() for name, reader in readers.items()}
    assert sorted(payload for each in got.values() for payload in each) == sorted(sent)
    assert Counter({name: len(each) for name, each in got.items()}) == dict.fromkeys(readers, 30)
    assert sorted(plain.payloads()) == sorted(sent)


async def test_members_that_are_away_get_nothing_while_one_is_there(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    away = await a.join("away", clean=False, expiry=100)
    await away.subscribe("$share/g/t")
    there = await b.join("there")
    await there.subscribe("$share/g/t")
    away.drop()
    await until(lambda: b.member.routes._groups["g/t"].members["a"] == (0, 1, 0))
    writer = await a.join("writer")
    for number in range(10):
        await writer.publish("t", str(number).encode())
    assert len(there.payloads()) == 10


async def test_news_that_were_missed_are_read(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = await cluster("a", "b")
    heard = a.member.subscription_sync.heard
    a.member.subscription_sync.heard = lambda *news: None  # type: ignore[method-assign]
    monkeypatch.setattr(subscription_sync, "TIMEOUT", 0.2)
    reader = await b.join("reader")
    await reader.subscribe("first")
    assert b.member.subscription_sync.late == 1  # it was answered all the same
    a.member.subscription_sync.heard = heard  # type: ignore[method-assign]
    await reader.subscribe("second")  # the version before it is missing
    assert a.node.bus.wants("first") and a.node.bus.wants("second")


async def test_topics_of_the_node_itself_are_nobody_elses(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    reader = await b.join("reader")
    await reader.subscribe("$SYS/#")
    assert not a.node.bus.wants("$SYS/broker/x") and not a.member.routes._wanted
    await until(lambda: getattr(a.view.retained("$SYS/cluster/nodes/online"), "payload", b"") == b"2")
    topic = "$SYS/cluster/nodes/b/clients/connected"
    await until(lambda: getattr(a.view.retained(topic), "payload", b"") == b"1")
