"""What devices and tools send by default, from their own sources and from bug reports of other brokers."""

from __future__ import annotations

import struct

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)


def text(raw: bytes) -> bytes:
    return struct.pack("!H", len(raw)) + raw


def raw_connect(level: int, flags: int, *fields: bytes) -> bytes:
    body = text(b"MQIsdp" if level == 3 else b"MQTT") + bytes([level, flags, 0, 60]) + b"\0" * (level == 5)
    body += b"".join(map(text, fields))
    length, out = len(body), b""
    while True:
        length, digit = divmod(length, 128)
        out += bytes([digit | 0x80 * bool(length)])
        if not length:
            return b"\x10" + out + body


@pytest.mark.parametrize(("level", "reason"), [(3, 2), (4, 2), (5, 0)])
def test_no_client_id_and_no_clean_session(world: World, level: int, reason: int) -> None:
    """Node-RED with an empty client id and "clean session" off [MQTT-3.1.3-8]."""
    client = world.dial(level)
    client.connect("", clean=False)
    assert client.connack is not None and client.connack.reason == reason
    assert client.closed == bool(reason)


@pytest.mark.parametrize("level", (4, 5))
def test_the_longest_client_id(world: World, level: int) -> None:
    client = world.dial(level)
    client.send_raw(raw_connect(level, 0x02, b"x" * 65_535))
    client.read_connack()
    answered = client.connack is not None
    assert answered and client.connack.reason in (0, 2, reasons.CLIENT_IDENTIFIER_NOT_VALID)


@pytest.mark.parametrize("level", LEVELS)
def test_a_user_name_without_a_password(world: World, level: int) -> None:
    client = world.dial(level)
    client.send_raw(raw_connect(level, 0x82, b"device", b"user"))
    client.read_connack()
    assert client.connack is not None and client.connack.reason == 0
    assert client.connection.username == "user"


@pytest.mark.parametrize(("level", "accepted"), [(4, False), (5, True)])
def test_a_password_without_a_user_name(world: World, level: int, accepted: bool) -> None:
    """3.1.1 forbids it [MQTT-3.1.2-22], 5.0 allows it: a token alone."""
    client = world.dial(level)
    client.send_raw(raw_connect(level, 0x42, b"device", b"token"))
    client.read_connack()
    assert (client.connack is not None and client.connack.reason == 0) == accepted
    assert client.closed == (not accepted)


@pytest.mark.parametrize("level", LEVELS)
def test_a_user_name_and_a_password_of_no_length(world: World, level: int) -> None:
    """Tasmota and PubSubClient send both flags with empty fields."""
    client = world.dial(level)
    client.send_raw(raw_connect(level, 0xC2, b"device", b"", b""))
    client.read_connack()
    assert client.connack is not None and client.connack.reason == 0


@pytest.mark.parametrize("level", LEVELS)
def test_the_last_will_of_tasmota(world: World, level: int) -> None:
    """Retained on tele/<device>/LWT, cleared by nobody; "Online" is published over it at each connect."""
    will = p.Will("tele/plug/LWT", b"Offline", 1, True)
    device = world.join("DVES_1", level, will=will)
    device.publish("tele/plug/LWT", b"Online", 1, True)
    device.drop()
    late = world.join("late")
    late.subscribe("tele/+/LWT", qos=1)
    assert late.payloads() == [b"Offline"]
    device = world.join("DVES_1", level, will=will)
    device.publish("tele/plug/LWT", b"Online", 1, True)
    assert late.payloads() == [b"Online"]
    device.disconnect()
    assert late.payloads() == []


@pytest.mark.parametrize("level", LEVELS)
def test_a_will_of_no_length(world: World, level: int) -> None:
    """It clears what is retained at its topic."""
    world.join("other").publish("here", b"1", 1, True)
    watcher = world.join("watcher")
    watcher.subscribe("here")
    assert watcher.payloads() == [b"1"]
    world.join("device", level, will=p.Will("here", b"", 0, True)).drop()
    assert watcher.payloads() == [b""]
    late = world.join("late")
    late.subscribe("here")
    assert late.payloads() == []


def test_retained_messages_of_no_length_are_live_messages(world: World) -> None:
    """Home Assistant's discovery removes an entity so: those who are subscribed hear it, nobody later."""
    reader = world.join("reader")
    reader.polite = True
    reader.subscribe("homeassistant/#", qos=1)
    writer = world.join("writer", 4)
    for number in range(2000):
        writer.publish(f"homeassistant/sensor/{number}/config", b"{}", 1, True)
    assert len(reader.payloads()) == 2000
    for number in range(2000):
        writer.publish(f"homeassistant/sensor/{number}/config", b"", 1, True)
    found = reader.take_publishes()
    assert [each.payload for each in found] == [b""] * 2000
    assert not any(each.retain for each in found)
    late = world.join("late")
    late.subscribe("homeassistant/#", qos=1)
    assert late.payloads() == []


@pytest.mark.parametrize("filters", [("$share/g/a/#", "$share/g/a/+"), ("$share/g/a/b", "$share/h/a/b")])
def test_shared_subscriptions_that_overlap(world: World, filters: tuple[str, ...]) -> None:
    """Each is a subscription of its own [MQTT-4.8.2-4]: one copy for each, to one of its members."""
    members = [world.join(f"member-{number}") for number in range(2)]
    for member in members:
        member.subscribe(*filters, qos=1)
    writer = world.join("writer")
    for number in range(6):
        writer.publish("a/b", b"%d" % number, 1)
    got = sorted(payload for member in members for payload in member.payloads())
    assert got == sorted(b"%d" % number for number in range(6) for _ in filters)


def test_a_share_and_the_plain_filter(world: World) -> None:
    """A client with both gets its own copy and its share's."""
    client = world.join("client")
    client.subscribe("a", "$share/g/a", qos=1)
    world.join("writer").publish("a", b"x", 1)
    assert client.payloads() == [b"x", b"x"]


@pytest.mark.parametrize(
    "filter", ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/a#/b"]
)
@pytest.mark.parametrize("level", (4, 5))
def test_a_share_that_is_none(world: World, level: int, filter: str) -> None:
    """[MQTT-4.8.2-1], [MQTT-4.8.2-2]: refused, the others of the packet are not."""
    client = world.join("client", level)
    bad = reasons.TOPIC_FILTER_INVALID if level == 5 else 0x80
    client.send(p.Subscribe(1, [p.Filter(filter, 1), p.Filter("good", 1)]))
    assert client.take() == [p.Suback(1, [bad, 1])]


def test_topic_alias_0(world: World) -> None:
    """[MQTT-3.3.2-8]"""
    client = world.join("client")
    client.send_raw(b"\x30\x07\x00\x01t\x03\x23\x00\x00")
    assert client.take_one(p.Disconnect).reason == reasons.TOPIC_ALIAS_INVALID


def test_subscription_identifier_0(world: World) -> None:
    """Section 3.8.2.1.2."""
    client = world.join("client")
    client.send_raw(b"\x82\x09\x00\x01\x02\x0b\x00\x00\x01t\x00")
    assert client.take_one(p.Disconnect).reason == reasons.PROTOCOL_ERROR


@pytest.mark.parametrize("level", LEVELS)
def test_the_same_connect_twice_from_a_board_that_was_reset(world: World, level: int) -> None:
    """PubSubClient's fixed client id: the new connection takes over, the will of the old one is published."""
    watcher = world.join("watcher")
    watcher.subscribe("esp/lwt")
    will = p.Will("esp/lwt", b"gone", 0, False)
    first = world.join("esp", level, will=will, keepalive=15)
    second = world.join("esp", level, will=will, keepalive=15)
    assert first.closed and not second.closed
    assert watcher.payloads() == [b"gone"]
    second.send(p.Ping(pt.PINGREQ))
    assert second.take() == [p.Ping(pt.PINGRESP)]


@pytest.mark.parametrize("level", LEVELS)
def test_everything_in_one_segment(world: World, level: int) -> None:
    """CONNECT, SUBSCRIBE, PUBLISH and PINGREQ before any answer, as AWS's and Paho's embedded clients do."""
    client = world.dial(level)
    none = b"\0" * (level == 5)
    subscribe = b"\x00\x01" + none + text(b"t") + b"\x00"
    publish = text(b"t") + none + b"x"
    client.send_raw(
        raw_connect(level, 0x02, b"burst")
        + bytes([0x82, len(subscribe)])
        + subscribe
        + bytes([0x30, len(publish)])
        + publish
        + b"\xc0\x00"
    )
    client.read_connack()
    assert client.connack is not None and client.connack.reason == 0
    kinds = [type(each) for each in client.take()]
    assert sorted(kinds, key=str) == sorted([p.Suback, p.Publish, p.Ping], key=str)


def test_a_large_retained_list_of_devices(make_world: Worlds) -> None:
    """Zigbee2MQTT's bridge/devices: a few hundred KB, retained; a client may be too small for it."""
    world = make_world()
    world.join("zigbee").publish("zigbee2mqtt/bridge/devices", bytes(600_000), 0, True)
    large = world.join("large")
    large.subscribe("zigbee2mqtt/#")
    assert [len(each) for each in large.payloads()] == [600_000]
    small = world.join("small", properties={0x27: 1000})
    small.subscribe("zigbee2mqtt/#")
    assert small.payloads() == [] and not small.closed
    assert [drop[1] for drop in world.events.drops if drop[0] == "small"] == ["packet_too_large"]
