"""Which packet may come when, and what happens to others when one breaks the protocol."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import codec, reasons
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)
ANY = (
    p.Connack(),
    p.Publish("t"),
    p.Publish("t", b"", 1, packet_id=1),
    p.Ack(pt.PUBACK, 1),
    p.Ack(pt.PUBREC, 1),
    p.Ack(pt.PUBREL, 1),
    p.Ack(pt.PUBCOMP, 1),
    p.Subscribe(1, [p.Filter("t")]),
    p.Suback(1, [0]),
    p.Unsubscribe(1, ["t"]),
    p.Unsuback(1, [0]),
    p.Ping(pt.PINGREQ),
    p.Ping(pt.PINGRESP),
    p.Disconnect(),
    p.Auth(),
)
FROM_SERVER = (p.Connack(), p.Suback(1, [0]), p.Unsuback(1, [0]), p.Ping(pt.PINGRESP))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("packet", ANY, ids=lambda packet: type(packet).__name__)
def test_nothing_before_connect(world: World, level: int, packet: p.Packet) -> None:
    """[MQTT-3.1.0-1]: closed without a word, at the first byte."""
    client = world.dial(level)
    client.send_raw(codec.encode(packet, level)[:1])
    assert client.closed and client.take() == []
    assert world.node.stats.refused == {reasons.PROTOCOL_ERROR: 1}


@pytest.mark.parametrize("level", LEVELS)
def test_a_second_connect(world: World, level: int) -> None:
    """[MQTT-3.1.0-2]"""
    client = world.join("client", level)
    client.send(p.Connect("client", level))
    assert client.closed
    assert [getattr(each, "reason", 0) for each in client.take()] == [reasons.PROTOCOL_ERROR] * (level == 5)


@pytest.mark.parametrize("level", LEVELS)
def test_a_second_connect_in_the_same_segment(world: World, level: int) -> None:
    client = world.dial(level)
    connect = p.Connect("client", level)
    client.send(connect, connect)
    client.read_connack()
    assert client.connack is not None and client.connack.reason == 0
    assert client.closed


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("packet", FROM_SERVER, ids=lambda packet: type(packet).__name__)
def test_packets_that_only_a_server_sends(world: World, level: int, packet: p.Packet) -> None:
    client = world.join("client", level)
    client.send(packet)
    assert client.closed
    assert [getattr(each, "reason", 0) for each in client.take()] == [reasons.PROTOCOL_ERROR] * (level == 5)


@pytest.mark.parametrize("level", LEVELS)
def test_a_whole_conversation_in_one_segment(world: World, level: int) -> None:
    """Section 4.9 of the non-normative comments: a client need not wait for CONNACK."""
    client = world.dial(level)
    client.send(
        p.Connect("client", level),
        p.Subscribe(1, [p.Filter("t", 1)]),
        p.Publish("t", b"x", 1, packet_id=2),
        p.Ping(pt.PINGREQ),
        p.Unsubscribe(3, ["t"]),
        p.Disconnect(),
    )
    types = [type(packet).__name__ for packet in client.take()]
    assert types == ["Connack", "Suback", "Publish", "Ack", "Ping", "Unsuback"]
    assert client.closed


@pytest.mark.parametrize("level", LEVELS)
def test_what_came_before_the_bad_packet_counts(world: World, level: int) -> None:
    """And nothing behind it."""
    reader = world.join("reader")
    reader.subscribe("t")
    client = world.join("client", level)
    good = [codec.encode(p.Publish("t", b"%d" % number), level) for number in range(4)]
    client.send_raw(good[0] + good[1] + b"\x36\x03\x00\x01t" + good[2])
    assert client.closed
    assert reader.payloads() == [b"0", b"1"]
    client.connection.feed(good[3], world.now)
    assert reader.payloads() == []


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("qos", (0, 1))
def test_a_length_longer_than_it_need_be(world: World, level: int, qos: int) -> None:
    """[MQTT-1.5.5-1] of 5.0; 3.x does not forbid it, and subscribers get the short form."""
    reader = world.join("reader", level)
    reader.subscribe("t", qos=1)
    before = codec.encode(p.Publish("t", b"before"), level)
    publish = codec.encode(p.Publish("t", b"x", qos, packet_id=qos), level)
    for short in (b"\xc0\x00", publish):
        client = world.join("client", level)
        client.send_raw(before + bytes((short[0], short[1] | 0x80, 0x80, 0)) + short[2:])
        assert client.closed == (level == 5)
        if level == 5:
            assert client.take_one(p.Disconnect).reason == reasons.MALFORMED_PACKET
    assert reader.link.take() == before * 2 + (publish if level < 5 else b"")


def test_unsubscribe(world: World) -> None:
    """[MQTT-3.10.4-1] to [MQTT-3.10.4-6], [MQTT-3.11.3-1]: filters are compared character by character."""
    client = world.join("client")
    client.subscribe("a/+", "b", "$share/g/c")
    answer = client.unsubscribe("a/+", "a/b", "c", "$share/h/c", "$share/g/c")
    assert answer.reasons == [0, 0x11, 0x11, 0x11, 0]
    assert list(world.node.sessions["client"].subscriptions) == ["b"]
    client.publish("a/x")
    client.publish("c")
    client.publish("b")
    assert [packet.topic for packet in client.take_publishes()] == ["b"]
    old = world.join("old", 4)
    assert old.unsubscribe("nothing").reasons == []


@pytest.mark.parametrize("packet", (b"j\x02\0\1", b"\x8a\x06\0\1\0\1t\0", b"\xaa\x05\0\1\0\1t"))
def test_3_1_may_mark_repeated_requests(world: World, packet: bytes) -> None:
    """MQTT 3.1 section 2.1: DUP on PUBREL, SUBSCRIBE and UNSUBSCRIBE; reserved since 3.1.1."""
    client = world.join("client", 3)
    client.send_raw(packet)
    assert len(client.take()) == 1 and not client.closed
    for level in (4, 5):
        other = world.join("other", level)
        other.send_raw(packet)
        assert other.closed


def test_shutdown(world: World) -> None:
    """5.0 clients hear 0x8B; nobody is let in any more; sessions that outlive their connection stay."""
    clients = [world.join(f"client-{level}", level) for level in LEVELS]
    keeping = world.join("keeping", properties={0x11: 100})
    world.node.shut_down(world.now)
    world.turn()
    assert all(client.closed for client in [*clients, keeping])
    assert clients[2].take() == [p.Disconnect(reasons.SERVER_SHUTTING_DOWN)]
    assert clients[0].take() == clients[1].take() == []
    late = world.dial()
    late.connect("late")
    assert late.connack is not None and late.connack.reason == reasons.SERVER_UNAVAILABLE
    assert list(world.node.sessions) == ["keeping"]


def test_kick_and_forget(world: World) -> None:
    client = world.join("client", properties={0x11: 100})
    assert world.node.kick("client", reasons.ADMINISTRATIVE_ACTION, "because", world.now)
    assert not world.node.kick("client", reasons.ADMINISTRATIVE_ACTION, "", world.now)
    assert not world.node.kick("nobody", reasons.ADMINISTRATIVE_ACTION, "", world.now)
    world.turn()
    assert client.take() == [p.Disconnect(reasons.ADMINISTRATIVE_ACTION, {0x1F: "because"})]
    world.node.forget("client", world.now)
    assert not world.node.sessions
    again = world.join("client", properties={0x11: 100})
    world.node.forget("client", world.now)
    world.turn()
    assert again.closed and not world.node.sessions


def test_reason_codes_fit_their_packets(world: World) -> None:
    """[MQTT-3.2.2-8], [MQTT-3.14.2-1]: where CONNACK or DISCONNECT lacks a code, the nearest one."""
    for reason, told in (
        (reasons.BAD_USER_NAME_OR_PASSWORD, reasons.NOT_AUTHORIZED),
        (reasons.SERVER_UNAVAILABLE, reasons.SERVER_BUSY),
        (reasons.RECEIVE_MAXIMUM_EXCEEDED, reasons.RECEIVE_MAXIMUM_EXCEEDED),
    ):
        client = world.join("client")
        world.node.kick("client", reason, "", world.now)
        world.turn()
        assert client.take_one(p.Disconnect).reason == told
    client = world.dial()
    client.connect("client", will=p.Will("t", b"", properties={0x08: "a/#"}))
    assert client.connack is not None and client.connack.reason == reasons.PROTOCOL_ERROR
