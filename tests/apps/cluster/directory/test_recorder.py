"""What the gateway's sessions are in the database, a moment later."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connections
from django.utils import timezone

from apps.cluster.directory import names, recorder, writer
from apps.cluster.directory.recorder import BY_CLUSTER, BY_NODE, Recorder
from apps.cluster.models import ClusterNode, SessionInfo, SubscriptionInfo
from apps.common.database import DatabaseUnavailable
from apps.gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL, Properties
from tests.apps.cluster.factories import SessionFactory
from tests.apps.cluster.support.nodes import inbox_of
from tests.apps.gateway.conftest import make_world, world
from tests.apps.gateway.support.world import World

__all__ = ["make_world", "world"]
pytestmark = pytest.mark.django_db(transaction=True)

Row = Callable[[str], Any]


@pytest.fixture(autouse=True)
async def no_connection_stays_open() -> AsyncIterator[None]:
    """Of the thread in which the tests ask; PostgreSQL does not drop a database that is in use."""
    yield
    await sync_to_async(connections.close_all)()


@pytest.fixture
async def box(world: World) -> AsyncIterator[Recorder]:
    box = inbox_of(world)
    yield box
    await box.stop()


def lasting(seconds: int) -> Properties:
    return {SESSION_EXPIRY_INTERVAL: seconds}


@sync_to_async
def row(client_id: str) -> SessionInfo | None:
    return SessionInfo.objects.filter(client_id=client_id).first()


async def the(client_id: str) -> SessionInfo:
    found = await row(client_id)
    assert found is not None
    return found


@sync_to_async
def filters(client_id: str) -> list[str]:
    return sorted(map(str, SubscriptionInfo.objects.filter(client_id=client_id)))


async def test_a_connection_is_recorded(world: World, box: Recorder) -> None:
    world.join("pump", username="pumper", keepalive=30, properties=lasting(100))
    await box.flush()
    pump = await the("pump")
    assert (pump.online, pump.node, pump.username, pump.level) == (True, "test", "pumper", 5)
    assert (pump.address, pump.transport, pump.keepalive) == ("192.0.2.1", "tcp", 30)
    assert (pump.expiry_interval, pump.expires_at, pump.disconnected_at) == (100, None, None)
    assert pump.connected_at is not None and pump.connected_at.timestamp() == world.now


async def test_a_session_that_stays_goes_offline(world: World, box: Recorder) -> None:
    pump = world.join("pump", username="pumper", properties=lasting(100))
    await box.flush()
    world.advance(5)
    pump.drop()
    await box.flush()
    found = await the("pump")
    assert not found.online and found.username == "pumper" and found.address == "192.0.2.1"
    assert found.disconnected_at is not None and found.disconnected_at.timestamp() == world.now
    assert found.reason == "connection lost" and found.reason_code == 0x80
    assert found.expires_at is not None and found.expires_at.timestamp() == world.now + 100


async def test_a_visit_between_two_writes_leaves_its_session(world: World, box: Recorder) -> None:
    world.join("pump", properties=lasting(100)).drop()
    await box.flush()
    found = await the("pump")
    assert not found.online and found.address == "192.0.2.1" and found.level == 5


async def test_a_session_that_ends_is_forgotten(world: World, box: Recorder) -> None:
    pump = world.join("pump")
    pump.subscribe("a/#")
    await box.flush()
    assert await filters("pump") == ["a/#"]
    pump.drop()
    await box.flush()
    assert await row("pump") is None and await filters("pump") == []


async def test_an_expired_session_is_forgotten(world: World, box: Recorder) -> None:
    world.join("pump", properties=lasting(100)).drop()
    await box.flush()
    world.advance(102)
    await box.flush()
    assert await row("pump") is None


async def test_subscriptions_come_and_go(world: World, box: Recorder) -> None:
    pump = world.join("pump")
    pump.subscribe("a/+", qos=1)
    pump.subscribe("$share/g/b", qos=2)
    await box.flush()
    assert await filters("pump") == ["$share/g/b", "a/+"]
    assert (await the("pump")).subscriptions == 2
    pump.unsubscribe("a/+")
    pump.subscribe("$share/g/b")
    await box.flush()
    kept = await SubscriptionInfo.objects.aget(client_id="pump")
    assert (kept.filter, kept.share, kept.qos, kept.shape, kept.node) == ("b", "g", 0, ".", "test")
    assert (await the("pump")).subscriptions == 1


async def test_a_queue_is_followed_until_it_is_empty(world: World, box: Recorder) -> None:
    pump = world.join("pump", properties=lasting(100))
    pump.subscribe("a", qos=1)
    pump.drop()
    await box.flush()
    publisher = world.join("publisher")
    publisher.publish("a", b"12345", 1)
    await box.flush()
    assert (await the("pump")).queued == 1
    publisher.publish("a", b"12345", 1)
    await box.flush()
    found = await the("pump")
    assert (found.queued, found.online) == (2, False) and found.queued_bytes > 10
    world.join("pump", properties=lasting(100), clean=False)
    await box.flush()
    assert (await the("pump")).queued == 0


async def test_long_names_are_shortened_and_stay_apart(world: World, box: Recorder) -> None:
    for client_id in ("p" * 3000, "p" * 3001):
        world.join(client_id).subscribe("a/" + "b" * 2000)
    await box.flush()
    found = await the(names.client_key("p" * 3000))
    assert found.online and len(found.client_id) == 256
    assert await SessionInfo.objects.acount() == 2
    assert await SubscriptionInfo.objects.acount() == 2
    await box.flush()
    assert await SessionInfo.objects.acount() == 2


async def test_a_former_life_is_cleared_away(world: World) -> None:
    for model, columns in (
        (SessionInfo, {"online": True, "level": 5, "created_at": "2026-01-01T00:00Z"}),
        (SubscriptionInfo, {"filter": "a", "shape": ".", "qos": 0}),
    ):
        await model.objects.acreate(client_id="ghost", node="test", **columns)
        await model.objects.acreate(client_id="elsewhere", node="other", **columns)
    world.join("pump")
    box = inbox_of(world)
    world.join("tap")
    await box.flush()
    assert await row("ghost") is None and await filters("ghost") == []
    assert (await the("elsewhere")).online and await filters("elsewhere") == ["a"]
    assert (await the("pump")).online and (await the("tap")).online
    await box.stop()
    assert await row("pump") is None
    assert (await ClusterNode.objects.aget(name="test")).state == "down"


async def test_stored_sessions_outlive_the_process(world: World) -> None:
    box = inbox_of(world, kept=BY_NODE)
    world.join("pump", properties=lasting(100)).drop()
    world.join("tap")
    await box.flush()
    await SessionInfo.objects.acreate(
        client_id="lost",
        node="test",
        online=False,
        level=5,
        created_at="2026-01-01T00:00Z",
        expiry_interval=9,
    )
    again = inbox_of(world, kept=BY_NODE)
    await again.flush()
    assert await row("lost") is None  # the store does not have it
    found = await the("pump")
    assert not found.online and found.level == 5 and found.address == "192.0.2.1"
    await again.stop()
    assert not (await the("pump")).online and await row("tap") is None
    await box.stop()


async def test_the_newer_connection_holds_whoever_writes_last(world: World, make_world: Any) -> None:
    here, there = make_world(), make_world()
    first, second = inbox_of(here, "here"), inbox_of(there, "there")
    await first.flush()
    await second.flush()
    old = here.join("pump", properties=lasting(100))
    old.subscribe("a")
    await first.flush()
    there.now += 1
    there.join("pump", properties=lasting(100)).subscribe("a")
    await second.flush()
    assert (await the("pump")).node == "there"
    first.changed("pump")  # it does not know yet
    first.connected("pump", None, old.connection.peer, 5)
    await first.flush()
    assert (await the("pump")).node == "there"
    old.drop()
    await first.flush()
    here.node.forget("pump", here.now)
    await first.flush()
    found = await the("pump")
    assert (found.node, found.online) == ("there", True)
    for box in (first, second):
        await box.stop()


async def test_the_higher_epoch_holds_whatever_the_clocks_say(make_world: Any) -> None:
    here, there = make_world(), make_world()
    there.now = here.now - 3600  # a machine whose clock is an hour late
    first, second = inbox_of(here, "here"), inbox_of(there, "there")
    first.epoch_of, second.epoch_of = {"pump": 7}.__getitem__, {"pump": 8}.__getitem__
    for each in (first, second):
        await each.flush()
    for each in (here, there):
        each.join("pump", properties=lasting(100))
    await second.flush()
    await first.flush()
    found = await the("pump")
    assert (found.node, found.epoch) == ("there", 8)
    for box in (first, second):
        await box.stop()


async def test_it_catches_up_when_the_database_is_back(
    world: World, box: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await box.flush()

    def away(*args: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(writer, "write", away)
    pump = world.join("pump", properties=lasting(100))
    pump.subscribe("a")
    with pytest.raises(DatabaseUnavailable):
        await box.flush()
    assert not box.status()["ok"] and box.status()["waiting"] == 1
    pump.drop()
    with pytest.raises(DatabaseUnavailable):
        await box.flush()
    monkeypatch.undo()
    await box.flush()
    found = await the("pump")
    assert not found.online and found.reason == "connection lost" and found.address == "192.0.2.1"
    assert await filters("pump") == ["a"] and box.status()["ok"]


async def test_what_it_could_not_remember_is_compared(
    world: World, box: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await box.flush()
    gone = world.join("gone")
    await box.flush()
    monkeypatch.setattr(recorder, "MAX_WAITING", 3)
    for number in range(10):
        world.join(f"pump-{number}").subscribe("a")
    gone.drop()
    assert box.status()["waiting"] == 3
    monkeypatch.undo()
    await box.flush()
    assert await SessionInfo.objects.filter(online=True).acount() == 10
    assert await SubscriptionInfo.objects.acount() == 10
    assert await row("gone") is None


@sync_to_async
def another_node(name: str, state: str, age: timedelta) -> None:
    at = timezone.now() - age
    ClusterNode.objects.create(name=name, incarnation="x", state=state, started_at=at, seen_at=at)
    SessionFactory(client_id=f"of {name}", node=name, online=True)


@sync_to_async
def known() -> tuple[set[str], set[str]]:
    sessions = SessionInfo.objects.exclude(node="test")
    return set(ClusterNode.objects.values_list("name", flat=True)), {str(row.client_id) for row in sessions}


@pytest.mark.parametrize(("kept", "left"), [(BY_NODE, {"of b"}), (BY_CLUSTER, {"of a", "of b", "of c"})])
async def test_nodes_that_are_gone_for_good_are_forgotten(world: World, kept: int, left: set[str]) -> None:
    """Each container has a name of its own, and some die with nobody to notice."""
    await another_node("a", "up", timedelta(seconds=3700))
    await another_node("b", "down", timedelta(seconds=3500))
    await another_node("c", "down", timedelta(days=400))
    world.now = time.time()
    box = inbox_of(world, kept=kept, forget_after=3600.0)
    await box.flush()
    assert await known() == ({"test", "b"}, left)
    await another_node("d", "down", timedelta(days=400))
    await box.flush()  # not at every write
    assert "d" in (await known())[0]
    await box.stop()
