"""A node dies: one survivor sees to what it leaves behind."""

from __future__ import annotations

import asyncio
import time

import pytest

from apps.cluster.coordination.member import NameTaken
from apps.gateway.broker.messages import Message
from apps.gateway.mqtt import packets as p
from tests.apps.cluster.coordination.conftest import Cluster
from tests.apps.cluster.coordination.hosts import DEAD_AFTER, Client
from tests.support.waiting import until


def will(payload: bytes, delay: int = 0) -> p.Will:
    return p.Will("gone", payload, 1, False, {0x18: delay} if delay else {})


async def test_one_survivor_publishes_the_wills_and_frees_the_names(cluster: Cluster) -> None:
    a, b, c = await cluster("a", "b", "c")
    watcher = await b.join("watcher")
    await watcher.subscribe("gone")
    clients = [await a.join(f"c{n}", will=will(str(n).encode())) for n in range(450)]
    await clients[0].subscribe("wanted/#")
    leaver = await a.join("leaver", will=will(b"never"))
    leaver.disconnect()
    await until(lambda: "leaver" not in a.member.ownership.epochs)
    began = time.monotonic()
    await a.die()
    await until(lambda: b.member.failovers.count + c.member.failovers.count)
    assert DEAD_AFTER - 1 < time.monotonic() - began < DEAD_AFTER + 2
    got: list[bytes] = []
    await until(lambda: got.extend(watcher.payloads()) or len(got) >= 450)
    await asyncio.sleep(0.5)
    got += watcher.payloads()
    assert sorted(got) == sorted(str(n).encode() for n in range(450))  # each once, and not the leaver's
    assert b.member.failovers.count + c.member.failovers.count == 1
    assert b.deaths + c.deaths == ["a"]
    assert not b.node.bus.wants("wanted/x") and not c.node.bus.wants("wanted/x")
    store = b.member.store._redis

    async def traces() -> list[bytes]:
        return [key async for key in store.scan_iter("t:*") if b":owner:c" in key or b":a " in key]

    while await traces():
        assert time.monotonic() < began + 20
        await asyncio.sleep(0.05)
    assert await store.hlen("t:graves") == 0


async def test_its_clients_come_back_elsewhere(cluster: Cluster) -> None:
    """At once, before anybody knows that the node is dead: they wait, and are let in."""
    a, b = await cluster("a", "b")
    ids = [f"c{n}" for n in range(50)]
    for client_id in ids:
        await a.join(client_id)
    await a.die()
    began = time.monotonic()
    await asyncio.gather(*(b.join(client_id) for client_id in ids))
    assert time.monotonic() - began < DEAD_AFTER + 2
    assert b.member.ownership.epochs.keys() == set(ids)


async def test_a_delayed_will_waits_and_is_off_when_the_client_is_back(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    watcher = await b.join("watcher")
    await watcher.subscribe("gone")
    await a.join("back", clean=False, expiry=100, will=will(b"back", 3))
    await a.join("away", clean=False, expiry=100, will=will(b"away", 3))
    await a.die()
    await until(lambda: b.member.failovers.count)
    died = time.monotonic()
    await b.join("back", clean=False, expiry=100)
    got: list[bytes] = []
    await until(lambda: got.extend(watcher.payloads()) or got)
    assert time.monotonic() - died > 1.5
    await asyncio.sleep(1.0)
    assert got + watcher.payloads() == [b"away"]


async def test_a_grave_digger_that_dies_is_replaced(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = await cluster("a", "b", "c")
    watcher = await c.join("watcher")
    await watcher.subscribe("gone")
    await a.join("client", will=will(b"client"))
    stuck = asyncio.Event()

    async def publish(messages: list[Message]) -> int:
        await stuck.wait()
        return 0

    monkeypatch.setattr(b.view, "publish", publish)
    monkeypatch.setattr(
        c.member._failure_detector, "look", lambda now, heartbeats: {}
    )  # so that b is the one
    await a.die()
    await until(lambda: b.member.failovers.count == 1)
    monkeypatch.undo()
    monkeypatch.setattr(b.view, "publish", publish)
    await b.die()
    await until(lambda: c.member.failovers.count == 2)
    await until(lambda: watcher.payloads() == [b"client"])


async def test_a_node_that_starts_again_buries_its_former_life(cluster: Cluster) -> None:
    (a,) = await cluster("a")
    await a.join("client", will=will(b"bye"))
    await a.die()
    began = time.monotonic()
    (again,) = await cluster("a")
    assert time.monotonic() - began < DEAD_AFTER + 2
    watcher = await again.join("watcher")
    await watcher.subscribe("gone")
    await until(lambda: again.member.failovers.count == 1)
    await until(lambda: again.member.failovers.wills == 1)
    assert again.deaths == []  # its own records are its own business
    await again.join("client")


async def test_a_name_has_one_node(cluster: Cluster) -> None:
    await cluster("a")
    with pytest.raises(NameTaken):
        await cluster("a")


async def test_clocks_that_differ_kill_nobody(cluster: Cluster) -> None:
    (a,) = await cluster("a", skew=7200.0)
    (b,) = await cluster("b", skew=-7200.0)
    await asyncio.sleep(DEAD_AFTER + 1)
    assert (a.state, b.state) == ("member", "member")
    assert a.member.failovers.count + b.member.failovers.count == 0
    watcher = await b.join("watcher")
    await watcher.subscribe("gone")
    await a.join("client", will=p.Will("gone", b"x", 1, False, {0x02: 60}))
    await a.die()
    await until(lambda: b.member.failovers.wills == 1)
    got = await watcher.expect(p.Publish)
    assert 55 <= int(got.properties[0x02]) <= 60  # type: ignore[call-overload]


async def test_who_leaves_in_order_is_not_buried(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    watcher = await b.join("watcher")
    await watcher.subscribe("gone")
    await a.join("client", will=will(b"1"))
    await a.stop()  # wills by the rules of a lost connection
    await until(lambda: watcher.payloads() == [b"1"])
    client = Client(b)
    began = time.monotonic()
    assert (await client.connect("client")).reason == 0
    assert time.monotonic() - began < 1.0
    await asyncio.sleep(DEAD_AFTER + 1)
    assert b.member.failovers.count == 0 and watcher.payloads() == []
