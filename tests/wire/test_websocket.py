"""MQTT over WebSocket (section 6): the handshake, frames that have nothing to do with packets, bad frames."""

from __future__ import annotations

import contextlib
import time

import pytest

from tests.wire.certs import Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node, until
from tests.wire.raw import (
    CLOSE,
    PING,
    TEXT,
    V5,
    V31,
    V311,
    VERSIONS,
    Closed,
    Raw,
    RawWebSocket,
    Refused,
    connect,
    ends_in_order,
    frame,
    packet,
    publish,
    split_publish,
    subscribe,
)

MB = 1_048_576
NORMAL, PROTOCOL_ERROR, UNSUPPORTED_DATA, BAD_TEXT, TOO_BIG = 1000, 1002, 1003, 1007, 1009


def closed_with(client: RawWebSocket) -> int:
    """The code of the node's close frame; once that is answered, the node closes the connection."""
    with pytest.raises(Closed):
        while True:
            client.packet()
    if client.close_code == TOO_BIG:  # an answer would be taken for a part of the frame
        return TOO_BIG
    with contextlib.suppress(OSError):
        client.frame(client.close_code.to_bytes(2, "big"), CLOSE)
        client.sock.recv(1)
    return client.close_code


# Handshake ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("mqtt", "mqtt"), ("mqttv3.1", "mqttv3.1"), ("chat, mqtt", "mqtt"), ("mqttv3.1, mqtt", "mqttv3.1")],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_subprotocols(node: Node, offered: str, chosen: str, version: int) -> None:
    """[MQTT-6.0.0-4]; old clients say mqttv3.1 whatever they speak."""
    with RawWebSocket(node.ws, subprotocol=offered) as client:
        assert client.headers["sec-websocket-protocol"] == chosen
        client.connect(version, "c")
        client.ping()


@pytest.mark.parametrize("offered", ["", "chat", "MQTT", "mqtt5", "amqp, wamp"])
def test_another_subprotocol_is_refused(node: Node, offered: str) -> None:
    """[MQTT-6.0.0-3]"""
    with pytest.raises(Refused) as refusal:
        RawWebSocket(node.ws, subprotocol=offered)
    assert refusal.value.status == 403


@pytest.mark.parametrize("path", ["/", "/mqttx", "/mqtt/x", "/admin/", "/healthz", "//mqtt", "/MQTT"])
def test_another_path_is_refused(node: Node, path: str) -> None:
    with pytest.raises(Refused) as refusal:
        RawWebSocket(node.ws, path=path)
    assert refusal.value.status == 403


@pytest.mark.parametrize("path", ["/mqtt", "/mqtt/", "/mqtt?device=7"])
def test_the_path(node: Node, path: str) -> None:
    with RawWebSocket(node.ws, path=path) as client:
        client.connect(V5, "c")


def test_the_path_is_configurable(start: Start) -> None:
    node = start(LISTENERS__WEBSOCKET_PATH="/iot/ws")
    with RawWebSocket(node.ws, path="/iot/ws") as client:
        client.connect(V5, "c")
    with pytest.raises(Refused):
        RawWebSocket(node.ws)


def test_mqtt_without_websocket_is_no_http(node: Node) -> None:
    with Raw(node.ws) as client:
        client.send(connect(V311, "lost") + b"\r\n\r\n")
        with pytest.raises(Closed):
            while True:
                assert b"400" in client.read()


def test_a_handshake_that_never_completes_is_closed(
    start: Start, tls_settings: dict[str, str], certificates: Certificates
) -> None:
    node = start(**tls_settings, LIMITS__CONNECT_TIMEOUT="1")
    clients = [Raw(node.ws), Raw(node.ws), Raw(node.wss), Raw(node.wss, certificates.context())]
    clients[1].send(b"GET /mqtt HTTP/1.1\r\nHost: a\r\nUpg")
    begun = time.monotonic()
    for client in clients:
        with client, pytest.raises(Closed):
            while True:
                client.read()
    assert time.monotonic() - begun < 3


# Frames ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_packets_are_split_over_frames_anywhere(node: Node, version: int, size: int) -> None:
    """[MQTT-6.0.0-2]: one packet in many frames, many packets in one."""
    topic = f"split/{version}/{size}"
    data = (
        connect(version, f"split-{version}-{size}")
        + subscribe(version, topic, qos=1)
        + b"".join(publish(version, topic, bytes([n]) * n, qos=1, packet_id=n + 1) for n in range(20))
    )
    with RawWebSocket(node.ws) as client:
        for start in range(0, len(data), size):
            client.frame(data[start : start + size])
        received = [client.packet() for _ in range(2 + 20 + 20)]
        assert [received[0][0], received[1][0]] == [0x20, 0x90]
        publishes = [split_publish(version, f, b) for f, b in received if f & 0xF0 == 0x30]
        assert publishes == [(topic, bytes([n]) * n) for n in range(20)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fragmented_message_with_control_frames_between(node: Node, version: int) -> None:
    data = connect(version, f"fragments-{version}") + packet(0xC0)
    with RawWebSocket(node.ws) as client:
        client.frame(data[:1], fin=False)
        client.frame(b"", opcode=0, fin=False)
        client.frame(b"are you there", opcode=PING)
        client.frame(data[1:9], opcode=0, fin=False)
        client.frame(data[9:], opcode=0)
        assert client.packet()[0] == 0x20
        assert client.packet() == (0xD0, b"")
        assert client.pongs == [b"are you there"]


def test_a_packet_larger_than_any_frame(node: Node) -> None:
    payload = bytes(range(256)) * 8192
    data = publish(V5, "large", payload, qos=1)
    with RawWebSocket(node.ws) as client, RawWebSocket(node.ws) as reader:
        reader.connect(V5, "reader-large")
        reader.subscribe(V5, "large", qos=1)
        client.connect(V5, "writer-large")
        for start in range(0, len(data), 30_000):
            client.frame(data[start : start + 30_000])
        assert client.packet()[0] == 0x40
        assert split_publish(V5, *reader.packet()) == ("large", payload)


def test_a_ping_is_answered_and_a_close_frame_too(node: Node) -> None:
    with RawWebSocket(node.ws) as client:
        client.connect(V311, "polite")
        client.frame(NORMAL.to_bytes(2, "big"), CLOSE)
        assert closed_with(client) == NORMAL


@pytest.mark.parametrize("version", VERSIONS)
def test_the_node_closes_with_a_close_frame(node: Node, version: int) -> None:
    with RawWebSocket(node.ws) as client:
        client.connect(version, "c")
        client.send(packet(0xE0))
        assert closed_with(client) == NORMAL


def test_each_packet_has_a_frame_of_its_own(node: Node) -> None:
    """paho.mqtt.c looks for a second packet in a frame only when something else arrives."""
    with RawWebSocket(node.ws) as client:
        client.connect(V311, "one-a-frame")
        client.send(publish(V311, "frame/kept", b"x", retain=True))
        client.send(subscribe(V311, "frame/kept"))
        assert client.read() == packet(0x90, b"\0\1\0")
        assert client.read() == publish(V311, "frame/kept", b"x", retain=True)


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("first", ["the node", "the client", "both"])
def test_the_end_is_in_order(node: Node, certificates: Certificates, secure: bool, first: str) -> None:
    """Close frames, then TLS and TCP end (RFC 6455, 7.1.1): what is in the network is not lost by a reset."""
    context = certificates.context() if secure else None
    with RawWebSocket(node.wss if secure else node.ws, context) as client:
        client.connect(V311, "orderly")
        assert ends_in_order(client, first) == NORMAL


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_who_does_not_end_it_is_cut_off(
    start: Start, tls_settings: dict[str, str], certificates: Certificates, secure: bool
) -> None:
    node = start(**tls_settings)
    context = certificates.context() if secure else None
    port = node.wss if secure else node.ws
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(RawWebSocket(port, context, receive_buffer=4096))
        client.connect(V311, "deaf")
        client.subscribe(V311, "loud")
        loud = stack.enter_context(Raw(node.tcp))
        loud.connect(V311, "loud")
        for _ in range(8):
            loud.send(publish(V311, "loud", bytes(MB)))
        loud.ping()
        before = node.sockets()
        client.frame(NORMAL.to_bytes(2, "big"), CLOSE)
        until(lambda: node.sockets() < before, 10)


# Bad frames -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(connect(V311, "text"), TEXT), UNSUPPORTED_DATA, id="text"),
        pytest.param(frame(b"\xff\xfe", TEXT), BAD_TEXT, id="text that is not UTF-8"),
        pytest.param(frame(b"\xe4\xbd", TEXT, fin=False), UNSUPPORTED_DATA, id="text cut in a character"),
        pytest.param(b"\x82\x02\xc0\x00", PROTOCOL_ERROR, id="not masked"),
        pytest.param(b"\xc2" + frame(b"x")[1:], PROTOCOL_ERROR, id="compressed, not agreed on"),
        pytest.param(frame(b"x", opcode=3), PROTOCOL_ERROR, id="reserved opcode"),
        pytest.param(frame(b"x", opcode=0), PROTOCOL_ERROR, id="continuation of nothing"),
        pytest.param(frame(b"x" * 126, opcode=PING), PROTOCOL_ERROR, id="control frame too long"),
        pytest.param(frame(b"x", length=1 << 62), TOO_BIG, id="2^62 bytes announced"),
    ],
)
@pytest.mark.parametrize("connected", [False, True])
def test_bad_frames_are_closed_with_their_code(node: Node, data: bytes, code: int, connected: bool) -> None:
    with RawWebSocket(node.ws) as client:
        if connected:
            client.connect(V31, f"bad-frame-{code}")
        client.sock.sendall(data)
        assert closed_with(client) == code


def test_a_text_frame_closes_only_its_sender_and_publishes_the_will(node: Node) -> None:
    """[MQTT-6.0.0-1]"""
    with RawWebSocket(node.ws) as client, RawWebSocket(node.ws) as reader:
        reader.connect(V311, "reader-text")
        reader.subscribe(V311, "text/will")
        client.connect(V311, "text", will=("text/will", b"gone"))
        client.frame(b"hello", TEXT)
        assert closed_with(client) == UNSUPPORTED_DATA
        assert split_publish(V311, *reader.packet()) == ("text/will", b"gone")


def test_frames_without_end_are_bounded(node: Node) -> None:
    """Continuation frames, empty or of one byte, that together never become a message."""
    with RawWebSocket(node.ws, timeout=20) as client:
        before = node.rss()
        client.frame(connect(V311, "drop by drop"), fin=False)
        assert client.packet()[0] == 0x20
        empty = frame(b"", opcode=0, fin=False) * 5000
        for _ in range(20):
            client.sock.sendall(empty)
        client.frame(packet(0xC0), opcode=0)
        assert client.packet() == (0xD0, b"")
        assert node.rss() - before < 8 * MB


def test_half_a_huge_frame_costs_nobody_a_frame(node: Node) -> None:
    """Forty strangers begin a frame of 15 MB each and leave it at 1 MB."""
    with contextlib.ExitStack() as stack:
        before = node.rss()
        for _ in range(40):
            client = stack.enter_context(RawWebSocket(node.ws))
            with contextlib.suppress(OSError):
                client.sock.sendall(frame(b"\x10\xff\xff\x3f\0\4MQTT" + bytes(MB), length=15 * MB))
        with Raw(node.tcp) as other:
            other.connect(V5, "other")
            other.ping()
        assert node.rss() - before < 16 * MB
