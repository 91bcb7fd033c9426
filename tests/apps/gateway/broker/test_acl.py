"""What the ACL allows, denies or has to be asked for."""

from __future__ import annotations

import pytest

from apps.gateway.broker import ports, subscribing
from apps.gateway.broker.ports import Verdict
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from tests.apps.gateway.support.doors import Listed
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("extra", ({}, {0x03: "text"}))
def test_a_denied_publish(world: World, level: int, extra: dict[int, object]) -> None:
    """5.0 is told 0x87, 3.x gets a plain acknowledgement [MQTT-3.3.5-2] of 3.1.1; the connection stays."""
    world.door.acl = Listed({"closed": ports.NOTHING})
    reader = world.join("reader")
    reader.subscribe("#")
    client = world.join("client", level)
    reason = reasons.NOT_AUTHORIZED if level == 5 else 0
    properties = extra if level == 5 else {}
    client.publish("closed", b"0", 0, properties=properties)
    one = client.publish("closed", b"1", 1, properties=properties)
    two = client.publish("closed", b"2", 2, properties=properties)
    assert client.take() == [p.Ack(pt.PUBACK, one, reason), p.Ack(pt.PUBREC, two, reason)]
    if level < 5:
        client.ack(pt.PUBREL, two)
        assert client.take() == [p.Ack(pt.PUBCOMP, two)]
    client.publish("open", b"3")
    assert reader.payloads() == [b"3"]
    assert world.events.denials == [("client", "publish", "closed")]  # told once
    assert world.node.stats.drops["denied"] == 3


@pytest.mark.parametrize(
    ("grant", "allowed"),
    [
        (ports.QOS_0, {(0, False)}),
        (ports.QOS_0 | ports.QOS_1, {(0, False), (1, False)}),
        (ports.QOS_2, {(2, False)}),
        (ports.PUBLISH_ALL & ~ports.RETAIN, {(0, False), (1, False), (2, False)}),
        (ports.QOS_0 | ports.RETAIN, {(0, False), (0, True)}),
        (ports.RETAIN, set()),
        (ports.PUBLISH_ALL, {(qos, retain) for qos in range(3) for retain in (False, True)}),
    ],
)
def test_by_qos_and_retain(world: World, grant: int, allowed: set[tuple[int, bool]]) -> None:
    world.door.acl = Listed({"t": grant})
    reader = world.join("reader")
    reader.subscribe("t")
    writer = world.join("writer", 4)
    writer.polite = True
    got = set()
    for qos in range(3):
        for retain in (False, True):
            writer.publish("t", b"x", qos, retain)
            writer.take()
            if reader.take():
                got.add((qos, retain))
    assert got == allowed
    retainable = any(retain for _, retain in allowed)
    assert len(world.node.retained) == retainable


@pytest.mark.parametrize("level", LEVELS)
def test_nobody_publishes_under_sys(world: World, level: int) -> None:
    reader = world.join("reader")
    reader.subscribe("$SYS/#")
    client = world.join("client", level)
    client.publish("$SYS/broker/version", b"9.9", 1, True)
    assert client.take_one(p.Ack).reason == (reasons.NOT_AUTHORIZED if level == 5 else 0)
    assert reader.take() == []
    refused = world.dial(level)
    refused.connect("other", will=p.Will("$SYS/x", b""))
    assert refused.connack is not None
    assert refused.connack.reason == (reasons.NOT_AUTHORIZED if level == 5 else 5)


@pytest.mark.parametrize("level", (4, 5))
def test_a_denied_subscription(world: World, level: int) -> None:
    """Others in the packet are granted; a shared filter is judged without its prefix."""
    world.door.acl = Listed(subscribe_grants={"closed": ports.DENIED, "little": 0})
    client = world.join("client", level)
    refused = reasons.NOT_AUTHORIZED if level == 5 else 0x80
    suback = client.subscribe("open", "closed", "little", "$share/g/closed", "a/#/b", qos=1)
    bad = reasons.TOPIC_FILTER_INVALID if level == 5 else 0x80
    assert suback.reasons == [1, refused, 0, refused, bad]
    assert set(world.node.sessions["client"].subscriptions) == {"open", "little"}
    assert world.events.denials == [
        ("client", "subscribe", "closed"),
        ("client", "subscribe", "$share/g/closed"),
    ]


def test_3_1_has_no_code_for_it(world: World) -> None:
    """As with mosquitto: the SUBACK grants what was asked for, no message comes, and the operator is told."""
    world.door.acl = Listed(subscribe_grants={"closed": ports.DENIED})
    client = world.join("client", 3)
    client.send(p.Subscribe(1, [p.Filter("open", 1), p.Filter("closed", 2)]))
    assert client.take() == [p.Suback(1, [1, 2])]
    assert list(client.connection.session.subscriptions) == ["open"]
    assert world.events.denials == [("client", "subscribe", "closed")]
    writer = world.join("writer")
    writer.publish("closed", b"x")
    writer.publish("open", b"y")
    assert client.payloads() == [b"y"]


def test_a_malformed_filter_ends_a_3_1_connection(world: World) -> None:
    client = world.join("client", 3)
    client.send(p.Subscribe(1, [p.Filter("open"), p.Filter("a/#/b")]))
    assert client.closed and client.take() == []
    assert world.node.router.trie.count == 0


@pytest.mark.parametrize("level", LEVELS)
def test_what_has_to_be_asked_waits_and_keeps_its_order(world: World, level: int) -> None:
    """Nothing behind the question overtakes it; asked once for each topic."""
    acl = Listed({"a": ports.UNKNOWN, "b": ports.UNKNOWN}, answers={"b": ports.NOTHING})
    world.door.acl = acl
    reader = world.join("reader")
    reader.subscribe("#")
    client = world.join("client", level)
    client.send(
        p.Publish("x", b"0"),
        p.Publish("a", b"1"),
        p.Publish("x", b"2"),
        p.Publish("a", b"3", 1, packet_id=1),
        p.Publish("b", b"4", 1, packet_id=2),
        p.Publish("a", b"5", 2, True, packet_id=3),
        p.Ping(pt.PINGREQ),
    )
    assert client.link.paused_reading
    client.send_raw(b"\x30\x03\x00\x01x" if level < 5 else b"\x30\x04\x00\x01x\x00")  # was under way
    assert reader.payloads() == [b"0"]
    world.answer()
    assert reader.payloads() == [b"1", b"2", b"3"]
    assert client.link.paused_reading
    world.answer()
    assert not client.link.paused_reading
    assert reader.payloads() == [b"5", b""]
    reason = reasons.NOT_AUTHORIZED if level == 5 else 0
    assert client.take() == [
        p.Ack(pt.PUBACK, 1),
        p.Ack(pt.PUBACK, 2, reason),
        p.Ack(pt.PUBREC, 3),
        p.Ping(pt.PINGRESP),
    ]
    assert acl.asked == ["a", "b"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_subscription_that_has_to_be_asked_for(world: World, level: int) -> None:
    world.door.acl = Listed(subscribe_grants={"a": ports.UNKNOWN, "b": 0}, answers={"a": 1})
    client = world.join("client", level)
    client.send(
        p.Subscribe(1, [p.Filter("a", 2), p.Filter("b", 2), p.Filter("c", 2)]),
        p.Publish("a", b"x", 1, packet_id=1),
    )
    assert client.take() == []
    world.answer()
    assert client.take() == [
        p.Suback(1, [1, 0, 2]),
        p.Publish("a", b"x", 1, packet_id=1),
        p.Ack(pt.PUBACK, 1),
    ]


def test_never_more_than_was_asked_for(world: World) -> None:
    """[MQTT-3.8.4-8], whatever the ACL says, and for each filter on its own."""
    world.door.acl = Listed(subscribe_grants={"a": ports.UNKNOWN, "b": 2}, answers={"a": 2})
    client = world.join("client")
    client.send(p.Subscribe(1, [p.Filter("a", 0), p.Filter("b", 1), p.Filter("$share/g/a", 2)]))
    world.answer()
    world.answer()
    assert client.take_one(p.Suback).reasons == [0, 1, 2]


@pytest.mark.parametrize("answer", (ports.UNKNOWN, ports.DENIED, ports.NOTHING))
def test_an_answer_that_is_none_allows_nothing(world: World, answer: int) -> None:
    world.door.acl = Listed({"t": ports.UNKNOWN}, {"f": ports.UNKNOWN}, {"t": answer, "f": answer or -2})
    client = world.join("client")
    client.publish("t", b"x", 1)
    world.answer()
    assert client.take_one(p.Ack).reason == reasons.NOT_AUTHORIZED
    client.send(p.Subscribe(1, [p.Filter("f", 1)]))
    world.answer()
    assert client.take_one(p.Suback).reasons == [reasons.NOT_AUTHORIZED]


def test_an_authority_that_is_away_allows_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.door.acl = Listed({"t": ports.UNKNOWN}, {"f": ports.UNKNOWN}, error=True)
    client = world.join("client")
    client.publish("t", b"x", 1)
    world.answer()
    assert client.take_one(p.Ack).reason == reasons.NOT_AUTHORIZED
    client.send(p.Subscribe(1, [p.Filter("f")]))
    world.answer()
    assert client.take_one(p.Suback).reasons == [reasons.NOT_AUTHORIZED]
    assert "the authority is away" in caplog.text


def test_a_client_that_does_not_wait_for_the_answer(world: World) -> None:
    world.door.acl = Listed({"t": ports.UNKNOWN}, {"f": ports.UNKNOWN})
    for packet in (p.Publish("t", b"x", 1, packet_id=1), p.Subscribe(1, [p.Filter("f")])):
        client = world.join("client")
        client.send(packet, p.Publish("t", b"y"))
        client.drop()
        world.answer()
    assert world.node.router.trie.count == 0


def test_wills(world: World) -> None:
    world.door.acl = Listed({"closed": ports.NOTHING, "q": ports.UNKNOWN}, answers={"q": ports.QOS_0})
    for will, reason in (
        (p.Will("closed", b""), reasons.NOT_AUTHORIZED),
        (p.Will("q", b"", 1), reasons.NOT_AUTHORIZED),
        (p.Will("q", b"", 0, True), reasons.NOT_AUTHORIZED),
        (p.Will("q", b""), 0),
    ):
        client = world.dial()
        client.connect("client", will=will)
        world.answer()
        client.read_connack()
        assert client.connack is not None and client.connack.reason == reason


def test_a_changed_acl_holds_at_once(world: World) -> None:
    client = world.join("client")
    client.subscribe("a/#", "b", "$share/g/c", qos=2)
    client.publish("t", b"x", 1)
    client.take()
    changed = Listed({"t": ports.NOTHING}, {"a/#": ports.DENIED, "b": 0, "c": ports.DENIED})
    subscribing.change_acl(client.connection, changed)
    client.publish("t", b"x", 1)
    assert client.take_one(p.Ack).reason == reasons.NOT_AUTHORIZED
    writer = world.join("writer")
    for topic in ("a/x", "b", "c"):
        writer.publish(topic, b"x", 1)
    assert client.take() == [p.Publish("b", b"x")]
    assert list(world.node.sessions["client"].subscriptions) == ["b"]


@pytest.mark.parametrize(
    ("reason", "old"),
    [
        (reasons.BAD_USER_NAME_OR_PASSWORD, 4),
        (reasons.NOT_AUTHORIZED, 5),
        (reasons.BANNED, 5),
        (reasons.SERVER_UNAVAILABLE, 3),
        (reasons.USE_ANOTHER_SERVER, 3),
    ],
)
def test_a_client_that_is_not_let_in(world: World, reason: int, old: int) -> None:
    verdict = Verdict(reason, reason_string="no", server_reference="other:1883")
    world.door.verdicts["mallory"] = verdict
    for level in LEVELS:
        client = world.dial(level)
        client.connect("client", username="mallory", password=b"secret")
        expected = p.Connack(old)
        if level == 5:
            expected = p.Connack(reason, False, {0x1F: "no", 0x1C: "other:1883"})
        assert client.connack == expected
        assert client.closed
    assert world.node.stats.refused == {reason: 3}
    assert world.events.refusals == [("client", reason, "no")] * 3


def test_an_authenticator_that_is_broken_lets_nobody_in(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.door.error = True
    client = world.dial()
    client.connect("client", username="alice", password=b"a secret")
    assert client.connack is not None and client.connack.reason == reasons.SERVER_UNAVAILABLE
    assert "the authority is away" in caplog.text and "secret" not in caplog.text


def test_credentials_that_end(world: World) -> None:
    world.door.verdicts["alice"] = Verdict(0, world.door.acl, expires_at=world.now + 60)
    client = world.join("client", username="alice")
    world.advance(59)
    assert not client.closed
    world.advance(2)
    assert client.take_one(p.Disconnect).reason == reasons.NOT_AUTHORIZED
    assert client.closed
