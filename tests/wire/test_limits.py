"""What [limits] says, set by the environment and seen at the socket."""

from __future__ import annotations

import contextlib
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.wire.conftest import Start
from tests.wire.nodes import Node, until
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
    sys_value,
)

SERVER_BUSY, QUOTA_EXCEEDED, RATE_EXCEEDED, TOO_LARGE = 0x89, 0x97, 0x9F, 0x95
TOPIC_INVALID, FILTER_INVALID, RECEIVE_EXCEEDED = 0x90, 0x8F, 0x93


@pytest.fixture(params=["tcp", "ws"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def properties(connack: bytes) -> dict[int, int]:
    """The numeric properties of a 5.0 CONNACK."""
    sizes = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}
    found, at = {}, 3
    while at < len(connack):
        size = sizes[connack[at]]
        found[connack[at]] = int.from_bytes(connack[at + 1 : at + 1 + size], "big")
        at += 1 + size
    return found


@pytest.mark.parametrize(("first", "second"), [("tcp", "ws"), ("ws", "tcp"), ("ws", "ws")])
def test_connections(start: Start, first: str, second: str) -> None:
    node = start(LIMITS__MAX_CONNECTIONS="3")
    with contextlib.ExitStack() as stack:
        for number in range(3):
            client = stack.enter_context(open_raw(node, first))
            client.connect(V5, f"c{number}")
        for version, answer in ((V31, b"\0\3"), (V311, b"\0\3"), (V5, None)):
            with open_raw(node, second) as refused:
                refused.send(connect(version, "one too many"))
                packets = refused.closing()
                if answer is not None:
                    assert packets == [(0x20, answer)]
                else:
                    assert [(f, b[1]) for f, b in packets] == [(0x20, SERVER_BUSY)]
        # A client identifier that is connected may come again: the old connection goes.
        client.send(packet(0xE0))
        assert client.closing() == []

    def room() -> bool:
        with open_raw(node, second) as late:
            late.send(connect(V5, "late"))
            return late.packet()[1][1] == 0

    until(room)


def test_connections_of_one_kind(start: Start) -> None:
    """On TCP, what is above the limit is closed unheard: it may be a flood."""
    node = start(LIMITS__MAX_CONNECTIONS="3")
    with contextlib.ExitStack() as stack:
        for number in range(3):
            stack.enter_context(Raw(node.tcp)).connect(V5, f"c{number}")
        with Raw(node.tcp) as refused:
            assert refused.closing() == []


def test_connect_rate(start: Start, transport: str) -> None:
    node = start(LIMITS__CONNECT_RATE="10")
    codes = []
    for number in range(30):
        with open_raw(node, transport) as client:
            client.send(connect(V5, f"c{number}"))
            codes.append(client.packet()[1][1])
    assert 10 <= codes.count(0) < 25
    assert codes.count(RATE_EXCEEDED) == 30 - codes.count(0)
    time.sleep(0.5)
    with open_raw(node, transport) as client:
        client.connect(V5, "later")
    with contextlib.ExitStack() as stack:  # 3.x has a code for "not now"
        answers = set()
        for number in range(15):
            client = stack.enter_context(open_raw(node, transport))
            client.send(connect(V311, f"d{number}"))
            answers.add(client.packet()[1])
        assert answers == {b"\0\0", b"\0\3"}


@pytest.mark.parametrize("version", VERSIONS)
def test_packet_size(shared: Start, transport: str, version: int) -> None:
    node = shared(LIMITS__MAX_PACKET_SIZE="1000")
    overhead = len(publish(version, "t", bytes(200))) - 200
    with open_raw(node, transport) as client:
        connack = client.connect(version, "c")
        if version == V5:
            assert properties(connack)[0x27] == 1000
        client.send(publish(version, "t", bytes(1000 - overhead)))
        client.ping()
        client.send(publish(version, "t", bytes(1001 - overhead)))
        packets = client.closing()
        assert [(f, b[0]) for f, b in packets] == ([(0xE0, TOO_LARGE)] if version == V5 else [])


def test_publish_rate(shared: Start, transport: str) -> None:
    """One second's worth is free; who sent more is read on when that is paid back. Nothing is lost."""
    node = shared(LIMITS__PUBLISH_RATE="20")
    with open_raw(node, transport) as writer, Raw(node.tcp) as reader, Raw(node.tcp) as other:
        writer.connect(V311, "writer")
        other.connect(V311, "other")
        reader.connect(V311, "reader")
        reader.subscribe(V311, "t")
        begun = time.monotonic()
        for number in range(60):
            writer.send(publish(V311, "t", b"%d" % number))
        other.ping()
        assert time.monotonic() - begun < 0.5
        payloads = [split_publish(V311, *reader.packet())[1] for _ in range(60)]
        assert payloads == [b"%d" % number for number in range(60)]
        writer.ping()
        assert 1.5 < time.monotonic() - begun < 4.5


def test_what_a_client_is_told(shared: Start, transport: str) -> None:
    node = shared(
        LIMITS__RECEIVE_MAXIMUM="7",
        LIMITS__TOPIC_ALIAS_MAXIMUM="3",
        LIMITS__MAX_KEEPALIVE="100",
        LIMITS__SESSION_EXPIRY_MAX="50",
        LIMITS__MIN_KEEPALIVE="10",
    )
    with open_raw(node, transport) as client:
        told = properties(client.connect(V5, "c", keepalive=200, properties=b"\x11\xff\xff\xff\xff"))
        assert (told[0x21], told[0x22], told[0x13], told[0x11]) == (7, 3, 100, 50)
    with open_raw(node, transport) as client:
        assert properties(client.connect(V5, "c", keepalive=5))[0x13] == 10


def test_receive_maximum(shared: Start, transport: str) -> None:
    """[MQTT-3.3.4-7]: QoS 2 publishes without PUBREL, one more than allowed."""
    node = shared(LIMITS__RECEIVE_MAXIMUM="3")
    with open_raw(node, transport) as client:
        client.connect(V5, "c")
        for number in range(4):
            client.send(publish(V5, "t", qos=2, packet_id=number + 1))
        packets = client.closing()
        assert [first for first, _ in packets] == [0x50] * 3 + [0xE0]
        assert packets[-1][1][0] == RECEIVE_EXCEEDED


@pytest.mark.parametrize(
    ("setting", "good", "bad"),
    [
        ({"LIMITS__MAX_TOPIC_LENGTH": "10"}, "0123456789", "0123456789x"),
        ({"LIMITS__MAX_TOPIC_LEVELS": "3"}, "a/b/c", "a/b/c/d"),
    ],
)
def test_topics(start: Start, setting: dict[str, str], good: str, bad: str) -> None:
    node = start(**setting)
    with Raw(node.tcp) as client:
        client.connect(V5, "c")
        client.subscribe(V5, good)
        client.send(publish(V5, good, b"x"))
        assert split_publish(V5, *client.packet()) == (good, b"x")
        client.send(subscribe(V5, bad, packet_id=2))
        assert client.packet() == (0x90, b"\0\2\0" + bytes([FILTER_INVALID]))
        client.send(publish(V5, bad))
        assert [(f, b[0]) for f, b in client.closing()] == [(0xE0, TOPIC_INVALID)]


def test_subscriptions(start: Start) -> None:
    node = start(LIMITS__MAX_SUBSCRIPTIONS="2")
    for version, code in ((V311, 0x80), (V5, QUOTA_EXCEEDED)):
        with Raw(node.tcp) as client:
            client.connect(version, "c")
            client.subscribe(version, "a", "b")
            client.send(subscribe(version, "c", "b"))
            assert client.packet()[1][-2:] == bytes([code, 0])  # the second is one that it has


def test_inflight_window(shared: Start, transport: str) -> None:
    node = shared(LIMITS__INFLIGHT_WINDOW="5", LIMITS__MAX_QUEUED_MESSAGES="10", NODE__SYS_INTERVAL="1")
    with open_raw(node, transport) as reader, Raw(node.tcp) as writer:
        reader.connect(V311, "reader")
        reader.subscribe(V311, "t", qos=1)
        writer.connect(V311, "writer")
        for number in range(20):
            writer.send(publish(V311, "t", b"%d" % number, qos=1, packet_id=number + 1))
        for _ in range(20):
            assert writer.packet()[0] == 0x40
        got = []
        for _ in range(15):  # 5 in flight, 10 queued, the others dropped
            first, body = reader.packet()
            got.append(split_publish(V311, first, body)[1])
            if len(got) == 5:
                reader.send(packet(0xC0))
                assert reader.packet()[0] == 0xD0  # nothing more without an acknowledgement
                reader.send(b"".join(packet(0x40, struct.pack("!H", n)) for n in range(1, 6)))
            elif len(got) == 10:
                reader.send(b"".join(packet(0x40, struct.pack("!H", n)) for n in range(6, 11)))
        assert got == [b"%d" % number for number in range(15)]
        until(lambda: sys_value(node, "publish/messages/dropped") == 5)


def test_retained_messages(start: Start) -> None:
    node = start(LIMITS__MAX_RETAINED_MESSAGES="2", NODE__SYS_INTERVAL="0")
    with Raw(node.tcp) as client:
        client.connect(V311, "c")
        for topic in ("a", "b", "c"):
            client.send(publish(V311, topic, b"kept", retain=True))
        client.subscribe(V311, "#")
        assert {split_publish(V311, *client.packet())[0] for _ in range(2)} == {"a", "b"}
        client.ping()


@pytest.mark.parametrize("version", [V311, V5])
def test_large_messages_back_to_back(node: Node, version: int) -> None:
    """More than may be queued, as fast as the socket takes them, with the shipped limits."""
    size, count = 9 * 1024 * 1024, 10
    with Raw(node.tcp, timeout=60) as reader, Raw(node.tcp, timeout=60) as writer:
        reader.connect(version, f"large-reader-{version}")
        reader.subscribe(version, f"large/{version}", qos=1)
        writer.connect(version, f"large-writer-{version}")

        def write() -> None:
            for number in range(count):
                data = number.to_bytes(1, "big") * size
                writer.send(publish(version, f"large/{version}", data, qos=1, packet_id=number + 1))

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            for number in range(count):
                first, body = reader.packet()
                assert body[-1] == number
                place = 2 + len(f"large/{version}")
                reader.send(b"\x40\x02" + body[place : place + 2])
                assert first & 0xF0 == 0x30 and len(body) > size
            writing.result()
        for number in range(count):
            first, body = writer.packet()
            assert (first, body) == (0x40, (number + 1).to_bytes(2, "big"))
