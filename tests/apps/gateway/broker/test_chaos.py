"""Several clients doing anything at all on a node with tight limits: its books stay in order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.broker.limits import Limits
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt.properties import Properties
from tests.apps.gateway.support import audit
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World

NAMES = ("alice", "bob", "charlie")
TOPICS = ("a", "a/b", "w", "$own")
FILTERS = ("a", "a/#", "+", "#", "$share/g/#", "$share/g/a", "$share/h/a/+", "w", "$own")

limits = st.builds(
    Limits,
    max_queued_bytes=st.sampled_from((600, 3000, 1 << 24)),
    max_queued_messages=st.sampled_from((2, 1000)),
    queue_full_policy=st.sampled_from(("drop_newest", "drop_oldest", "disconnect")),
    node_bytes=st.sampled_from((4000, 1 << 30)),
    inflight_window=st.sampled_from((1, 2, 1000)),
    max_retained_messages=st.sampled_from((1, 1000)),
    max_retained_bytes=st.sampled_from((700, 1 << 20)),
    max_subscriptions=st.sampled_from((2, 1000)),
    max_connections=st.sampled_from((2, 1000)),
    max_sessions=st.sampled_from((2, 1000)),
    publish_rate=st.sampled_from((0, 5)),
    topic_alias_maximum=st.sampled_from((0, 1, 64)),
    route_cache=st.sampled_from((1, 1000)),
    receive_maximum=st.sampled_from((1, 100)),
)
will = st.none() | st.builds(
    lambda qos, retain, delay: p.Will("w", b"gone", qos, retain, {0x18: delay} if delay else {}),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from((0, 3)),
)
joins = st.tuples(
    st.just("join"),
    st.sampled_from((3, 4, 5, 5)),
    st.booleans(),
    st.sampled_from((0, 2, 100)),
    will,
    st.sampled_from(({}, {0x21: 1}, {0x27: 150}, {0x22: 2})),
    st.sampled_from((0, 2)),
)
publishes = st.tuples(
    st.just("publish"),
    st.sampled_from(TOPICS),
    st.sampled_from((0, 1, 100, 500)),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from(({}, {0x02: 1}, {0x26: [("k", "v")]}, {0x23: 1})),
)
subscribes = st.tuples(
    st.just("subscribe"),
    st.sampled_from(FILTERS),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    st.sampled_from((0, 0, 7)),
)
moves = st.tuples(
    st.sampled_from(("unsubscribe", "stall", "read", "answer", "wait", "ack")), st.sampled_from(FILTERS)
)
ends = st.tuples(st.sampled_from(("drop", "disconnect", "kick", "forget")), st.just(""))
weighted = [joins, *[publishes] * 10, *[subscribes] * 2, *[moves] * 8, ends]
steps = st.tuples(st.sampled_from(NAMES), st.sampled_from(weighted).flatmap(lambda strategy: strategy))


def join(world: World, name: str, step: tuple) -> Client | None:
    _, level, clean, expiry, message, extra, keepalive = step
    properties: Properties = {0x11: expiry, **extra} if level == 5 else {}
    if message is not None and level < 5:
        message = p.Will(message.topic, message.payload, message.qos, message.retain)
    client = world.dial(level)
    client.connect(name, clean=clean, keepalive=keepalive, will=message, properties=properties)
    return None if client.closed else client


def act(world: World, client: Client, step: tuple) -> None:
    kind, argument = step[0], step[1]
    if kind == "publish":
        _, topic, size, qos, retain, extra = step
        client.publish(topic, b"x" * size, qos, retain, properties=extra if client.level == 5 else {})
    elif kind == "subscribe":
        _, filter, qos, no_local, as_published, identifier = step
        wanted = p.Filter(filter, qos)
        if client.level == 5:
            wanted = p.Filter(filter, qos, no_local and "$share" not in filter, as_published)
        properties: Properties = {0x0B: [identifier]} if identifier and client.level == 5 else {}
        client.send(p.Subscribe(client.next_id(), [wanted], properties))
    elif kind == "drop":
        client.drop()
    elif kind == "disconnect":
        client.send(p.Disconnect())
    elif kind == "kick":
        world.node.kick(client.client_id, 0x98, "", world.now)
    elif kind == "forget":
        world.node.forget(client.client_id, world.now)
    elif kind == "unsubscribe":
        client.send(p.Unsubscribe(client.next_id(), [argument]))
    elif kind == "stall":
        client.stall(len(argument) * 20)
    elif kind == "read":
        client.unstall()
    elif kind == "answer":
        client.polite = True
        client.unstall()
        client.polite = False
    elif kind == "wait":
        world.advance(1)
    else:  # an acknowledgement of something, perhaps
        client.send(p.Ack(4 + len(argument) % 4, 1 + len(argument) % 3))


@settings(deadline=None, max_examples=150)
@given(limits, st.lists(steps, min_size=30, max_size=80))
def test_the_books_stay_in_order(given_limits: Limits, walk: list[tuple[str, tuple]]) -> None:
    world = World(given_limits)
    here = {name: join(world, name, ("join", 5, True, 100, None, {}, 0)) for name in NAMES}
    for name, filter in zip(NAMES, ("#", "a/#", "$share/g/#"), strict=True):
        client = here[name]
        if client is not None and not client.closed:
            act(world, client, ("subscribe", filter, 2, False, False, 0))
    for name, step in walk:
        client = here[name]
        if step[0] == "join":
            here[name] = join(world, name, step)
        elif client is not None and not client.closed:
            act(world, client, step)
        world.turn()
        audit.check(world.node, world.clients)
        for client in world.clients:
            assert not client.connection.session or not client.closed
    world.advance(200, step=5)
    audit.check(world.node, world.clients)
    world.close()
