"""A client is let in when the registry of the cluster says so."""

from __future__ import annotations

import pytest

from apps.gateway.broker.messages import Message
from apps.gateway.broker.ports import Verdict
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt import reasons
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.doors import Door, Question
from tests.apps.gateway.support.world import World


class SessionOwnership:
    def __init__(self) -> None:
        self.reason = 0
        self.asked: list[tuple[str, bool, Message | None, int]] = []
        self.ended: list[str] = []

    async def claim(self, client_id: str, clean_start: bool, will: Message | None, will_delay: int) -> int:
        self.asked.append((client_id, clean_start, will, will_delay))
        await Question()
        return self.reason

    def changed(self, client_id: str) -> None:
        self.ended.append(client_id)


@pytest.fixture
def registry(world: World) -> SessionOwnership:
    found = SessionOwnership()
    world.node.ownership = found
    return found


def test_a_client_waits_for_the_registry(world: World, registry: SessionOwnership) -> None:
    client = world.dial()
    will = p.Will("w", b"bye", 1, False, {props.WILL_DELAY_INTERVAL: 5})
    client.connect("c", clean=False, will=will, properties={props.SESSION_EXPIRY_INTERVAL: 9})
    assert client.connack is None
    ((client_id, clean_start, asked, delay),) = registry.asked
    assert (client_id, clean_start, delay) == ("c", False, 5)
    assert asked is not None and (asked.topic, asked.payload, asked.qos) == ("w", b"bye", 1)
    world.answer()
    client.read_connack()
    assert client.connack is not None and client.connack.reason == 0
    assert registry.ended == []


def test_who_is_refused_hears_why(world: World, registry: SessionOwnership) -> None:
    registry.reason = reasons.SERVER_UNAVAILABLE
    client = world.dial()
    client.connect("c")
    world.answer()
    client.read_connack()
    assert client.connack is not None and client.connack.reason == reasons.SERVER_UNAVAILABLE
    assert registry.ended == [] and world.node.sessions == {}


def test_who_does_not_wait_is_let_go(world: World, registry: SessionOwnership) -> None:
    client = world.dial()
    client.connect("c")
    client.drop()
    world.answer()
    assert registry.ended == ["c"] and world.node.sessions == {}


def test_who_is_claimed_and_then_has_no_place_is_let_go(make_world: Worlds) -> None:
    world = make_world(max_connections=1)
    world.node.ownership = registry = SessionOwnership()
    first, second = world.dial(), world.dial()
    first.connect("a")
    second.connect("b")
    world.answer()
    second.read_connack()
    assert second.connack is not None and second.connack.reason == reasons.SERVER_BUSY
    assert registry.ended == ["b"]


def test_who_may_not_connect_is_not_claimed(make_world: Worlds) -> None:
    world = make_world(door=Door(verdicts={None: Verdict(reasons.NOT_AUTHORIZED)}))
    world.node.ownership = registry = SessionOwnership()
    client = world.dial()
    client.connect("c")
    assert client.connack is not None and client.connack.reason == reasons.NOT_AUTHORIZED
    assert registry.asked == registry.ended == []


def test_the_registry_hears_of_ends(world: World, registry: SessionOwnership) -> None:
    """Of the connection, of a will that was delayed, of the session."""
    client = world.dial()
    will = p.Will("w", b"bye", 0, False, {props.WILL_DELAY_INTERVAL: 5})
    client.connect("c", clean=False, will=will, properties={props.SESSION_EXPIRY_INTERVAL: 60})
    world.answer()
    assert registry.ended == []
    client.drop()
    assert registry.ended == ["c"]
    world.advance(10)
    assert registry.ended == ["c"] * 2
    world.advance(60)
    assert registry.ended == ["c"] * 3
