"""Packets that break the protocol, over sockets, in every version: the reason that the specification
names, the close, and nobody else disturbed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.wire.nodes import Node
from tests.wire.raw import (
    V5,
    V31,
    V311,
    VERSIONS,
    Raw,
    connect,
    open_raw,
    packet,
    publish,
    split_publish,
    subscribe,
    text,
)

MALFORMED, PROTOCOL, TOO_LARGE = 0x81, 0x82, 0x95
TOPIC_NAME, ALIAS, UNSUPPORTED, CLIENT_ID = 0x90, 0x94, 0x84, 0x85

count = itertools.count()


@pytest.fixture(params=["tcp", "ws"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bystanders(node: Node) -> Iterator[None]:
    """Two clients that go on talking while somebody else misbehaves."""
    topic = f"bystanders/{next(count)}"
    with Raw(node.tcp) as reader, Raw(node.tcp) as writer:
        reader.connect(V311, f"reader-{topic}")
        writer.connect(V5, f"writer-{topic}")
        reader.subscribe(V311, topic, qos=1)
        yield
        writer.send(publish(V5, topic, b"still here", qos=1))
        assert writer.packet()[0] == 0x40
        assert split_publish(V311, *reader.packet()) == (topic, b"still here")


def ids(cases: list[tuple[str, bytes, int]]) -> list[str]:
    return [name for name, _, _ in cases]


# On an open connection: (what it is, bytes, reason of the DISCONNECT in 5.0).
ANY_VERSION = [
    ("remaining length of five bytes", b"\x30\xff\xff\xff\xff\x7f", MALFORMED),
    ("256 MB announced, ten bytes sent", b"\x30\xff\xff\xff\x7f\x00\x01t12345", TOO_LARGE),
    ("packet type 0", packet(0x00), PROTOCOL),
    ("SUBSCRIBE with flags 0", packet(0x80, b"\0\1\0\0\1t\0"), MALFORMED),
    ("UNSUBSCRIBE with flags 0", packet(0xA0, b"\0\1\0\0\1t"), MALFORMED),
    ("PUBREL with flags 0", packet(0x60, b"\0\1"), MALFORMED),
    ("PUBACK with flags 1", packet(0x41, b"\0\1"), MALFORMED),
    ("PINGREQ with flags 1", packet(0xC1), MALFORMED),
    ("PINGREQ with a body", packet(0xC0, b"x"), MALFORMED),
    ("DISCONNECT with flags 1", packet(0xE1), MALFORMED),
    ("PUBLISH of QoS 3", packet(0x36, b"\0\1t\0\1\0"), MALFORMED),
    ("PUBLISH of one byte", packet(0x30, b"\0"), MALFORMED),
    ("PUBLISH whose topic passes its end", packet(0x30, b"\xff\xfftopic"), MALFORMED),
    ("PUBLISH of QoS 1 without packet identifier", packet(0x32, b"\0\1t"), MALFORMED),
    ("PUBACK of one byte", packet(0x40, b"\0"), MALFORMED),
    ("SUBSCRIBE of two bytes", packet(0x82, b"\0\1"), MALFORMED),
    ("CONNACK from a client", packet(0x20, b"\0\0\0"), PROTOCOL),
    ("SUBACK from a client", packet(0x90, b"\0\1\0\0"), PROTOCOL),
    ("UNSUBACK from a client", packet(0xB0, b"\0\1\0\0"), PROTOCOL),
    ("PINGRESP from a client", packet(0xD0), PROTOCOL),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("data", "reason"), [case[1:] for case in ANY_VERSION], ids=ids(ANY_VERSION))
@pytest.mark.usefixtures("bystanders")
def test_packets_that_no_version_knows(
    node: Node, transport: str, version: int, data: bytes, reason: int
) -> None:
    expect_close(node, transport, version, data, reason)


def by_version(version: int) -> list[tuple[str, bytes, int]]:
    empty = b"\0" if version == V5 else b""  # properties
    options = b"\0"
    bad_strings = [
        ("invalid UTF-8", b"a\xff", MALFORMED),
        ("a UTF-16 surrogate", b"a\xed\xa0\x80", MALFORMED),
        ("an overlong encoding", b"a\xc0\xaf", MALFORMED),
        ("U+0000", b"a\0b", MALFORMED),
    ]
    cases = [(f"PUBLISH to {name}", publish_raw(version, raw), code) for name, raw, code in bad_strings]
    cases += [
        (f"SUBSCRIBE to {name}", packet(0x82, b"\0\1" + empty + text(raw) + options), code)
        for name, raw, code in bad_strings
    ]
    cases += [
        ("PUBLISH to +", publish_raw(version, b"a/+/b"), TOPIC_NAME),
        ("PUBLISH to #", publish_raw(version, b"a/#"), TOPIC_NAME),
        ("PUBLISH to an empty topic", publish_raw(version, b""), PROTOCOL if version == V5 else TOPIC_NAME),
        ("PUBLISH with packet identifier 0", publish(version, "t", qos=1, packet_id=0), PROTOCOL),
        ("PUBLISH with DUP and QoS 0", packet(0x38, text("t") + empty), MALFORMED),
        ("SUBSCRIBE with packet identifier 0", subscribe(version, "t", packet_id=0), PROTOCOL),
        ("SUBSCRIBE without a filter", packet(0x82, b"\0\1" + empty), PROTOCOL),
        ("SUBSCRIBE with QoS 3", subscribe(version, "t", qos=3), MALFORMED),
        ("SUBSCRIBE cut in its filter", packet(0x82, b"\0\1" + empty + b"\0\5ab"), MALFORMED),
        ("UNSUBSCRIBE without a filter", packet(0xA2, b"\0\1" + empty), PROTOCOL),
        ("UNSUBSCRIBE with packet identifier 0", packet(0xA2, b"\0\0" + empty + text("t")), PROTOCOL),
        ("a second CONNECT", connect(version, "again"), PROTOCOL),
    ]
    if version == V5:
        return [
            *cases,
            ("unknown property", publish(V5, "t", properties=b"\x7f\0"), MALFORMED),
            ("unknown property of two bytes", publish(V5, "t", properties=b"\x80\x01\0"), MALFORMED),
            ("property twice", publish(V5, "t", properties=b"\x01\0\x01\0"), PROTOCOL),
            ("property of another packet", publish(V5, "t", properties=b"\x11\0\0\0\1"), MALFORMED),
            ("property cut short", publish(V5, "t", properties=b"\x02\0"), MALFORMED),
            ("properties longer than the packet", packet(0x30, text("t") + b"\x7f"), MALFORMED),
            ("payload format 2", publish(V5, "t", properties=b"\x01\2"), PROTOCOL),
            ("topic alias 0", publish(V5, "t", properties=b"\x23\0\0"), ALIAS),
            ("topic alias above the maximum", publish(V5, "t", properties=b"\x23\xff\xff"), ALIAS),
            ("topic alias that is not known", publish(V5, "", properties=b"\x23\0\1"), PROTOCOL),
            ("response topic with a wildcard", publish(V5, "t", properties=b"\x08\0\1#"), PROTOCOL),
            ("subscription identifier from a client", publish(V5, "t", properties=b"\x0b\1"), PROTOCOL),
            ("subscription identifier 0", packet(0x82, b"\0\1\2\x0b\0\0\1t\0"), PROTOCOL),
            ("reserved subscription options", packet(0x82, b"\0\1\0\0\1t\xc0"), MALFORMED),
            ("retain handling 3", packet(0x82, b"\0\1\0\0\1t\x30"), PROTOCOL),
            (
                "no local on a shared subscription",
                packet(0x82, b"\0\1\0\0\x0a$share/g/t\4"),
                PROTOCOL,
            ),
            ("AUTH without a method in CONNECT", packet(0xF0, b"\x19\0"), PROTOCOL),
            ("user property with U+0000", publish(V5, "t", properties=b"\x26\0\1k\0\1\0"), MALFORMED),
            ("session expiry that CONNECT had not", packet(0xE0, b"\0\5\x11\0\0\0\1"), PROTOCOL),
        ]
    return [*cases, ("packet type 15", packet(0xF0), MALFORMED)]


def publish_raw(version: int, topic: bytes) -> bytes:
    return packet(0x30, text(topic) + (b"\0" if version == V5 else b""))


@pytest.mark.parametrize(
    ("version", "data", "reason"),
    [pytest.param(v, *case[1:], id=f"{case[0]}-{v}") for v in VERSIONS for case in by_version(v)],
)
@pytest.mark.usefixtures("bystanders")
def test_packets_that_are_wrong_inside(
    node: Node, transport: str, version: int, data: bytes, reason: int
) -> None:
    expect_close(node, transport, version, data, reason)


def expect_close(node: Node, transport: str, version: int, data: bytes, reason: int) -> None:
    with open_raw(node, transport) as client:
        client.connect(version, f"bad-{next(count)}")
        client.send(data)
        packets = client.closing()
        if version == V5:  # [MQTT-4.13.1-1]
            assert [(first, body[0]) for first, body in packets] == [(0xE0, reason)]
        else:  # 3.x has no DISCONNECT from the server
            assert packets == []


# Before anybody is let in: (what it is, bytes, the CONNACK that may come before the close).
def connect_body(version: int, flags: int = 2, tail: bytes = b"\0\1c", level: int | None = None) -> bytes:
    name = text("MQIsdp" if version == V31 else "MQTT")
    head = name + bytes([version if level is None else level, flags]) + b"\0\x3c"
    return packet(0x10, head + (b"\0" if version == V5 else b"") + tail)


def first_packets(version: int) -> list[tuple[str, bytes, int]]:
    """The third is the reason in a 5.0 CONNACK; in 3.x the connection is just closed. 0: in 5.0 as well."""
    cases = [
        ("PUBLISH", publish(version, "t"), 0),
        ("SUBSCRIBE", subscribe(version, "t"), 0),
        ("PINGREQ", packet(0xC0), 0),
        ("DISCONNECT", packet(0xE0), 0),
        ("packet type 0", packet(0), 0),
        ("CONNECT with flags 1", b"\x11" + connect(version, "c")[1:], MALFORMED),
        ("wrong protocol name", packet(0x10, text("MQTX") + bytes([version, 2]) + b"\0\0\0\0\1c"), 0),
        ("an empty CONNECT", packet(0x10), 0),
        ("256 MB announced, ten bytes sent", b"\x10\xff\xff\xff\x7f\x00\x04MQTT", 0),
        ("remaining length of five bytes", b"\x10\xff\xff\xff\xff\x7f", 0),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        ("TLS", bytes.fromhex("1603010200010001fc0303") + bytes(40), 0),
        ("reserved flag", connect_body(version, flags=3), MALFORMED),
        ("will QoS 3", connect_body(version, flags=0x1E), MALFORMED),
        ("will QoS without a will", connect_body(version, flags=0x0A), MALFORMED),
        ("will retain without a will", connect_body(version, flags=0x22), MALFORMED),
        ("a will that is not there", connect_body(version, flags=6), MALFORMED),
        ("trailing bytes", connect_body(version, tail=b"\0\1cXYZ"), MALFORMED),
        ("client identifier of invalid UTF-8", connect_body(version, tail=b"\0\1\xff"), MALFORMED),
        ("client identifier with U+0000", connect_body(version, tail=b"\0\1\0"), MALFORMED),
        ("client identifier cut short", connect_body(version, tail=b"\0\5c"), MALFORMED),
    ]
    if version != V31:  # whose section 3.1 lets the connection go on
        cases.append(("a user name that is not there", connect_body(version, flags=0x82), MALFORMED))
    if version != V5:
        return [*cases, ("a password without a user name", connect_body(version, 0x42, b"\0\1c\0\1p"), 0)]
    will = packet(0x10, text("MQTT") + b"\5\x06\0\x3c\0\0\1c" + b"\0" + text("a/+") + text("x"))
    return [
        *cases,
        ("receive maximum 0", connect(V5, "c", properties=b"\x21\0\0"), PROTOCOL),
        ("maximum packet size 0", connect(V5, "c", properties=b"\x27\0\0\0\0"), PROTOCOL),
        ("property twice", connect(V5, "c", properties=b"\x21\0\1\x21\0\1"), PROTOCOL),
        ("property of another packet", connect(V5, "c", properties=b"\x23\0\1"), MALFORMED),
        ("authentication data without method", connect(V5, "c", properties=b"\x16\0\0"), PROTOCOL),
        ("request problem information 2", connect(V5, "c", properties=b"\x17\2"), PROTOCOL),
        ("a will to a wildcard", will, TOPIC_NAME),
        ("a method nobody here speaks", connect(V5, "c", properties=b"\x15" + text("X")), 0x8C),
    ]


@pytest.mark.parametrize(
    ("version", "data", "reason"),
    [pytest.param(v, *case[1:], id=f"{case[0]}-{v}") for v in VERSIONS for case in first_packets(v)],
)
@pytest.mark.usefixtures("bystanders")
def test_first_packets_that_let_nobody_in(
    node: Node, transport: str, version: int, data: bytes, reason: int
) -> None:
    with open_raw(node, transport) as client:
        client.send(data)
        packets = client.closing()
        if version == V5 and reason:
            assert [(first, body[1]) for first, body in packets] == [(0x20, reason)]
        else:
            assert packets == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("level", [0, 1, 2, 6, 0x86, 255])
def test_an_unknown_protocol_level_is_answered(node: Node, transport: str, version: int, level: int) -> None:
    """[MQTT-3.1.2-2]: CONNACK 0x01 in 3.x form, which a client of any version can read."""
    with open_raw(node, transport) as client:
        client.send(connect_body(version, level=level))
        assert client.closing() == [(0x20, b"\0\1")]


@pytest.mark.parametrize(("version", "clean", "code"), [(V31, True, 2), (V311, False, 2)])
def test_an_empty_client_identifier_is_refused_where_it_has_to_be(
    node: Node, transport: str, version: int, clean: bool, code: int
) -> None:
    """[MQTT-3.1.3-8]"""
    with open_raw(node, transport) as client:
        client.send(connect(version, "", clean=clean))
        assert client.closing() == [(0x20, bytes([0, code]))]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_came_before_a_bad_packet_is_delivered(node: Node, transport: str, version: int) -> None:
    topic = f"before/{next(count)}"
    with open_raw(node, transport) as reader, open_raw(node, transport) as writer:
        reader.connect(version, f"r{topic}")
        reader.subscribe(version, topic)
        writer.connect(version, f"w{topic}")
        writer.send(publish(version, topic, b"1") + publish(version, topic, b"2") + packet(0))
        writer.closing()
        assert [split_publish(version, *reader.packet())[1] for _ in range(2)] == [b"1", b"2"]
