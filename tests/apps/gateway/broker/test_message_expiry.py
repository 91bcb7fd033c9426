"""Message expiry (section 3.3.2.3.3)."""

from __future__ import annotations

import pytest

from apps.gateway.broker.messages import Message
from apps.gateway.mqtt import packets as p
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World

EXPIRY = 0x02
SESSION = {0x11: 1000}


@pytest.fixture
def writer(world: World) -> Client:
    client = world.join("writer")
    client.polite = True
    return client


@pytest.mark.parametrize("qos", (0, 1, 2))
def test_sent_on_at_once_it_is_what_was_asked(world: World, writer: Client, qos: int) -> None:
    reader = world.join("reader")
    reader.subscribe("t", qos=2)
    for seconds in (0, 1, 4_294_967_295):
        writer.publish("t", b"x", qos, properties={EXPIRY: seconds})
        assert reader.take_one(p.Publish).properties == {EXPIRY: seconds}


def test_less_the_time_that_it_waited(world: World, writer: Client) -> None:
    """[MQTT-3.3.2-6]"""
    world.join("reader", properties=SESSION).subscribe("t", qos=1)
    world.clients[-1].drop()
    writer.publish("t", b"x", 1, properties={EXPIRY: 60})
    world.advance(21)
    again = world.join("reader", clean=False, properties=SESSION)
    assert again.take_one(p.Publish).properties == {EXPIRY: 39}


@pytest.mark.parametrize(
    ("asked", "waited", "left"),
    [(2, 0.1, 2), (1, 0.1, 1), (1, 0.875, 1), (2, 1.0, 1), (2, 1.125, 1), (2, 1.875, 1), (60, 59.5, 1)],
)
@pytest.mark.parametrize("way", ("queued", "retained"))
def test_whole_seconds_are_subtracted(
    world: World, writer: Client, way: str, asked: int, waited: float, left: int
) -> None:
    """What waited a fraction of a second keeps its interval, and nothing goes out as expired already."""
    reader = world.join("reader", properties=SESSION)
    if way == "queued":
        reader.subscribe("t", qos=1)
    reader.drop()
    writer.publish("t", b"x", 1, way == "retained", properties={EXPIRY: asked})
    world.advance(waited, step=0.125)
    again = world.join("reader", clean=False, properties=SESSION)
    if way == "retained":
        again.subscribe("t", qos=1)
    assert again.take_one(p.Publish).properties == {EXPIRY: left}


def test_an_interval_does_not_grow_between_two_clocks() -> None:
    """The end of a message from another node is off by what two conversions of the clock add."""
    message = Message("t", b"x", expires=102.000_3)
    assert (message.expiry_left(100.0), message.expiry_left(101.5), message.expiry_left(102.5)) == (2, 1, 0)


def test_gone_when_it_has_passed(world: World, writer: Client) -> None:
    """[MQTT-3.3.2-5], counted; those without an expiry, or with a longer one, stay."""
    world.join("reader", properties=SESSION).subscribe("t", qos=1)
    world.clients[-1].drop()
    for payload, seconds in ((b"1", 10), (b"2", 0), (b"3", 100), (b"4", 20)):
        writer.publish("t", payload, 1, properties={EXPIRY: seconds})
    writer.publish("t", b"5", 1)
    world.advance(20)
    again = world.join("reader", clean=False, properties=SESSION)
    assert again.payloads() == [b"3", b"5"]
    assert world.node.stats.drops["expired"] == 3
    assert world.node.stats.queued == 0


def test_while_the_window_is_full(make_world: Worlds) -> None:
    world = make_world(inflight_window=1)
    reader = world.join("reader")
    reader.subscribe("t", qos=1)
    writer = world.join("writer")
    for payload, seconds in ((b"1", 10), (b"2", 10), (b"3", 100)):
        writer.publish("t", payload, 1, properties={EXPIRY: seconds})
    reader.take()
    world.advance(30)
    reader.ack(4, 1)
    got = reader.take_one(p.Publish)
    assert (got.payload, got.properties) == (b"3", {EXPIRY: 70})


def test_once_under_way_it_is_finished(world: World, writer: Client) -> None:
    """Delivery that was begun goes on (section 4.3): repeated, with nothing left of its time."""
    reader = world.join("reader", properties=SESSION)
    reader.subscribe("t", qos=1)
    writer.publish("t", b"x", 1, properties={EXPIRY: 10})
    reader.drop()
    world.advance(100)
    again = world.join("reader", clean=False, properties=SESSION)
    assert again.take() == [p.Publish("t", b"x", 1, dup=True, packet_id=1, properties={EXPIRY: 0})]


def test_a_3_1_1_reader(world: World, writer: Client) -> None:
    world.join("reader", 4, clean=False).subscribe("t", qos=1)
    writer.publish("t", b"1", 0, properties={EXPIRY: 10})
    world.clients[-1].drop()
    writer.publish("t", b"2", 1, properties={EXPIRY: 10})
    writer.publish("t", b"3", 1, properties={EXPIRY: 100})
    world.advance(50)
    again = world.join("reader", 4, clean=False)
    assert again.payloads() == [b"3"]


def test_retained_messages_that_nobody_asks_for_make_room(make_world: Worlds) -> None:
    """Expired ones do not fill the store until somebody subscribes to them."""
    world = make_world(max_retained_messages=10)
    writer = world.join("writer")
    for number in range(10):
        writer.publish(f"old/{number}", b"x", retain=True, properties={EXPIRY: 10})
    world.advance(90)
    for number in range(10):
        writer.publish(f"new/{number}", b"x", retain=True)
    assert world.node.stats.drops["retained_full"] == 0
    assert len(world.node.retained) == 10


def test_a_retained_message_that_was_replaced_in_time(world: World, writer: Client) -> None:
    writer.publish("t", b"old", retain=True, properties={EXPIRY: 10})
    writer.publish("u", b"old", retain=True, properties={EXPIRY: 10})
    world.advance(5)
    writer.publish("t", b"new", retain=True)
    writer.publish("u", b"new", retain=True, properties={EXPIRY: 100})
    world.advance(50)
    reader = world.join("reader")
    reader.subscribe("+")
    assert reader.payloads() == [b"new", b"new"]
    for _ in range(5000):  # dates of messages that were replaced do not pile up
        writer.publish("t", b"x", retain=True, properties={EXPIRY: 604_800})
    assert len(world.node.retained._expiring) < 3000
