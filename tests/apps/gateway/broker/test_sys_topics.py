"""`$SYS/broker/...`: the names that mosquitto's users know."""

from __future__ import annotations

import math

from apps.gateway.mqtt import packets as p
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.world import World

NAMES = {
    "version",
    "uptime",
    "clients/total",
    "clients/connected",
    "clients/active",
    "clients/disconnected",
    "clients/inactive",
    "clients/maximum",
    "clients/expired",
    "messages/received",
    "messages/sent",
    "messages/stored",
    "store/messages/count",
    "store/messages/bytes",
    "publish/messages/received",
    "publish/messages/sent",
    "publish/messages/dropped",
    "publish/bytes/received",
    "publish/bytes/sent",
    "bytes/received",
    "bytes/sent",
    "subscriptions/count",
    "shared_subscriptions/count",
    "retained messages/count",
    *(
        f"load/{name}/{span}"
        for name in (
            *("messages/received", "messages/sent", "publish/received", "publish/sent", "publish/dropped"),
            *("bytes/received", "bytes/sent", "sockets", "connections"),
        )
        for span in ("1min", "5min", "15min")
    ),
}


def figures(world: World) -> dict[str, str]:
    return {
        message.topic.removeprefix("$SYS/broker/"): message.payload.decode()
        for message in world.node.retained.match("$SYS/broker/#", world.now)
    }


def test_the_names(make_world: Worlds) -> None:
    world = make_world(sys=10.0)
    world.advance(1)
    assert set(figures(world)) == NAMES


def test_the_figures(make_world: Worlds) -> None:
    world = make_world(sys=10.0)
    world.advance(1)
    own = len(NAMES)
    reader = world.join("reader", properties={0x11: 5})
    reader.subscribe("t", "$share/g/u")
    writer = world.join("writer")
    writer.send(p.Publish("t", b"12345"), p.Publish("t", b"678", retain=True), p.Publish("none", b"9"))
    reader.drop()
    world.advance(10)
    now = figures(world)
    assert now["version"] == "gmqtt platform 1.0"
    assert now["uptime"] == "10 seconds"
    assert (now["clients/total"], now["clients/maximum"], now["clients/expired"]) == ("1", "2", "1")
    assert (now["clients/connected"], now["clients/disconnected"]) == ("1", "0")
    assert (now["publish/messages/received"], now["publish/messages/sent"]) == ("3", "2")
    assert (now["publish/bytes/received"], now["publish/bytes/sent"]) == ("9", "8")
    assert now["messages/received"] == "6"  # two CONNECT, SUBSCRIBE, three PUBLISH
    assert now["messages/sent"] == "5"  # two CONNACK, SUBACK, two PUBLISH
    assert now["retained messages/count"] == str(own + 1)
    assert now["subscriptions/count"] == "0"


def test_loads_are_averages_a_minute_as_mosquittos(make_world: Worlds) -> None:
    """By the formula of mosquitto's sys_tree.c; a steady rate is what all three come to."""
    world = make_world(sys=10.0)
    world.advance(1)
    writer = world.join("writer")
    load = {"1min": 0.0, "5min": 0.0, "15min": 0.0}
    for _ in range(360):  # an hour of 3 messages in 10 s
        writer.send(*[p.Publish("t", b"1")] * 3)
        world.advance(10)
        for span, seconds in (("1min", 60), ("5min", 300), ("15min", 900)):
            load[span] = 18 + math.exp(-10 / seconds) * (load[span] - 18)
    found = figures(world)
    for span, expected in load.items():
        assert abs(float(found[f"load/publish/received/{span}"]) - expected) < 0.2
    assert found["load/publish/received/1min"] == "18.00"
    world.advance(60)
    assert 6 < float(figures(world)["load/publish/received/1min"]) < 7  # 18 / e
    assert float(figures(world)["load/publish/received/15min"]) > 16


def test_only_what_changed_is_published(make_world: Worlds) -> None:
    world = make_world(sys=10.0)
    world.advance(1)
    reader = world.join("reader")
    reader.subscribe("$SYS/#")
    assert len(reader.take_publishes()) == len(NAMES)
    world.advance(10)
    topics = {packet.topic for packet in reader.take_publishes()}
    assert "$SYS/broker/uptime" in topics and "$SYS/broker/version" not in topics


def test_not_for_those_who_subscribe_to_everything(make_world: Worlds) -> None:
    """[MQTT-4.7.2-1]"""
    world = make_world(sys=10.0)
    reader = world.join("reader")
    reader.subscribe("#", "+/broker/#")
    world.advance(15)
    assert reader.take() == []


def test_none_where_they_are_switched_off(make_world: Worlds) -> None:
    world = make_world(sys=0.0)
    world.advance(100)
    assert figures(world) == {}
