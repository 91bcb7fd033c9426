"""mosquitto's bridges: brokers that connect as clients, with the highest bit of the protocol level set."""

from __future__ import annotations

import pytest

from apps.gateway.broker import ports
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.doors import Listed
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)
STATE = "$SYS/broker/connection/edge.x/state"


def bridge(world: World, level: int, will: p.Will | None = None, client_id: str = "edge.x") -> Client:
    client = world.dial(level)
    client.send(p.Connect(client_id, level, True, 60, will=will, bridge=True))
    client.read_connack()
    return client


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_comes_back_and_the_retain_flag_stays(world: World, level: int) -> None:
    both = bridge(world, level)
    both.polite = True
    both.subscribe("#", qos=1)
    writer = world.join("writer")
    other = bridge(world, level, client_id="other.x")
    both.publish("own", b"1", 1)
    both.publish("own", b"2", 0, retain=True)
    both.publish("own", b"3")
    writer.publish("theirs", b"4", 1, retain=True)
    writer.publish("theirs", b"5")
    found = [each for each in both.take() if isinstance(each, p.Publish)]
    assert [(each.payload, each.retain) for each in found] == [(b"4", True), (b"5", False)]
    both.subscribe("#", qos=1)  # of what is retained, not its own
    assert both.payloads() == [b"4"]
    other.subscribe("#", qos=0)
    assert sorted(other.payloads()) == [b"2", b"4"]


def test_a_shared_subscription_of_a_bridge(world: World) -> None:
    """It knows no "no local" [MQTT-3.8.3-4]."""
    both = bridge(world, 4)
    both.subscribe("$share/g/t")
    both.publish("t", b"x")
    assert both.payloads() == [b"x"]


@pytest.mark.parametrize("level", LEVELS)
def test_its_state_is_published_under_its_name(world: World, level: int) -> None:
    """By will and by message, retained, whatever the ACL grants; watchers see it as on mosquitto."""
    world.door.acl = Listed({STATE: ports.NOTHING})
    watcher = world.join("watcher")
    watcher.subscribe("$SYS/broker/connection/#", qos=1)
    client = bridge(world, level, p.Will(STATE, b"0", 1, True))
    assert client.connack is not None and client.connack.reason == 0
    client.publish(STATE, b"1", 1, retain=True)
    assert client.take() == [p.Ack(pt.PUBACK, 1)]
    assert world.node.retained.get(STATE).payload == b"1"
    client.drop()
    assert watcher.payloads() == [b"1", b"0"]
    assert world.node.retained.get(STATE).payload == b"0"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("$SYS/broker/connection/other.x/state", b"0"),
        ("$SYS/broker/connection/edge.x", b"0"),
        ("$SYS/broker/version", b"0"),
        (STATE, b"more than a state"),
    ],
)
def test_anything_else_below_sys_is_dropped_and_counted(
    world: World, level: int, topic: str, payload: bytes
) -> None:
    """A refusal would keep the bridge out for ever."""
    client = bridge(world, level, p.Will(topic, payload, 1, True))
    assert client.connack is not None and client.connack.reason == 0
    assert world.node.stats.drops["denied"] == 1
    client.publish(topic, payload, 1, retain=True)
    assert client.take() == [p.Ack(pt.PUBACK, 1, reasons.NOT_AUTHORIZED if level == 5 else 0)]
    assert world.node.stats.drops["denied"] == 2
    assert world.events.denials[0] == ("edge.x", "publish", topic)
    client.drop()
    assert world.node.retained.get(topic) is None


def test_without_the_bit(world: World) -> None:
    """With mqttv50 a bridge does not set it: its state is known by its topic alone."""
    client = world.join("edge.x", will=p.Will(STATE, b"0", 1, True))
    client.drop()
    assert world.node.retained.get(STATE).payload == b"0"
    other = world.join("other", will=p.Will(STATE, b"0", 1, True))
    other.drop()
    assert world.node.stats.drops["denied"] == 1
    refused = world.dial()
    refused.connect("third", will=p.Will("$SYS/broker/version", b"0"))
    assert refused.connack is not None and refused.connack.reason == reasons.NOT_AUTHORIZED
