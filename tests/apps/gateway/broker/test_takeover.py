"""One connection for a client identifier [MQTT-3.1.4-3]."""

from __future__ import annotations

import pytest

from apps.gateway.broker.ports import Verdict
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from tests.apps.gateway.support.doors import Door, Listed
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)


@pytest.mark.parametrize("old", LEVELS)
@pytest.mark.parametrize("new", LEVELS)
def test_the_newer_wins(world: World, old: int, new: int) -> None:
    first = world.join("client", old)
    first.subscribe("t")
    second = world.join("client", new)
    assert first.closed
    if old == 5:
        goodbye = first.take_one(p.Disconnect)
        assert goodbye.reason == reasons.SESSION_TAKEN_OVER
    else:
        assert first.take() == []
    assert world.node.stats.connections == 1
    first.drop()  # its transport ends later: no business of the new one's
    second.subscribe("t")
    world.join("writer").publish("t", b"x")
    assert second.payloads() == [b"x"]
    assert [end[:2] for end in world.events.ends] == [("client", reasons.SESSION_TAKEN_OVER)]


def test_the_session_goes_over(world: World) -> None:
    """With everything in flight; what the loser says after that is not heard."""
    first = world.join("client", clean=False, properties={0x11: 100})
    first.subscribe("t", qos=1)
    writer = world.join("writer")
    writer.publish("t", b"1", 1)
    packet_id = first.take_one(p.Publish).packet_id
    second = world.join("client", clean=False, properties={0x11: 100})
    assert second.connack is not None and second.connack.session_present
    assert second.take() == [p.Publish("t", b"1", 1, dup=True, packet_id=packet_id)]
    first.ack(4, packet_id)
    first.publish("t", b"late", 1)
    assert len(world.node.sessions["client"].unacked) == 1


def test_a_session_that_ends_with_its_connection(world: World) -> None:
    first = world.join("client")
    first.subscribe("t", qos=1)
    second = world.join("client", clean=False)
    assert second.connack is not None and not second.connack.session_present
    assert world.node.router.trie.count == 0


def test_only_who_is_let_in_takes_over(world: World) -> None:
    """A CONNECT that is refused, or not decided yet, disturbs nobody."""
    world.door = Door(verdicts={"mallory": Verdict(reasons.BAD_USER_NAME_OR_PASSWORD)})
    first = world.join("client")
    world.dial().connect("client", username="mallory")
    assert not first.closed
    world.door.slow = True
    waiting = world.dial()
    waiting.connect("client")
    assert not first.closed
    world.answer()
    assert first.closed and not waiting.closed


def test_a_connection_that_does_not_read_is_taken_over_too(world: World) -> None:
    first = world.join("client")
    first.subscribe("t")
    first.stall()
    writer = world.join("writer")
    for _ in range(10):
        writer.publish("t", b"x" * 1000)
    world.join("client")
    assert first.closed


def test_taking_over_a_client_in_the_middle_of_a_question(world: World) -> None:
    world.door.acl = Listed({"t": -1})
    first = world.join("client")
    first.send(p.Publish("t", b"1", 1, packet_id=1), p.Publish("t", b"2", 1, packet_id=2))
    assert world.questions == 1
    second = world.join("client")
    world.answer()
    assert first.closed
    second.publish("u", b"x", 1)
    assert second.take_one(p.Ack).reason == reasons.NO_MATCHING_SUBSCRIBERS
