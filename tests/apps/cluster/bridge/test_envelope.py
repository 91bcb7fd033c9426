"""A message travels through a record unchanged; what is no message is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.cluster.bridge import envelope
from apps.cluster.bridge.envelope import BadRecord
from apps.cluster.bridge.proof import MessageProof
from apps.cluster.bridge.records import Headers
from apps.gateway.broker.messages import Message
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt import wire
from tests.apps.cluster.bridge.records import NOW, PROOF, read, record

ROTATED = MessageProof([b"n" * 32, b"k" * 32])


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        props.PAYLOAD_FORMAT_INDICATOR: st.sampled_from([0, 1]),
        props.CONTENT_TYPE: TEXT,
        props.RESPONSE_TOPIC: st.just("answers/here"),
        props.CORRELATION_DATA: st.binary(max_size=20),
        props.USER_PROPERTY: st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4),
    },
)


@given(
    PROPERTIES, st.integers(0, 2), st.booleans(), st.binary(max_size=50), st.sampled_from(["", "c-1", "ü"])
)
def test_there_and_back(
    properties: dict[int, Any], qos: int, retain: bool, payload: bytes, origin: str
) -> None:
    sent = Message("a/ü", payload, qos, retain, props.write_body(properties), NOW + 60, origin)
    headers = envelope.headers(sent, NOW, "alice", "n1", "n1-incarnation-1")
    got, node, shares = read(headers, payload)
    assert (got.topic, got.payload, got.qos, got.retain) == ("a/ü", payload, qos, retain)
    assert (got.origin, got.expires, node, shares) == (origin, NOW + 60, "n1", [])
    encoded = wire.varint(len(got.properties)) + got.properties
    assert props.read(encoded, 0, len(encoded), pt.PUBLISH)[0] == properties


@pytest.mark.parametrize("again", [False, True])
def test_only_what_may_come_again_is_known_by_name(again: bool) -> None:
    once = Message("a", b"x", 2)
    got, _, _ = read(envelope.headers(once, NOW, None, "n1", "n1-incarnation-1"))
    assert (got.once, got.again) == ("", False)
    once.once, once.again = "n1-incarnation-2", again
    headers = envelope.headers(once, NOW, None, "n1", once.once)
    proved = [*headers, (envelope.PROOF, PROOF.make(headers, b"x"))]
    got, _, _ = read(proved)
    assert (got.once, got.again) == ("n1-incarnation-2", again)
    assert envelope.message(record(proved), 1000, 100, 5, ROTATED)[0].once == once.once
    others = MessageProof([b"o" * 32]).make(headers, b"x")
    for forged in (  # a service's
        headers,
        [each for each in proved if each[0] != "node"],
        [*headers, (envelope.PROOF, b"")],
        [*headers, (envelope.PROOF, None)],
        [*headers, (envelope.PROOF, others)],
        [*proved, (envelope.SHARE, b"n2 g/a")],
        [*headers, ("mqtt-expiry", b"1"), proved[-1]],
    ):
        got, _, _ = read(forged)
        assert (got.once, got.again) == ("", False)
    assert read(proved, b"y")[0].once == ""


def test_topics_with_a_dollar_are_topics() -> None:
    message, _, _ = read([("mqtt-topic", b"$things/1")])
    assert message.topic == "$things/1"


def test_a_service_needs_one_header() -> None:
    message, node, _ = read([("mqtt-topic", b"commands/1"), ("traceparent", b"00-abc")])
    assert (message.topic, message.payload, message.qos, message.retain) == ("commands/1", b"x", 0, False)
    assert (message.properties, message.expires, message.origin, node) == (b"", 0.0, "", "")


def test_what_services_may_add() -> None:
    headers: Headers = [("mqtt-topic", b"t"), ("qos", b"2"), ("retain", b"true"), ("mqtt-expiry", b"30")]
    message, _, _ = read(headers)
    assert (message.qos, message.retain, message.expires) == (2, True, NOW + 30)


def test_no_value_is_an_empty_payload() -> None:
    assert read([("mqtt-topic", b"t")], None)[0].payload == b""


BAD: list[tuple[str, Headers]] = [
    ("no_topic", []),
    ("no_topic", [("topic", b"t")]),
    ("bad_topic", [("mqtt-topic", b"")]),
    ("bad_topic", [("mqtt-topic", None)]),
    ("bad_topic", [("mqtt-topic", b"a"), ("mqtt-topic", b"b")]),
    ("bad_topic", [("mqtt-topic", b"a/+/b")]),
    ("bad_topic", [("mqtt-topic", b"a/#")]),
    ("bad_topic", [("mqtt-topic", b"\xff\xfe")]),
    ("bad_topic", [("mqtt-topic", b"a\0b")]),
    ("bad_topic", [("mqtt-topic", b"a" * 101)]),
    ("bad_topic", [("mqtt-topic", b"a/a/a/a/a/a")]),
    ("bad_topic", [("mqtt-topic", b"$SYS/broker/uptime")]),
    ("bad_topic", [("mqtt-topic", b"$SYS")]),
    ("bad_topic", [("mqtt-topic", b"$share/g/t")]),
    ("bad_header", [("mqtt-topic", b"t"), ("qos", b"3")]),
    ("bad_header", [("mqtt-topic", b"t"), ("qos", b"\xd9\xa1")]),  # a digit, in Arabic
    ("bad_header", [("mqtt-topic", b"t"), ("qos", None)]),
    ("bad_header", [("mqtt-topic", b"t"), ("retain", b"yes")]),
    ("bad_header", [("mqtt-topic", b"t"), ("mqtt-expiry", b"-1")]),
    ("bad_header", [("mqtt-topic", b"t"), ("mqtt-expiry", b"4294967296")]),
    ("bad_header", [("mqtt-topic", b"t"), ("mqtt-expiry", b"9" * 100)]),
    ("bad_header", [("mqtt-topic", b"t"), ("content-type", b"\xff")]),
    ("bad_header", [("mqtt-topic", b"t"), ("response-topic", b"a/#")]),
    ("bad_header", [("mqtt-topic", b"t"), ("payload-format", b"2")]),
    ("bad_header", [("mqtt-topic", b"t"), ("user.a", b"\0")]),
    ("bad_header", [("mqtt-topic", b"t"), ("client-id", b"\xff")]),
    ("too_large", [("mqtt-topic", b"t"), ("user.a", b"x" * 1000)]),
]


@pytest.mark.parametrize(("reason", "headers"), BAD)
def test_no_message(reason: str, headers: Headers) -> None:
    with pytest.raises(BadRecord) as caught:
        read(headers)
    assert caught.value.reason == reason


def test_larger_than_a_packet_may_be() -> None:
    with pytest.raises(BadRecord) as caught:
        read([("mqtt-topic", b"t")], bytes(1001))
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("name", ["correlation-data", "content-type", "user.a", "user." + "n" * 70_000])
def test_longer_than_mqtt_can_say(name: str) -> None:
    with pytest.raises(BadRecord) as caught:
        read([("mqtt-topic", b"t"), (name, b"x" * 70_000)], max_size=10**6)
    assert caught.value.reason == "bad_header"


def test_more_properties_than_a_packet_may_have() -> None:
    headers: Headers = [("mqtt-topic", b"t"), *((f"user.{n}", b"x" * 60_000) for n in range(20))]
    with pytest.raises(BadRecord) as caught:
        read(headers, max_size=10**8)
    assert caught.value.reason == "too_large"


@given(st.lists(st.tuples(st.sampled_from(["mqtt-topic", "qos", "retain", "mqtt-expiry", "user.", "node",
                                           "client-id", "content-type", "payload-format", "share"]),
                          st.none() | st.binary(max_size=12)), max_size=5))  # fmt: skip
def test_whatever_the_headers_are(headers: Headers) -> None:
    try:
        read(headers)
    except BadRecord as bad:
        assert bad.reason and str(bad)
