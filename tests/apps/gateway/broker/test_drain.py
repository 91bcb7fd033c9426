"""A node that is drained lets nobody in, and sends those who are connected away at a steady pace."""

from __future__ import annotations

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt import reasons
from tests.apps.gateway.support.world import World


def test_clients_leave_at_the_configured_rate(world: World) -> None:
    clients = [world.join(f"c{number}") for number in range(20)]
    world.node.start_drain(4, "", world.now)
    world.advance(2)
    gone = sum(client.closed for client in clients)
    assert 8 <= gone <= 9
    assert world.node.drain is not None and (world.node.drain.total, world.node.drain.gone) == (20, gone)
    world.advance(4)
    assert all(client.closed for client in clients) and world.node.stats.connections == 0


def test_clients_hear_of_another_server(world: World) -> None:
    new, old = world.join("new", 5), world.join("old", 4)
    world.node.start_drain(1000, "other:1883", world.now)
    world.advance(1)
    (goodbye,) = new.take()
    assert isinstance(goodbye, p.Disconnect) and goodbye.reason == reasons.USE_ANOTHER_SERVER
    assert goodbye.properties[props.SERVER_REFERENCE] == "other:1883"
    assert old.take() == [] and old.closed


def test_nobody_comes_in_until_it_is_called_off(world: World) -> None:
    world.node.start_drain(1, "other:1883", world.now)
    refused = world.dial(5)
    refused.connect("c")
    assert refused.connack is not None and refused.connack.reason == reasons.USE_ANOTHER_SERVER
    assert refused.connack.properties[props.SERVER_REFERENCE] == "other:1883"
    old = world.dial(4)
    old.connect("c")
    assert old.connack is not None and old.connack.reason == 3 and old.closed
    world.node.drain = None
    world.join("c")


def test_sessions_stay(world: World) -> None:
    client = world.join("c", clean=False, properties={props.SESSION_EXPIRY_INTERVAL: 100})
    client.subscribe("t", qos=1)
    world.node.start_drain(1000, "", world.now)
    world.advance(1)
    assert client.closed and "c" in world.node.sessions
