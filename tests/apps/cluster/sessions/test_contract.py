"""Of what a session store keeps over a crash, that which Redis keeps: the same tests, on a cluster's store.

The others ask for what the store of a node alone knows: what is queued without its doing (here bridges fill
queues, and count drops: `test_queues.py`), wills and retained messages (`members`).
"""

from __future__ import annotations

from collections.abc import Callable

from apps.gateway.broker.messages import Delivery
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from apps.gateway.sessions.batch import Outcome
from tests.apps.cluster.sessions.conftest import RemoteWorld
from tests.apps.gateway.sessions.contract import (
    LONG,
    away,
    fill,
    join,
    test_a_clean_session_costs_nothing,
    test_a_clean_start_forgets_everything,
    test_a_long_queue_comes_page_by_page_in_order,
    test_a_repeated_publish_is_not_acknowledged_before_the_first,
    test_a_suback_waits_for_the_commit,
    test_acknowledged_in_any_order_the_others_stay,
    test_all_retained_messages_reach_a_session_through_small_limits,
    test_an_incoming_identifier_is_known_after_the_crash,
    test_every_step_of_the_way_may_be_the_last,
    test_in_flight_messages_keep_their_identifiers,
    test_subscriptions_with_their_options,
    test_what_is_published_while_a_page_loads_comes_behind_it,
)
from tests.apps.gateway.support.client import Client

__all__ = [
    "test_a_clean_session_costs_nothing",
    "test_a_clean_start_forgets_everything",
    "test_a_long_queue_comes_page_by_page_in_order",
    "test_a_repeated_publish_is_not_acknowledged_before_the_first",
    "test_a_suback_waits_for_the_commit",
    "test_acknowledged_in_any_order_the_others_stay",
    "test_all_retained_messages_reach_a_session_through_small_limits",
    "test_an_incoming_identifier_is_known_after_the_crash",
    "test_every_step_of_the_way_may_be_the_last",
    "test_in_flight_messages_keep_their_identifiers",
    "test_subscriptions_with_their_options",
    "test_what_is_published_while_a_page_loads_comes_behind_it",
]


def test_a_purged_queue_stays_empty(stored: Callable[..., RemoteWorld]) -> None:
    world = stored()
    away(world, name="reader")
    fill(world, 4)
    world = world.crash()  # now the node knows how much there is
    session = world.node.sessions["reader"]
    assert (session.backlog, world.node.stats.queued) == (4, 4)
    assert session.purge() == 4
    world.turn()
    assert world.node.stats.drops["purged"] == 4
    assert not join(world.crash()).take()


def publish_exactly_once(world: RemoteWorld, name: str, dup: bool = False) -> Client:
    """A QoS 2 message, up to its PUBREC."""
    writer = join(world, name)
    writer.send(p.Publish("t/a", b"x", 2, False, dup, 7, {}))
    assert writer.take_one(p.Ack).type == pt.PUBREC
    return writer


def names_known(world: RemoteWorld) -> int:
    """Forgets what it may; how many QoS 2 messages are then known by name."""
    world.backend.forget_onces(world.store.done(0))
    return sum(world.redis.hlen(key) for key in world.redis.keys("p:ids:*"))


def test_what_a_qos_2_message_is_known_by_goes_when_it_is_over(stored: Callable[..., RemoteWorld]) -> None:
    world = stored()
    away(world, 2)
    writer = publish_exactly_once(world, "writer")
    assert names_known(world) == 1
    assert not world.store.done(0)
    writer.ack(pt.PUBREL, 7)
    assert writer.take_one(p.Ack).type == pt.PUBCOMP
    assert not world.store.done(1)  # bridges may be behind
    assert names_known(world) == 0
    assert join(world).payloads() == [b"x"]


def test_the_name_of_a_qos_2_message_that_may_be_there_twice_stays(
    stored: Callable[..., RemoteWorld],
) -> None:
    world = stored()
    away(world, 2)
    publish_exactly_once(world, "writer")
    world = world.crash()
    writer = publish_exactly_once(world, "writer", dup=True)
    writer.ack(pt.PUBREL, 7)
    assert names_known(world) == 1  # a bridge may have the second one still before it
    assert join(world).payloads() == [b"x"]


def test_what_waited_for_a_client_that_begins_anew_is_counted(stored: Callable[..., RemoteWorld]) -> None:
    world = stored()
    away(world)
    fill(world, 3)
    world.node.sessions.clear()  # as of a node that has not had it
    world.store.forget("reader")
    world.turn()
    assert world.node.stats.drops["session_ended"] == 3
    assert not world.store._strays


def test_a_page_is_asked_for_while_messages_go_out(stored: Callable[..., RemoteWorld]) -> None:
    """What goes out between the question and its transaction is counted once."""
    world = stored()
    away(world)
    fill(world, 1300)
    reader = world.dial()
    reader.polite = True
    reader.connect("reader", clean=False, properties=dict(LONG))
    got = reader.payloads()
    assert got == [b"%d" % number for number in range(1300)]
    assert world.node.sessions["reader"].backlog == 0


def test_nothing_is_gathered_for_a_store_that_takes_nothing(stored: Callable[..., RemoteWorld]) -> None:
    world = stored()
    away(world)
    writer = world.join("writer")
    writer.publish("t/kept", b"x", 1, retain=True)
    writer.take()
    world.store.full = True
    before = world.node.stats.drops["node_memory"]
    session = world.node.sessions["reader"]
    session.deliver(Delivery(world.node.retained.get("t/kept"), 1, True, b""))
    assert world.node.stats.drops["node_memory"] == before + 1 and world.store._batch.is_empty


def test_who_may_not_repeat_a_message_now_repeats_it_later(stored: Callable[..., RemoteWorld]) -> None:
    """A 3.x client, whose first attempt may have been taken: it is still the same message."""
    world = stored()
    away(world, 2)
    writer = world.join("writer", level=4, clean=False)
    writer.send(p.Publish("t/a", b"x", 2, False, False, 7, {}))
    world = world.crash()  # and the PUBREC did not come
    world.bridge.takes = False
    writer = world.join("writer", level=4, clean=False)
    repeated = p.Publish("t/a", b"x", 2, False, True, 7, {})
    writer.send(repeated)
    assert writer.closed and not writer.take()
    world.bridge.takes = True
    writer = world.join("writer", level=4, clean=False)
    writer.send(repeated)
    assert writer.take_one(p.Ack).type == pt.PUBREC
    assert join(world).payloads() == [b"x"]


def test_a_redis_that_may_lose_what_it_acknowledged_is_found(stored: Callable[..., RemoteWorld]) -> None:
    world = stored()
    found: dict[str, str] = world.redis.config_get("appendonly", "maxmemory-policy")
    try:
        world.redis.config_set("appendonly", "yes")
        world.redis.config_set("maxmemory-policy", "noeviction")
        assert world.backend.risks() == []
        world.redis.config_set("appendonly", "no")
        world.redis.config_set("maxmemory-policy", "allkeys-lru")
        eviction, memory_only = world.backend.risks()
        assert "allkeys-lru" in eviction and "appendonly" in memory_only
    finally:
        for key, value in found.items():
            world.redis.config_set(key, value)


def test_while_redis_takes_nothing_nothing_is_acknowledged(
    stored: Callable[..., RemoteWorld],
) -> None:
    world = stored()
    reader = join(world)
    reader.subscribe("t/#", qos=1)
    fill(world, 2)
    first, second = reader.take_publishes()
    write, world.backend.write = world.backend.write, lambda batch: Outcome(error="OOM")  # type: ignore[method-assign]
    reader.ack(pt.PUBACK, first.packet_id)
    reader.send(p.Subscribe(9, [p.Filter("u/#", 1)], {}))
    assert not reader.take() and not world.store.status()["ok"]
    world.backend.write = write  # type: ignore[method-assign]
    world.wait()
    assert isinstance(reader.take_one(p.Suback), p.Suback) and world.store.status()["ok"]
    world = world.crash()
    assert [each.packet_id for each in join(world).take_publishes()] == [second.packet_id]
    assert set(world.node.sessions["reader"].subscriptions) == {"t/#", "u/#"}


def test_a_client_that_another_node_took_is_let_go(stored: Callable[..., RemoteWorld]) -> None:
    world = stored()
    reader = join(world)
    reader.subscribe("t/#", qos=1)
    world.redis.set("p:owner:reader", "99 other incarnation")
    reader.send(p.Publish("w", b"x", 2, False, False, 7, {}), p.Subscribe(9, [p.Filter("u/#", 1)], {}))
    last = reader.take()[-1]
    assert isinstance(last, p.Disconnect) and last.reason == reasons.SESSION_TAKEN_OVER
    assert "reader" not in world.node.sessions
    assert list(world.redis.hkeys("p:subs:reader")) == [b"t/#"]
    assert not world.bridge.published  # without a name it would be another message than its repetition
