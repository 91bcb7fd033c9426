"""No local (section 3.8.3.1)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from tests.apps.gateway.support.world import World


@pytest.mark.parametrize("qos", (0, 1, 2))
@pytest.mark.parametrize("retain", (False, True))
@pytest.mark.parametrize("rap", (False, True))
def test_a_client_does_not_hear_itself(world: World, qos: int, retain: bool, rap: bool) -> None:
    """[MQTT-3.8.3-3]"""
    client = world.join("client")
    client.polite = True
    client.subscribe(p.Filter("t", 2, no_local=True, retain_as_published=rap))
    other = world.join("other")
    other.polite = True
    other.subscribe(p.Filter("t", 2, no_local=True, retain_as_published=rap))
    client.publish("t", b"mine", qos, retain)
    assert client.payloads() == []
    assert other.payloads() == [b"mine"]
    other.publish("t", b"theirs", qos, retain)
    assert client.payloads() == [b"theirs"]


def test_another_subscription_of_the_client_brings_it(world: World) -> None:
    """By that subscription alone: its QoS, its identifier."""
    client = world.join("client")
    client.subscribe(p.Filter("t", 2, no_local=True), identifier=1)
    client.subscribe(p.Filter("#", 1), identifier=2)
    client.publish("t", b"x", 2)
    got = [packet for packet in client.take() if isinstance(packet, p.Publish)]
    assert [(packet.qos, packet.properties) for packet in got] == [(1, {0x0B: [2]})]
    world.join("other").publish("t", b"y", 2)
    (packet,) = client.take_publishes()
    assert packet.qos == 2 and sorted(packet.properties[0x0B]) == [1, 2]


def test_not_on_a_shared_subscription(world: World) -> None:
    """[MQTT-3.8.3-4]"""
    client = world.join("client")
    client.send(p.Subscribe(1, [p.Filter("$share/g/t", no_local=True)]))
    assert client.take_one(p.Disconnect).reason == reasons.PROTOCOL_ERROR


def test_a_will_counts_as_the_clients_own(world: World) -> None:
    client = world.join("client", properties={0x11: 100}, will=p.Will("t", b"gone", 1))
    client.subscribe(p.Filter("t", 1, no_local=True))
    client.drop()
    assert world.join("client", clean=False).take() == []
