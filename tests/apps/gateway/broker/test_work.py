"""What one client may cost: filters in a packet, wildcards, levels, topics that are denied."""

from __future__ import annotations

from apps.gateway.broker.connection import MAX_WORK
from apps.gateway.broker.retained import kept_size
from apps.gateway.broker.subscribing import at_once
from apps.gateway.broker.topictree import LEVEL
from apps.gateway.mqtt import codec, reasons
from apps.gateway.mqtt import packets as p
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.doors import Door, Listed


def test_filters_beyond_the_limit_are_refused(make_world: Worlds) -> None:
    world = make_world(max_subscribe_filters=70)
    client = world.join("client")
    client.send(p.Subscribe(1, [p.Filter(f"f/{number}", 1) for number in range(100)]))
    world.answer()
    suback = client.take_one(p.Suback)
    assert suback.reasons == [1] * 70 + [reasons.QUOTA_EXCEEDED] * 30
    assert len(world.node.sessions["client"].subscriptions) == 70


def test_of_a_filter_named_twice_the_last_counts(make_world: Worlds) -> None:
    world = make_world()
    client = world.join("client")
    client.send(p.Subscribe(1, [p.Filter("a", 0), p.Filter("b", 1), p.Filter("a", 2)]))
    assert client.take_one(p.Suback).reasons == [0, 1, 2]
    assert world.node.sessions["client"].subscriptions["a"].qos == 2
    assert world.node.router.trie.count == 2


def test_wildcards_have_a_limit_of_their_own(make_world: Worlds) -> None:
    world = make_world(max_wildcard_subscriptions=2)
    client = world.join("client")
    client.send(p.Subscribe(1, [p.Filter(each, 0) for each in ("a/+", "b/#", "+/c", "plain")]))
    assert client.take_one(p.Suback).reasons == [0, 0, reasons.QUOTA_EXCEEDED, 0]
    client.send(p.Unsubscribe(2, ["b/#"]), p.Subscribe(3, [p.Filter("+/c", 0)]))
    assert client.expect(p.Unsuback).reasons == [0]
    assert client.expect(p.Suback).reasons == [0]


def test_many_filters_are_unsubscribed_in_turns(make_world: Worlds) -> None:
    world = make_world()
    client = world.join("client")
    names = [f"f/{number}" for number in range(200)]
    client.send(p.Subscribe(1, [p.Filter(name, 0) for name in names]))
    world.answer()
    client.take_one(p.Suback)
    client.send(p.Unsubscribe(2, [*names, "never"]))
    world.answer()
    assert client.take_one(p.Unsuback).reasons == [0] * 200 + [reasons.NO_SUBSCRIPTION_EXISTED]
    assert world.node.router.trie.count == 0


def test_nothing_is_cached_for_a_denied_topic(make_world: Worlds) -> None:
    world = make_world(door=Door(Listed({f"secret/{number}": 0 for number in range(500)})))
    client = world.join("client")
    routes = world.node.router._routes
    before = len(routes)
    for number in range(500):
        client.publish(f"secret/{number}", b"x", 1)
    assert len(routes) == before
    connection = world.node.sessions["client"].connection
    assert connection is not None and not connection._publish_grants


def test_what_a_level_costs_is_counted(make_world: Worlds) -> None:
    world = make_world()
    client = world.join("client")
    held = world.node.stats.held
    client.subscribe("/".join("abcdefgh"))
    assert world.node.stats.held - held >= 8 * LEVEL
    client.publish("/".join("abcdefgh"), b"x", retain=True)
    message = world.node.retained.get("/".join("abcdefgh"))
    assert message is not None and world.node.retained.bytes == kept_size(message) >= 8 * LEVEL


def test_the_cache_of_routes_is_bounded_by_levels(make_world: Worlds) -> None:
    world = make_world(route_cache=100)
    client = world.join("client")
    for number in range(100):
        client.publish("/".join([str(number)] * 30), b"x")
    assert world.node.router._routes.levels <= 4 * 100 + 30


def test_a_subscription_outdates_many_cached_topics_at_once(make_world: Worlds) -> None:
    world = make_world()
    client = world.join("client")
    for number in range(5000):
        client.publish(f"own/{number}", b"x")
    generation = world.node.router.generation
    client.subscribe("own/#")
    assert world.node.router.generation == generation + 1
    client.publish("own/7", b"seen")
    assert client.payloads()[-1:] == [b"seen"]


def test_an_acl_of_many_rules_is_asked_a_few_times_in_a_turn(make_world: Worlds) -> None:
    world = make_world(door=Door(Listed(cost=MAX_WORK // 4)))
    client = world.join("client")
    before = world.node.stats.publishes_in
    new = [p.Publish(f"new/{number}", b"x") for number in range(50)]
    client.connection.feed(b"".join(codec.encode(each, 5) for each in new), world.now)
    assert world.node.stats.publishes_in - before <= 5
    world.turn()
    world.answer()
    assert world.node.stats.publishes_in - before == 50
    filters = [p.Filter(f"f/{number}", 1) for number in range(20)]
    client.send(p.Subscribe(1, filters))
    world.answer()
    assert client.take_one(p.Suback).reasons == [1] * 20


def test_how_many_filters_are_decided_together() -> None:
    assert [at_once(Listed(cost=cost)) for cost in (1, 25, 100, 10_000)] == [64, 64, 16, 1]
    assert at_once(None) == 64
