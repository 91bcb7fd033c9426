"""A node that cannot reach Redis, or a Redis that has forgotten: nobody has a client twice for long."""

from __future__ import annotations

import asyncio
import time

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from tests.apps.cluster.coordination.conftest import Cluster
from tests.apps.cluster.coordination.hosts import DEAD_AFTER, Client
from tests.apps.cluster.coordination.proxy import Proxy
from tests.support.waiting import until
from tools.redis import Redis

WILL = p.Will("gone", b"client", 1, False, {})


async def test_a_fenced_node_lets_go_before_another_takes_over(cluster: Cluster, proxy: Proxy) -> None:
    (a,) = await cluster("a", url=proxy.url, fence=True)
    (b,) = await cluster("b")
    watcher = await b.join("watcher")
    await watcher.subscribe("gone")
    old = await a.join("client", will=WILL)
    proxy.cut()
    new = Client(b)
    connecting = asyncio.create_task(new.connect("client"))
    while not connecting.done():  # at no time do both have it
        await asyncio.sleep(0.01)
        assert old.closed or new.connection.session is None
    assert connecting.result().reason == 0
    assert old.goodbye() == reasons.SERVER_SHUTTING_DOWN
    assert a.state == "fenced" and not a.member.status()["ok"]
    refused = Client(a)
    assert (await refused.connect("somebody")).reason == reasons.SERVER_UNAVAILABLE
    got: list[bytes] = []
    await until(lambda: got.extend(watcher.payloads()) or got)
    proxy.heal()
    await until(lambda: a.state == "member", 6 * DEAD_AFTER)
    assert not new.closed and b.member.ownership.epochs["client"]
    await a.join("somebody")
    await asyncio.sleep(0.5)
    assert got + watcher.payloads() == [b"client"]  # by the survivor, and not once more


async def test_all_are_fenced_while_redis_is_away_and_nothing_is_lost(cluster: Cluster, proxy: Proxy) -> None:
    """Nobody is buried then: the wills are the node's own to publish."""
    a, b = await cluster("a", "b", url=proxy.url, fence=True)
    watcher = await b.join("watcher", clean=False, expiry=100)
    await watcher.subscribe("gone")
    await a.join("client", will=WILL)
    proxy.cut()
    await until(lambda: (a.state, b.state) == ("fenced", "fenced"))
    proxy.heal()
    await until(lambda: (a.state, b.state) == ("member", "member"), 6 * DEAD_AFTER)
    again = await b.join("watcher", clean=False, expiry=100)
    await until(lambda: again.payloads() == [b"client"])
    assert a.member.failovers.count + b.member.failovers.count == 0


async def test_who_serves_alone_keeps_its_clients_until_it_is_back(cluster: Cluster, proxy: Proxy) -> None:
    (a,) = await cluster("a", url=proxy.url)
    (b,) = await cluster("b")
    old, stays = await a.join("client"), await a.join("stays")
    await stays.subscribe("t")
    proxy.cut()
    new = Client(b)
    assert (await new.connect("client")).reason == 0  # when b has buried a, and not before
    assert b.member.failovers.count == 1
    assert a.state == "alone" and "cannot" not in a.member.status()["trouble"]
    local = await a.join("local")  # nobody is asked
    await local.publish("t", b"x")
    await until(lambda: stays.payloads() == [b"x"])
    assert not old.closed
    proxy.heal()
    await until(lambda: a.state == "member", 6 * DEAD_AFTER)
    await until(lambda: old.closed)
    assert old.goodbye() == reasons.SESSION_TAKEN_OVER
    assert not (new.closed or stays.closed or local.closed)
    assert a.member.ownership.epochs.keys() == {"stays", "local"}
    assert b.member.ownership.epochs.keys() == {"client"}
    writer = await b.join("writer")
    await until(lambda: b.node.bus.wants("t"))
    await writer.publish("t", b"y")
    await until(lambda: stays.payloads() == [b"y"])


async def test_a_late_claim_of_a_node_that_was_buried_is_refused(cluster: Cluster, proxy: Proxy) -> None:
    """What it sent before it was cut off arrives after it is dead."""
    (a,) = await cluster("a", url=proxy.url)
    (b,) = await cluster("b")
    proxy.cut()
    late = Client(a)
    claim = asyncio.create_task(late.connect("client"))
    await until(lambda: b.member.failovers.count == 1)
    first = await b.join("client")
    epoch = b.member.ownership.epochs["client"]
    proxy.heal()
    await claim
    await until(lambda: a.state == "member", 6 * DEAD_AFTER)
    await asyncio.sleep(0.5)
    assert not first.closed and b.member.ownership.epochs["client"] == epoch
    assert late.closed and "client" not in a.node.sessions


async def test_redis_is_emptied_under_way(cluster: Cluster, redis_url: str) -> None:
    a, b = await cluster("a", "b")
    reader, writer = await b.join("reader"), await a.join("writer")
    await reader.subscribe("t/#")
    await writer.publish("kept", b"x", retain=True)
    await until(lambda: b.view.retained("kept") is not None)
    old = a.member.ownership.epochs["writer"]
    await a.member.store._redis.flushall()
    await until(lambda: a.state == b.state == "joining" or a.member.ownership.epochs.get("writer", 0) > old)
    await until(lambda: a.state == b.state == "member", 6 * DEAD_AFTER)
    await until(lambda: a.node.bus.wants("t/1"))
    assert not reader.closed and not writer.closed
    await writer.publish("t/1", b"y")
    await until(lambda: reader.payloads() == [b"y"])
    assert a.member.ownership.epochs["writer"] > old  # epochs only grow
    (c,) = await cluster("c")
    message = c.view.retained("kept")
    assert message is not None and message.payload == b"x"
    await c.join("writer")
    await until(lambda: writer.closed)
    assert a.member.failovers.count + b.member.failovers.count == 0


async def test_redis_is_restarted(cluster: Cluster, own_redis: Redis) -> None:
    """With its append-only file: everything goes on, and what its last second lost is written again."""
    a, b = await cluster("a", "b", url=own_redis.url)
    reader, writer = await b.join("reader"), await a.join("writer")
    await reader.subscribe("t")
    own_redis.kill()
    await asyncio.sleep(0.5)
    await asyncio.to_thread(own_redis.start)
    began = time.monotonic()
    await until(lambda: not a.member.lease.trouble and a.state == b.state == "member", 6 * DEAD_AFTER)
    other = await b.join("other")
    await other.subscribe("u")
    await until(lambda: a.node.bus.wants("u"))
    print(f"a member again {time.monotonic() - began:.1f} s after Redis came back")
    await writer.publish("t", b"x")
    await until(lambda: reader.payloads() == [b"x"])
    again = await b.join("writer")
    await until(lambda: writer.closed)
    assert not again.closed and a.member.failovers.count + b.member.failovers.count == 0


async def test_without_redis_from_the_start(cluster: Cluster, proxy: Proxy) -> None:
    proxy.cut()
    (a,) = await cluster("a", url=proxy.url)
    assert a.state == "alone"
    client = await a.join("client")
    proxy.heal()
    await until(lambda: a.state == "member", 6 * DEAD_AFTER)
    await until(lambda: "client" in a.member.ownership.epochs)
    assert not client.closed
