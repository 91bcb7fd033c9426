"""One live connection for a client id in the whole cluster [MQTT-3.1.4-3]."""

from __future__ import annotations

import asyncio
import time

import pytest

from apps.cluster.coordination.peer_messages import EVICT, SIGNED, purpose
from apps.cluster.coordination.store import pack
from apps.common.signed import sign
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from tests.apps.cluster.coordination.conftest import Cluster
from tests.apps.cluster.coordination.hosts import Client
from tests.support.waiting import until


async def test_the_newer_wins_on_whatever_node(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    first = await a.join("client")
    second = await b.join("client")
    assert first.closed and first.goodbye() == reasons.SESSION_TAKEN_OVER
    third = await a.join("client")
    assert second.closed and second.goodbye() == reasons.SESSION_TAKEN_OVER
    fourth = await a.join("client")  # on the same node
    assert third.closed and not fourth.closed
    assert (a.node.stats.connections, b.node.stats.connections) == (1, 0)
    assert a.member.ownership.epochs.keys() == {"client"} and b.member.ownership.epochs == {}


async def test_what_is_not_signed_disconnects_nobody(cluster: Cluster) -> None:
    """Who writes to Redis tells a node to let a client go, or repeats what another node was told."""
    a, b = await cluster("a", "b")
    client = await a.join("client")
    name, store, reader = a.node.name, b.member.store, a.member._signed
    evict = [EVICT, b.node.name, [["client", a.member.ownership.epochs["client"], False]]]
    other = sign(purpose(b.node.name), {"message": evict})
    for channel in ("news", f"to:{name}"):
        for forged in (evict, [SIGNED, b.node.name, "guessed"], [SIGNED, b.node.name, other]):
            await store._redis.publish(f"{store.prefix}:{channel}", pack(forged))
    await until(lambda: reader.refused == 4)
    assert not client.closed
    recorded = sign(purpose(name), {"message": evict})
    await store.tell([(f"to:{name}", [SIGNED, b.node.name, recorded])])
    await until(lambda: client.closed)
    client = await a.join("client")
    await store.tell([(f"to:{name}", [SIGNED, b.node.name, recorded]), (f"to:{name}", [SIGNED, "b", ""])])
    await until(lambda: reader.refused == 5)
    assert not client.closed


async def test_a_client_that_left_is_nobodys(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    client = await a.join("client")
    client.disconnect()
    await until(lambda: not a.member.ownership.epochs)
    await until(lambda: a.member.ownership._steps == [])
    await b.join("client")
    assert a.member.ownership.takeovers == 0


async def test_a_client_id_is_kept_while_its_session_is_read(cluster: Cluster) -> None:
    """What is said of the connection before this one comes late."""
    (a,) = await cluster("a")
    ownership = a.member.ownership
    with ownership.claiming("client"):
        assert await ownership.claim("client", False, None, 0) == 0
        ownership.changed("client")
        await asyncio.sleep(0.1)
        assert "client" in ownership.epochs
    await until(lambda: not ownership.epochs)


async def test_a_session_lives_on_one_node(cluster: Cluster) -> None:
    """Also while its client is away: it ends there when the client comes to another node."""
    a, b = await cluster("a", "b")
    client = await a.join("client", clean=False, expiry=100)
    await client.subscribe("t")
    client.drop()
    assert "client" in a.node.sessions
    await b.join("client", clean=False, expiry=100)
    assert "client" not in a.node.sessions and a.node.router.trie.count == 0


async def test_a_will_of_a_client_that_was_taken_over_is_published(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    watcher = await b.join("watcher")
    await watcher.subscribe("gone")
    await a.join("client", will=p.Will("gone", b"client", 1, False, {}))
    await b.join("client")
    await until(lambda: watcher.payloads() == [b"client"])


async def test_a_delayed_will_is_off_when_the_client_goes_on_elsewhere(cluster: Cluster) -> None:
    a, b = await cluster("a", "b")
    watcher = await b.join("watcher")
    await watcher.subscribe("gone")
    client = await a.join("client", False, expiry=100, will=p.Will("gone", b"x", 1, False, {0x18: 1}))
    client.drop()
    await b.join("client", clean=False)
    await asyncio.sleep(1.8)
    assert watcher.payloads() == []


@pytest.mark.parametrize(
    "client_id", ["a b", "a\nb", "*[?]\\", "söze 客户端 🛰", "x" * 60_000, "'\"{}$:", "%s %d", "0 a b"]
)
async def test_client_ids_are_text_whatever_is_in_them(cluster: Cluster, client_id: str) -> None:
    a, b = await cluster("a", "b")
    will = p.Will("gone", b"bye", 0, False, {})
    first = await a.join(client_id, will=will)
    second = await b.join(client_id, will=will)
    assert first.closed and not second.closed
    second.disconnect()
    await until(lambda: not b.member.ownership.epochs)


async def test_many_are_taken_over_at_once(cluster: Cluster) -> None:
    """Five thousand, back and forth, on one loop: busy for seconds, which nobody may take for death."""
    a, b = await cluster("a", "b", dead_after=60)
    ids = [f"client-{number}" for number in range(5000)]
    for host in (a, b, a):
        began = time.monotonic()
        clients = [Client(host) for _ in ids]
        for client, client_id in zip(clients, ids, strict=True):
            client.send(p.Connect(client_id, 5, True, 0, None, None, None, {}))
        await until(lambda clients=clients: all(client.link.waiting for client in clients))
        print(f"5,000 clients connected to {host.name} in {time.monotonic() - began:.2f} s")
        assert {(await client.expect(p.Connack)).reason for client in clients} == {0}
        assert host.node.stats.connections == len(ids)
    assert b.node.stats.connections == 0
    await until(lambda: len(a.member.ownership.epochs) == len(ids) and not b.member.ownership.epochs)


async def test_two_clients_fight_for_one_name(cluster: Cluster) -> None:
    """Both connect again whenever they are thrown out; in the end one has it."""
    a, b = await cluster("a", "b")
    for _ in range(30):
        first, second = Client(a), Client(b)
        connacks = await asyncio.gather(first.connect("client"), second.connect("client"))
        assert [connack.reason for connack in connacks] == [0, 0]
        await until(lambda: a.node.stats.connections + b.node.stats.connections == 1)
    assert first.closed != second.closed
