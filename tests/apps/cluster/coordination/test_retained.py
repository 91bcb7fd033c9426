"""Retained messages on every node: the same ones, in the same order, whoever comes and goes."""

from __future__ import annotations

import asyncio
import time

import pytest

from apps.gateway.broker.messages import Message
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt import reasons
from tests.apps.cluster.coordination.conftest import Cluster
from tests.apps.cluster.coordination.hosts import DEAD_AFTER, Host
from tests.apps.cluster.coordination.proxy import Proxy
from tests.support.waiting import until


def payload(host: Host, topic: str) -> bytes | None:
    message = host.view.retained(topic)
    return message.payload if message is not None else None


async def test_it_is_there_on_every_node_when_it_is_acknowledged(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    writer, reader = await a.join("writer"), await b.join("reader")
    for number in range(30):
        await writer.publish(f"kept/{number}", b"x" * number + b"y", retain=True)
        await reader.subscribe(f"kept/{number}")
        assert reader.payloads() == [b"x" * number + b"y"]
    await writer.publish("kept/0", b"", retain=True)
    await until(lambda: payload(b, "kept/0") is None)


async def test_a_node_that_comes_back_has_them(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    writer = await a.join("writer")
    await writer.publish("kept", b"x", qos=2, retain=True)
    await a.stop()
    await b.stop()
    (c,) = await cluster("c")
    message = c.view.retained("kept")
    assert message is not None
    assert (message.payload, message.qos, message.origin) == (b"x", 2, "writer")


async def test_properties_and_expiry_travel_by_one_clock(cluster: Cluster, redis_url: str) -> None:
    """The clock of the one node is an hour ahead of the other's."""
    (a,) = await cluster("a", skew=3600.0)
    (b,) = await cluster("b")
    writer = await a.join("writer")
    properties: props.Properties = {
        props.MESSAGE_EXPIRY_INTERVAL: 60,
        props.CONTENT_TYPE: "text/plain",
        props.USER_PROPERTY: [("a", "b")],
    }
    writer.send(p.Publish("kept", b"x", 1, True, False, 9, properties))
    await until(lambda: payload(b, "kept") is not None)
    reader = await b.join("reader")
    await reader.subscribe("kept")
    got = await reader.expect(p.Publish)
    assert props.string(got.properties, props.CONTENT_TYPE) == "text/plain"
    assert props.user(got.properties) == [("a", "b")]
    assert 55 <= props.integer(got.properties, props.MESSAGE_EXPIRY_INTERVAL, 0) <= 60


async def test_what_has_expired_leaves_redis(cluster: Cluster) -> None:
    (a,) = await cluster("a")
    now = a.runner.now()
    a.node.retain(Message("kept", b"x", 0, True, b"", now + 1.0))
    a.node.retain(Message("stays", b"x", 0, True))
    store = a.member.store
    await until(lambda: a.member.retained.sequence >= 1)
    assert len(await store.table("retained")) == 2
    await asyncio.sleep(2.1)
    await store.run("expire", 100)
    assert list(await store.table("retained")) == [b"stays"]


async def test_writers_on_all_nodes_end_with_one_value(cluster: Cluster) -> None:
    hosts = await cluster("a", "b", "c")
    for number in range(300):
        for host in hosts:
            topic = f"t/{number % 7}"
            host.node.retain(Message(topic, f"{host.name}{number}".encode() * (number % 3), 0, True))
        if number % 5 == 0:
            await asyncio.sleep(0)
    await until(lambda: not any(host.member.retained._dirty or host.member.retained._sent for host in hosts))
    last = max(host.member.retained.sequence for host in hosts)
    await until(lambda: all(host.member.retained.sequence == last for host in hosts))
    table = {key.decode(): value for key, value in (await hosts[0].member.store.table("retained")).items()}
    for host in hosts:
        assert {topic: payload(host, topic) is not None for topic in table} == dict.fromkeys(table, True)
        assert sorted(host.view.retained_topics()) == sorted(table)
        assert {t: payload(host, t) for t in table} == {t: payload(hosts[0], t) for t in table}


async def test_news_that_were_missed_are_read(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    heard = b.member.retained.heard
    b.member.retained.heard = lambda *news: None  # type: ignore[method-assign]
    a.node.retain(Message("first", b"1", 0, True))
    await until(lambda: a.member.retained.sequence == 1)
    b.member.retained.heard = heard  # type: ignore[method-assign]
    a.node.retain(Message("second", b"2", 0, True))
    await until(lambda: payload(b, "first") == b"1" and payload(b, "second") == b"2")


async def test_a_hundred_thousand_load_quickly(cluster: Cluster) -> None:
    (a,) = await cluster("a")
    for number in range(100_000):
        a.node.retain(Message(f"site/{number // 100}/device/{number}", b"x" * 100, 0, True))
        if number % 2000 == 0:
            await asyncio.sleep(0)
    await a.member.retained.drain(60.0)
    began = time.monotonic()
    (b,) = await cluster("b")
    took = time.monotonic() - began
    assert len(b.view.retained_topics()) == 100_000
    print(f"100,000 retained messages of 100 bytes loaded in {took:.2f} s")
    assert took < 20.0


async def test_without_redis_a_publisher_hears_that_it_is_not_kept(
    cluster: Cluster, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (a,) = await cluster("a", url=proxy.url, fence=True)
    monkeypatch.setattr("apps.cluster.coordination.retained.TIMEOUT", 0.2)
    writer = await a.join("writer")
    proxy.cut()
    assert await writer.publish("kept", b"x", retain=True) == reasons.QUOTA_EXCEEDED
    proxy.heal()


async def test_a_node_on_its_own_acknowledges_and_tells_the_others_later(
    cluster: Cluster, proxy: Proxy
) -> None:
    (a,) = await cluster("a", url=proxy.url)
    (b,) = await cluster("b")
    proxy.cut()
    await until(lambda: a.state == "alone")
    writer = await a.join("writer")
    assert await writer.publish("kept", b"x", retain=True) < 0x80
    proxy.heal()
    await until(lambda: payload(b, "kept") == b"x", 4 * DEAD_AFTER)
