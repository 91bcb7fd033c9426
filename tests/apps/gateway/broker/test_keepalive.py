"""Keepalive and the other silences that end a connection (section 3.1.2.10)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("keepalive", (1, 2, 10, 60, 3600))
def test_silence_of_one_and_a_half_times_the_keepalive(world: World, level: int, keepalive: int) -> None:
    """[MQTT-3.1.2-22]: not before, and within two seconds after."""
    client = world.join("client", level, keepalive=keepalive)
    world.advance(keepalive * 1.5 - 0.5)
    assert not client.closed
    world.advance(2.5)
    assert client.closed
    assert client.take() == ([p.Disconnect(reasons.KEEP_ALIVE_TIMEOUT)] if level == 5 else [])


@pytest.mark.parametrize("level", LEVELS)
def test_pings_keep_it_open(world: World, level: int) -> None:
    """[MQTT-3.12.4-1]"""
    client = world.join("client", level, keepalive=10)
    for _ in range(20):
        world.advance(9)
        client.send(p.Ping(pt.PINGREQ))
        assert client.take() == [p.Ping(pt.PINGRESP)]
    world.advance(17)
    assert client.closed


@pytest.mark.parametrize("level", LEVELS)
def test_an_unfinished_packet_does_not(world: World, level: int) -> None:
    """[MQTT-3.1.2-22] counts packets: whoever dribbles one is closed, whatever it is."""
    for packet in (b"\xc0", b"\x30\x80\x01\x00\x01t", b"\x82\x80\x01\x00\x01"):
        client = world.join("client", level, keepalive=10)
        client.send_raw(packet)
        for _ in range(14):
            world.advance(1)
            if packet != b"\xc0":
                client.send_raw(b"\x00")
        assert not client.closed
        world.advance(3)
        assert client.closed
        client.drop()


MEGABYTE = b"\x30\xc3\x84\x3d\x00\x01t" + bytes(1_000_000)  # of 5.0: no properties


@pytest.mark.parametrize("level", LEVELS)
def test_a_large_packet_may_take_its_time(world: World, level: int) -> None:
    """Section 3.1.2.10: the next packet is to *start* in time. 1 MB at 2.4 kbit/s takes 55 minutes."""
    reader = world.join("reader")
    reader.subscribe("t")
    client = world.join("client", level, keepalive=60)
    for start in range(0, len(MEGABYTE), 3000):
        client.send_raw(MEGABYTE[start : start + 3000])
        world.advance(10)
    assert not client.closed
    assert [len(message.payload) for message in reader.take()] in (
        [1_000_000],
        [999_999],
    )  # one 0 is the length of the properties
    world.advance(91)
    assert client.closed


@pytest.mark.parametrize("level", LEVELS)
def test_a_packet_that_comes_too_slowly_does_not(world: World, level: int) -> None:
    """Half as fast as the slowest line: it gets twice the time of a silent one, however much is to come."""
    client = world.join("client", level, keepalive=60)
    for second in range(182):
        client.send_raw(MEGABYTE[second * 128 : (second + 1) * 128])
        world.advance(1)
        assert not client.closed or second > 178, second
    assert client.closed


@pytest.mark.parametrize("level", LEVELS)
def test_a_length_that_is_only_announced_does_not(world: World, level: int) -> None:
    client = world.join("client", level, keepalive=10)
    client.send_raw(MEGABYTE[:9])
    world.advance(14.5)
    assert not client.closed
    world.advance(2.5)
    assert client.closed


def test_no_keepalive_no_end(world: World) -> None:
    client = world.join("client", keepalive=0)
    world.advance(100_000, step=60)
    assert not client.closed


def test_messages_to_the_client_do_not_count(world: World) -> None:
    client = world.join("client", keepalive=4)
    client.subscribe("t")
    writer = world.join("writer")
    for _ in range(8):
        writer.publish("t", b"x")
        world.advance(1)
    assert client.closed


def test_the_server_sets_the_bounds(make_world: Worlds) -> None:
    """Server keep alive in CONNACK [MQTT-3.1.2-21], [MQTT-3.2.2-21], only where it differs."""
    world = make_world(min_keepalive=10, max_keepalive=60)
    told = {}
    for asked in (0, 5, 10, 30, 60, 61):
        client = world.join(f"client-{asked}", keepalive=asked)
        assert client.connack is not None
        told[asked] = client.connack.properties.get(0x13)
    assert told == {0: 60, 5: 10, 10: None, 30: None, 60: None, 61: 60}
    short = next(each for each in world.clients if each.client_id == "client-5")
    endless = next(each for each in world.clients if each.client_id == "client-0")
    world.advance(14)
    assert not short.closed
    world.advance(3)
    assert short.closed
    world.advance(75)
    assert endless.closed


def test_a_3_1_1_client_keeps_its_own_upper_bound(make_world: Worlds) -> None:
    """It could not be told of another."""
    world = make_world(max_keepalive=10)
    client = world.join("client", 4, keepalive=100)
    world.advance(140)
    assert not client.closed
    world.advance(12)
    assert client.closed


@pytest.mark.parametrize("sent", (b"", b"\x10", b"\x10\x20\x00\x04MQTT"))
def test_a_connect_must_come_in_time(world: World, sent: bytes) -> None:
    """[MQTT-3.1.4-1], slow or not at all; a byte now and then does not help."""
    client = world.dial()
    client.send_raw(sent)
    world.advance(8)
    client.send_raw(b"\x05"[: len(sent)])
    assert not client.closed
    world.advance(4)
    assert client.closed
    assert world.node.stats.refused == {reasons.UNSPECIFIED_ERROR: 1}
    assert client.take() == []


def test_time_that_we_do_not_read_is_not_the_clients_silence(make_world: Worlds) -> None:
    world = make_world(publish_rate=10)
    client = world.join("client", keepalive=2)
    client.send_raw(b"\x30\x04\x00\x01t\x00" * 200)
    assert client.link.paused_reading
    world.advance(18)
    assert not client.closed
    world.advance(30)
    assert client.closed
