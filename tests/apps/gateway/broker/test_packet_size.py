"""Maximum packet size, both ways (sections 3.1.2.11.4, 3.2.2.3.6)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import codec, reasons
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt.properties import Properties
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.world import World

MAXIMUM = 0x27
ALIAS_MAXIMUM = 0x22


@pytest.mark.parametrize("level", (3, 4, 5))
@pytest.mark.parametrize("qos", (0, 1))
def test_ours_is_exact(make_world: Worlds, level: int, qos: int) -> None:
    """A packet of the announced size passes, one byte more is 0x95, before the rest of it is sent."""
    world = make_world(max_packet_size=200)
    client = world.join("client", level)
    if level == 5:
        assert client.connack is not None and client.connack.properties[MAXIMUM] == 200
    packet = p.Publish("t", b"", qos, packet_id=qos)
    fill = 200 - len(codec.encode(packet, level)) - 1
    packet.payload = b"x" * fill
    assert len(codec.encode(packet, level)) == 200
    client.send(packet)
    client.take()
    assert not client.closed
    packet.payload += b"x"
    client.send_raw(codec.encode(packet, level)[:3])
    assert client.closed
    assert client.take() == (
        [p.Disconnect(reasons.PACKET_TOO_LARGE, {0x1F: "packet of 201 bytes, 200 allowed"})]
        if level == 5
        else []
    )


def test_a_claim_alone_costs_nothing(world: World) -> None:
    """256 MB announced: refused at the length, nothing of it kept."""
    for level, state in ((5, "new"), (4, "new"), (5, "connected"), (4, "connected")):
        client = world.dial(level) if state == "new" else world.join(f"client-{level}", level)
        client.send_raw((b"\x10" if state == "new" else b"\x30") + b"\xff\xff\xff\x7f0123456789")
        assert client.closed
        assert world.node.stats.inbound == 0


def test_before_connack_a_megabyte_is_enough(world: World) -> None:
    """Whoever is not let in yet may not make the node hold much: not with CONNECT, not with AUTH."""
    client = world.dial()
    client.send_raw(b"\x10\x80\x80\x80\x01")
    assert client.closed
    client = world.dial()
    client.connect("client", properties={0x15: "RIDDLE"})
    client.expect(p.Auth)
    client.send_raw(b"\xf0\x80\x80\x80\x01")
    assert client.closed
    client = world.join("client")
    client.send_raw(b"\x30\x80\x80\x80\x01")
    assert not client.closed


@pytest.mark.parametrize("level", (3, 4, 5))
def test_requests_have_a_bound_of_their_own(world: World, level: int) -> None:
    """16 MB of topic filters in one packet would keep everybody else waiting for seconds."""
    for first in (b"\x82", b"\xa2", b"\x40", b"\xe0"):
        client = world.join("client", level)
        client.send_raw(first + b"\x80\x80\x80\x01")
        assert client.closed
        assert [getattr(packet, "reason", 0) for packet in client.take()] == [0x95] * (level == 5)
    client = world.join("client", level)
    client.send(p.Unsubscribe(1, ["t" * 100] * 5000))
    assert not client.closed


def test_properties_have_a_bound_of_their_own(world: World) -> None:
    client = world.join("client")
    client.publish("t", b"x", properties={0x26: [("k", "v" * 60_000)] * 17})
    assert not client.closed
    client.publish("t", b"x", properties={0x26: [("k", "v" * 60_000)] * 18})
    assert client.take_one(p.Disconnect).reason == reasons.PACKET_TOO_LARGE


@pytest.mark.parametrize("qos", (0, 1, 2))
@pytest.mark.parametrize("alias", (0, 20))
@pytest.mark.parametrize("extra", ({}, {0x02: 100}, {0x26: [("k", "v" * 50)], 0x03: "text"}))
def test_the_clients_is_exact(world: World, qos: int, alias: int, extra: Properties) -> None:
    """[MQTT-3.1.2-24], [MQTT-3.1.2-25]: larger ones are dropped, counted, and use up nothing."""
    reader = world.join("reader", properties={MAXIMUM: 300, ALIAS_MAXIMUM: alias, 0x11: 100})
    reader.polite = True
    reader.subscribe("some/+", qos=qos, identifier=1)
    reader.take()
    writer = world.join("writer")
    writer.polite = True
    head = len(codec.encode(p.Publish("some/topic", b"", qos, packet_id=qos, properties=extra), 5)) + 3
    sizes = range(300 - head - 8, 300 - head + 4)
    for number, size in enumerate(sizes):  # each topic's first message, which has it beside its alias
        writer.publish(f"some/tp-{number:02}", b"x" * size, qos, properties=extra)
    data = bytes(reader.link.waiting)
    found = 0
    while data:
        length = (data[1] & 0x7F) + (data[2] << 7) + 3 if data[1] >= 0x80 else data[1] + 2
        assert length <= 300
        found = max(found, length)
        data = data[length:]
    assert found == 300
    passed = len([each for each in reader.take() if isinstance(each, p.Publish)])
    assert 7 <= passed <= 10
    assert world.node.stats.drops["packet_too_large"] == len(sizes) - passed
    assert world.node.sessions["reader"].held == 0


def test_a_run_of_qos_0(world: World) -> None:
    """One large packet in a segment does not cost the others."""
    reader = world.join("reader", properties={MAXIMUM: 100})
    reader.subscribe("t")
    writer = world.join("writer")
    writer.send(*[p.Publish("t", b"x" * size) for size in (10, 200, 20)])
    assert [len(payload) for payload in reader.payloads()] == [10, 20]
    assert world.node.stats.drops["packet_too_large"] == 1


def test_queued_and_repeated_messages(world: World) -> None:
    """The client that comes back may have become smaller."""
    reader = world.join("reader", properties={0x11: 100})
    reader.subscribe("t", qos=1)
    writer = world.join("writer")
    writer.publish("t", b"x" * 200, 1)
    writer.publish("t", b"1", 1)
    reader.drop()
    writer.publish("t", b"y" * 200, 1)
    writer.publish("t", b"2", 1)
    again = world.join("reader", clean=False, properties={0x11: 100, MAXIMUM: 100})
    assert again.payloads() == [b"1", b"2"]
    assert world.node.stats.drops["packet_too_large"] == 2


def test_retained_messages(world: World) -> None:
    world.join("writer").publish("t", b"x" * 200, retain=True)
    reader = world.join("reader", properties={MAXIMUM: 100})
    reader.subscribe("t")
    assert reader.take() == []


def test_reason_strings_are_left_out_where_they_do_not_fit(world: World) -> None:
    """[MQTT-3.14.2-3], [MQTT-3.2.2-19]"""
    client = world.join("client", properties={MAXIMUM: 40})
    world.node.kick("client", reasons.ADMINISTRATIVE_ACTION, "a long story " * 10, world.now)
    world.turn()
    assert client.take() == [p.Disconnect(reasons.ADMINISTRATIVE_ACTION)]
    client = world.dial()
    client.connect("client", will=p.Will("t/+", b""), properties={MAXIMUM: 10})
    assert client.connack == p.Connack(reasons.TOPIC_NAME_INVALID)


def test_answers_that_do_not_fit_end_the_connection(world: World) -> None:
    """Nothing larger may be sent, and without its answer the request would hang."""
    client = world.join("client", properties={MAXIMUM: 40})
    client.send(p.Subscribe(1, [p.Filter(f"t{n}") for n in range(60)]))
    assert client.take_one(p.Disconnect).reason == reasons.PACKET_TOO_LARGE
    client = world.join("client", properties={MAXIMUM: 40})
    client.send(p.Unsubscribe(1, [f"t{n}" for n in range(60)]))
    assert client.take_one(p.Disconnect).reason == reasons.PACKET_TOO_LARGE


@pytest.mark.parametrize("size", (16, 18, 20, 22, 24, 30))
def test_a_small_client_gets_a_small_connack(world: World, size: int) -> None:
    """What only states a default is left out, what the client must know is not."""
    client = world.dial()
    client.connect("client", properties={MAXIMUM: size, 0x19: 1})
    assert client.connack is not None and client.connack.reason == 0
    assert len(codec.encode(client.connack, 5)) <= size
    assert client.connack.properties[0x21] == world.limits.receive_maximum
    assert client.connack.properties[MAXIMUM] == world.limits.max_packet_size


def test_a_large_client_gets_all_of_it(world: World) -> None:
    client = world.join("client", properties={MAXIMUM: 100})
    assert client.connack is not None
    assert set(client.connack.properties) == {0x21, MAXIMUM, ALIAS_MAXIMUM, 0x25, 0x28, 0x29, 0x2A}


@pytest.mark.parametrize("size", (1, 4, 5, 10))
def test_a_client_too_small_for_connack(world: World, size: int) -> None:
    client = world.dial()
    client.connect("client", properties={MAXIMUM: size})
    assert client.closed
    assert client.connack == (p.Connack(reasons.PACKET_TOO_LARGE) if size >= 5 else None)
    assert world.node.stats.connections == 0


def test_zero_is_a_protocol_error(world: World) -> None:
    client = world.dial()
    client.connect("client", properties={MAXIMUM: 0})
    assert client.connack is not None and client.connack.reason == reasons.PROTOCOL_ERROR
