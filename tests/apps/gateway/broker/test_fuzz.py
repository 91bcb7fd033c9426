"""Anything that a peer may send, in any pieces and in every state: nothing escapes, nobody else notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.broker.limits import Limits
from apps.gateway.mqtt import packets as p
from tests.apps.gateway.support import audit, mutations
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.doors import Door, Listed
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)


def new(world: World, level: int) -> Client:
    return world.dial(level)


def undecided(world: World, level: int) -> Client:
    """CONNECT is waiting for the authenticator."""
    world.door.slow = True
    client = world.dial(level)
    client.connect("attacker")
    return client


def challenged(world: World, level: int) -> Client:
    client = world.dial(5)
    client.connect("attacker", properties={0x15: "RIDDLE"})
    return client


def connected(world: World, level: int) -> Client:
    return world.join("attacker", level, clean=False, properties={0x11: 100} if level == 5 else {})


def busy(world: World, level: int) -> Client:
    """With every kind of exchange under way."""
    client = connected(world, level)
    client.subscribe("t/#", "a/+", "$share/g/t", qos=2)
    for packet_id, qos in ((1, 2), (2, 1), (3, 2)):
        client.send(p.Publish("t", b"x", qos, packet_id=packet_id))
    client.ack(5, 3)
    return client


def asking(world: World, level: int) -> Client:
    """A PUBLISH is waiting for the ACL."""
    client = connected(world, level)
    client.publish("asked", b"x", 1)
    return client


def stalled(world: World, level: int) -> Client:
    client = busy(world, level)
    client.stall()
    return client


def throttled(world: World, level: int) -> Client:
    client = connected(world, level)
    client.send(*[p.Publish("t")] * 1100)
    return client


STATES = (new, undecided, challenged, connected, busy, asking, stalled, throttled)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@settings(deadline=None, max_examples=60)
@given(
    level=st.sampled_from(LEVELS),
    data=st.data(),
)
def test_nothing_escapes(state: Callable[[World, int], Client], level: int, data: st.DataObject) -> None:
    world = World(Limits(publish_rate=1000, max_queued_bytes=50_000), Door(Listed({"asked": -1})))
    bob = world.join("bob")
    bob.subscribe("innocent/#", qos=1)
    bob.polite = True
    alice = world.join("alice", 4)
    alice.polite = True
    attacker = state(world, level)
    for number, segment in enumerate(data.draw(mutations.segments(attacker.level))):
        attacker.send_raw(segment)
        if number % 2:
            world.answer()
            attacker.link.take()
        alice.publish("innocent/t", b"%d" % number, number % 3)
        assert bob.payloads() == [b"%d" % number]
        audit.check(world.node, world.clients)
    world.answer()
    world.advance(2)
    world.close()


@settings(deadline=None, max_examples=60)
@given(level=st.sampled_from(LEVELS), data=st.data())
def test_pieces_make_no_difference(level: int, data: st.DataObject) -> None:
    """A stream says the same in one segment, in some, and byte by byte."""
    stream = data.draw(mutations.streams(level))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    some = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    single = [stream[index : index + 1] for index in range(len(stream))]
    said = []
    for pieces in ([stream], some, single):
        world = World()
        client = connected(world, level)
        client.link.take()
        for piece in pieces:
            client.send_raw(piece)
        said.append((client.link.take(), client.closed, world.events.ends))
        world.close()
    assert said[0] == said[1] == said[2]
