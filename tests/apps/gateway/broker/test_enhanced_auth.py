"""Enhanced authentication (section 4.12), through a method with one challenge."""

from __future__ import annotations

import pytest

from apps.gateway.broker import ports
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.doors import Listed
from tests.apps.gateway.support.world import World

METHOD = 0x15
DATA = 0x16
RIDDLE = {METHOD: "RIDDLE"}


def answer(client: Client, data: bytes = b"answer", reason: int = 0x18, method: str = "RIDDLE") -> None:
    client.send(p.Auth(reason, {METHOD: method, DATA: data}))


def challenged(world: World) -> Client:
    client = world.dial()
    client.connect("client", properties=dict(RIDDLE))
    assert client.take() == [p.Auth(0x18, {METHOD: "RIDDLE", DATA: b"riddle"})]
    return client


@pytest.fixture
def client(world: World) -> Client:
    """Let in by the method."""
    client = challenged(world)
    answer(client)
    client.read_connack()
    return client


def test_the_right_answer(world: World, client: Client) -> None:
    """[MQTT-4.12.0-2], [MQTT-4.12.0-3], [MQTT-4.12.0-5]"""
    assert client.connack is not None and client.connack.reason == 0
    assert client.connack.properties[METHOD] == "RIDDLE"
    assert client.connack.properties[DATA] == b"welcome"
    assert world.door.requests[0].auth_method == "RIDDLE"


def test_the_wrong_answer(world: World) -> None:
    client = challenged(world)
    answer(client, b"?")
    client.read_connack()
    assert client.connack == p.Connack(reasons.NOT_AUTHORIZED, False, {0x1F: "wrong answer"})
    assert client.closed
    assert world.events.refusals == [("client", reasons.NOT_AUTHORIZED, "wrong answer")]


def test_a_method_that_is_not_supported(world: World) -> None:
    """[MQTT-4.12.0-1]"""
    client = world.dial()
    client.connect("client", properties={METHOD: "NONE"})
    assert client.connack is not None and client.connack.reason == reasons.BAD_AUTHENTICATION_METHOD
    assert client.closed


def test_data_without_a_method(world: World) -> None:
    """Section 3.1.2.11.10."""
    client = world.dial()
    client.connect("client", properties={DATA: b"x"})
    assert client.connack is not None and client.connack.reason == reasons.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "packet",
    [
        p.Auth(0x18, {METHOD: "OTHER", DATA: b"answer"}),
        p.Auth(0x18, {DATA: b"answer"}),
        p.Auth(0x19, {METHOD: "RIDDLE", DATA: b"answer"}),
        p.Auth(0x00, {METHOD: "RIDDLE", DATA: b"answer"}),
        p.Auth(),
        p.Publish("t", b"x"),
        p.Subscribe(1, [p.Filter("t")]),
        p.Ping(12),
        p.Connect("client", 5),
    ],
)
def test_nothing_else_before_connack(world: World, packet: p.Packet) -> None:
    """[MQTT-3.1.2-30], [MQTT-4.12.0-5]"""
    client = challenged(world)
    client.send(packet)
    client.read_connack()
    assert client.connack is not None and client.connack.reason == reasons.PROTOCOL_ERROR
    assert client.closed
    assert world.node.stats.connections == 0


def test_it_may_give_up(world: World) -> None:
    client = challenged(world)
    client.send(p.Disconnect())
    assert client.closed and client.take() == []


def test_it_has_to_answer_in_time(world: World) -> None:
    client = challenged(world)
    world.advance(12)
    assert client.closed


def test_auth_without_a_method_in_connect(world: World) -> None:
    """[MQTT-4.12.0-6], [MQTT-4.12.0-7]"""
    client = world.join("client")
    answer(client, reason=0x19)
    assert client.take_one(p.Disconnect).reason == reasons.PROTOCOL_ERROR


@pytest.mark.parametrize("level", (3, 4))
def test_auth_does_not_exist_before_5_0(world: World, level: int) -> None:
    client = world.join("client", level)
    client.send_raw(b"\xf0\x00")
    assert client.closed


def test_again_on_a_live_connection(world: World, client: Client) -> None:
    """Section 4.12.1; what comes behind the AUTH waits, and the new ACL holds for it."""
    world.door.acl = Listed({"closed": ports.NOTHING})
    client.publish("closed", b"x", 1)
    assert client.take_one(p.Ack).reason == reasons.NO_MATCHING_SUBSCRIBERS
    answer(client, b"", 0x19)
    assert client.take() == [p.Auth(0x18, {METHOD: "RIDDLE", DATA: b"riddle"})]
    client.send(
        p.Auth(0x18, {METHOD: "RIDDLE", DATA: b"answer"}),
        p.Publish("closed", b"x", 1, packet_id=8),
        p.Publish("open", b"x", 1, packet_id=9),
    )
    assert client.take() == [
        p.Auth(0, {METHOD: "RIDDLE", DATA: b"welcome"}),
        p.Ack(4, 8, reasons.NOT_AUTHORIZED),
        p.Ack(4, 9, reasons.NO_MATCHING_SUBSCRIBERS),
    ]


def test_a_failed_one_ends_the_connection(world: World, client: Client) -> None:
    answer(client, b"", 0x19)
    client.take()
    answer(client, b"?")
    goodbye = client.take_one(p.Disconnect)
    assert (goodbye.reason, client.closed) == (reasons.NOT_AUTHORIZED, True)


@pytest.mark.parametrize(
    "packet",
    [
        p.Auth(0x19, {METHOD: "OTHER"}),
        p.Auth(0x18, {METHOD: "RIDDLE", DATA: b"answer"}),
        p.Auth(0x00, {METHOD: "RIDDLE"}),
        p.Auth(0x19),
    ],
)
def test_out_of_turn(client: Client, packet: p.Packet) -> None:
    client.send(packet)
    assert client.take_one(p.Disconnect).reason == reasons.PROTOCOL_ERROR


def test_traffic_goes_on_between_its_steps(world: World, client: Client) -> None:
    """Section 4.12.1: until the client answers the challenge, the old authentication holds."""
    answer(client, b"", 0x19)
    client.take()
    client.publish("t", b"x", 1)
    assert client.take_one(p.Ack).reason == reasons.NO_MATCHING_SUBSCRIBERS
    answer(client)
    assert client.take_one(p.Auth).reason == 0
