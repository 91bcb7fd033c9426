"""Point 6: what was revoked is gone, in sessions that go on, queues, renewed tokens and wills.

The broker's half: an ACL that knows ("rules") or has to ask ("rpc"), in every way in which it can change.
`test_rights_by_provider.py` has the providers' half.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.gateway.broker import ports, subscribing
from apps.gateway.broker.messages import Message
from apps.gateway.broker.ports import Acl
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from apps.gateway.operator.operations import NodeOperations
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.doors import Listed
from tests.apps.gateway.support.world import World

LONG = {0x11: 3600}  # session expiry interval
RIDDLE = LONG | {0x15: "RIDDLE"}
SECRET = ("secret/#", "secret/1")


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.node.ask_will = None
    world.close()


def rules() -> Listed:
    """Knows that nothing of `secret` is allowed any more."""
    return Listed({"secret/1": ports.NOTHING}, dict.fromkeys(SECRET, ports.DENIED))


def rpc() -> Listed:
    """The same, but nothing is known without asking."""
    asked = dict.fromkeys(SECRET, ports.UNKNOWN)
    return Listed({"secret/1": ports.UNKNOWN}, asked, {"secret/#": ports.DENIED, "secret/1": ports.NOTHING})


ACLS = pytest.mark.parametrize("narrow", [rules, rpc])


def leave_with_queue(world: World, level: int = 5) -> None:
    """A session with two subscriptions, and messages of both in flight and waiting."""
    client = world.join("reader", level, clean=False, properties=LONG if level == 5 else None)
    client.subscribe("secret/#", qos=1)
    client.subscribe("open/#", qos=1)
    writer = world.join("writer")
    writer.publish("secret/1", b"in flight", 1)
    client.take()
    client.drop()
    for topic in ("secret/1", "open/1", "secret/1", "secret/1"):
        writer.publish(topic, topic.encode(), 1)
    writer.drop()


def come_back(world: World, level: int = 5) -> Client:
    client = world.dial(level)
    client.connect("reader", clean=False, properties=LONG if level == 5 else None)
    world.answer()
    if client.connack is None:
        client.read_connack()
    return client


@ACLS
@pytest.mark.parametrize("level", [4, 5])
def test_a_session_that_goes_on(world: World, level: int, narrow: type[Listed]) -> None:
    leave_with_queue(world, level)
    world.door.acl = narrow()
    client = come_back(world, level)
    assert client.connack is not None and client.connack.session_present
    assert list(world.node.sessions["reader"].subscriptions) == ["open/#"]
    assert client.payloads() == [b"open/1"]
    assert world.node.stats.drops["revoked"] == 4 and not world.node.stats.drops["denied"]
    assert world.events.drops.count(("reader", "revoked", "secret/1", 1)) == 4
    assert ("reader", "subscribe", "secret/#") in world.events.denials
    world.door.acl = Listed()
    world.join("writer").publish("secret/1", b"later", 0)
    assert client.payloads() == []


def test_nobody_can_tell(world: World) -> None:
    """Then the client is not let in, and keeps what it has for when somebody can."""
    leave_with_queue(world)
    world.door.acl = acl = rpc()
    acl.error = True
    client = come_back(world)
    assert client.connack == p.Connack(reasons.SERVER_UNAVAILABLE, False, {})
    assert len(world.node.sessions["reader"].subscriptions) == 2
    assert world.node.stats.drops["revoked"] == 0


def test_what_is_allowed_still_arrives(world: World) -> None:
    leave_with_queue(world)
    client = come_back(world)
    assert client.payloads() == [b"in flight", b"secret/1", b"open/1", b"secret/1", b"secret/1"]


def test_a_lower_qos(world: World) -> None:
    leave_with_queue(world)
    world.door.acl = Listed({}, {"secret/#": 0})
    come_back(world)
    assert world.node.sessions["reader"].subscriptions["secret/#"].qos == 0


@ACLS
def test_a_token_is_renewed_on_the_connection(world: World, narrow: type[Listed]) -> None:
    """Section 4.12.1: AUTH 0x19 brings other rights, and subscriptions follow them."""
    client = world.dial()
    client.connect("reader", clean=False, properties=RIDDLE)
    client.take()
    client.send(p.Auth(reasons.CONTINUE_AUTHENTICATION, {0x15: "RIDDLE", 0x16: b"answer"}))
    client.read_connack()
    client.subscribe("secret/#", qos=1)
    world.door.acl = narrow()
    client.send(p.Auth(reasons.REAUTHENTICATE, {0x15: "RIDDLE"}))
    client.take()
    client.send(p.Auth(reasons.CONTINUE_AUTHENTICATION, {0x15: "RIDDLE", 0x16: b"answer"}))
    world.answer()
    assert client.take_one(p.Auth).reason == reasons.SUCCESS
    assert world.node.sessions["reader"].subscriptions == {}


@ACLS
def test_rights_change_on_the_connection(world: World, narrow: type[Listed]) -> None:
    """What waits behind a full window is asked about when its turn comes."""
    client = world.join("reader", properties=LONG | {0x21: 1})
    client.subscribe("secret/#", "open/#", qos=1)
    writer = world.join("writer")
    for topic in ("open/1", "secret/1", "open/1"):
        writer.publish(topic, topic.encode(), 1)
    (first,) = client.take_publishes()
    acl = narrow()
    operations = NodeOperations(world.node, world.clock)
    session = world.node.sessions["reader"]
    asked = dict.fromkeys(subscribing.undecided(session, acl, list(session.subscriptions)), ports.DENIED)
    assert set(asked) == ({"secret/#"} if narrow is rpc else set())
    operations.set_acl("reader", acl, asked)
    client.polite = True
    client._acknowledge([first])
    assert client.payloads() == [b"open/1"]
    assert world.events.drops == [("reader", "revoked", "secret/1", 1)]


# ---------------------------------------------------------------- wills


WILL = p.Will("secret/1", b"gone", 1, True, {})
DELAYED = p.Will("secret/1", b"gone", 1, True, {0x18: 10})


def listener(world: World) -> Client:
    client = world.join("listener")
    client.subscribe("secret/1")
    return client


def test_the_right_to_a_will_goes_while_the_client_is_here(world: World) -> None:
    heard = listener(world)
    client = world.join("writer", will=WILL, properties=LONG)
    NodeOperations(world.node, world.clock).set_acl("writer", rules())
    client.drop()
    assert heard.payloads() == []
    assert world.node.retained.get("secret/1") is None
    assert ("writer", "denied", "secret/1", 1) in world.events.drops


@pytest.mark.parametrize("grant", [ports.PUBLISH_ALL, ports.PUBLISH_ALL & ~ports.RETAIN, ports.QOS_0, 0])
@pytest.mark.parametrize("how", ["delayed", "the session ends", "asks"])
def test_a_will_is_asked_about_again(world: World, grant: int, how: str) -> None:
    waiting: list[tuple[Message, Acl | None]] = []
    world.node.ask_will = lambda will, acl: waiting.append((will, acl))
    heard = listener(world)
    world.door.acl = acl = Listed({"secret/1": ports.PUBLISH_ALL})
    client = world.join("writer", will=WILL if how == "asks" else DELAYED, properties=LONG)
    if how == "asks":
        unknown = Listed({"secret/1": ports.UNKNOWN})
        NodeOperations(world.node, world.clock).set_acl("writer", unknown)
        acl = unknown
    client.drop()
    if how == "delayed":
        world.advance(11)
    elif how == "the session ends":
        world.node.forget("writer", world.now)
    ((will, known),) = waiting
    assert known is acl
    assert heard.payloads() == []
    world.node.settle_will(will, grant, world.now)
    world.turn()
    assert heard.payloads() == ([b"gone"] if grant == ports.PUBLISH_ALL else [])
    assert world.node.stats.drops["denied"] == (grant != ports.PUBLISH_ALL)


@pytest.mark.parametrize("reason", [reasons.NOT_AUTHORIZED, reasons.BANNED, reasons.ADMINISTRATIVE_ACTION])
def test_who_may_no_longer_be_here_leaves_no_will(world: World, reason: int) -> None:
    """Unregistered, disabled, banned; who is only told to go leaves one."""
    heard = listener(world)
    world.join("writer", will=WILL, properties=LONG)
    NodeOperations(world.node, world.clock).kick("writer", reason, "")
    world.turn()
    assert heard.payloads() == ([b"gone"] if reason == reasons.ADMINISTRATIVE_ACTION else [])
