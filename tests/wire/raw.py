"""MQTT by hand: packets as bytes, over TCP, TLS or WebSocket, for what no client library would send."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator

from tests.wire.nodes import Node

V31, V311, V5 = 3, 4, 5
VERSIONS = (V31, V311, V5)
TIMEOUT = 5.0  # seconds

BINARY, TEXT, CLOSE, PING, PONG = 2, 1, 8, 9, 10  # WebSocket opcodes


# Packets --------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = b""
    while True:
        value, byte = divmod(value, 128)
        out += bytes([byte | (0x80 if value else 0)])
        if not value:
            return out


def packet(first: int, body: bytes = b"") -> bytes:
    return bytes([first]) + varint(len(body)) + body


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(raw)) + raw


def connect(
    version: int,
    client_id: str,
    clean: bool = True,
    keepalive: int = 60,
    will: tuple[str, bytes] | None = None,
    properties: bytes = b"",
) -> bytes:
    """`will`: (topic, payload), QoS 1."""
    flags = (2 if clean else 0) | (0x0C if will is not None else 0)
    body = text("MQIsdp" if version == V31 else "MQTT") + bytes([version, flags])
    body += struct.pack("!H", keepalive)
    if version == V5:
        body += varint(len(properties)) + properties
    body += text(client_id)
    if will is not None:
        body += (b"\0" if version == V5 else b"") + text(will[0]) + text(will[1])
    return packet(0x10, body)


def publish(
    version: int,
    topic: str,
    payload: bytes = b"",
    qos: int = 0,
    packet_id: int = 1,
    retain: bool = False,
    properties: bytes = b"",
) -> bytes:
    body = text(topic) + (struct.pack("!H", packet_id) if qos else b"")
    if version == V5:
        body += varint(len(properties)) + properties
    return packet(0x30 | qos << 1 | retain, body + payload)


def subscribe(version: int, *filters: str, qos: int = 0, packet_id: int = 1) -> bytes:
    body = struct.pack("!H", packet_id) + (b"\0" if version == V5 else b"")
    return packet(0x82, body + b"".join(text(each) + bytes([qos]) for each in filters))


def split_publish(version: int, first: int, body: bytes) -> tuple[str, bytes]:
    """(topic, payload) of a PUBLISH with at most 127 bytes of properties."""
    length = struct.unpack("!H", body[:2])[0]
    at = 2 + length + (2 if first & 6 else 0)
    if version == V5:
        at += 1 + body[at]
    return body[2 : 2 + length].decode(), body[at:]


# Connections ----------------------------------------------------------------------------------------


class Closed(Exception):
    """The node has closed the connection."""


class Raw:
    """A connection to a node over TCP or, with a context, TLS."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None = None,
        preamble: bytes = b"",
        receive_buffer: int = 0,
        timeout: float = TIMEOUT,
        to: str = "127.0.0.1",
        source: str = "",
    ) -> None:
        """`preamble` goes out before TLS; `receive_buffer` (bytes) makes a slow reader really slow.

        `source`: the address that it comes from.
        """
        self.sock = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
        if source:
            self.sock.bind((source, 0))
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect((to, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        with self._closed_on_error():
            if preamble:
                self.sock.sendall(preamble)
            if context is not None:
                self.sock = context.wrap_socket(self.sock, server_hostname="localhost")

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self) -> bytes:
        """Whatever has come; raises Closed at the end."""
        try:
            data = self.sock.recv(65_536)
        except (ConnectionError, ssl.SSLError) as error:
            raise Closed(str(error)) from None
        if not data:
            raise Closed("end of stream")
        return data

    def packet(self) -> tuple[int, bytes]:
        """The next packet: (first byte, all after the length). Raises Closed at the end."""
        while True:
            found = _first(self._buffer)
            if found is not None:
                start, end = found
                first, body = self._buffer[0], self._buffer[start:end]
                self._buffer = self._buffer[end:]
                return first, body
            self._buffer += self.read()

    def closing(self) -> list[tuple[int, bytes]]:
        """The packets up to the close, for which it waits."""
        packets = []
        try:
            while True:
                packets.append(self.packet())
        except Closed:
            return packets

    def connect(self, version: int, client_id: str, **options: object) -> bytes:
        """CONNECT and expect to be let in; the body of CONNACK."""
        self.send(connect(version, client_id, **options))  # type: ignore[arg-type]
        first, body = self.packet()
        assert first == 0x20, first
        assert body[1] == 0, f"refused with {body[1]:#x}"
        return body

    def subscribe(self, version: int, *filters: str, qos: int = 0) -> None:
        self.send(subscribe(version, *filters, qos=qos))
        first, body = self.packet()
        assert first == 0x90
        assert all(granted == qos for granted in body[-len(filters) :])

    def ping(self) -> None:
        """There and back again: everything sent before has been handled."""
        self.send(b"\xc0\0")
        assert self.packet() == (0xD0, b"")

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close with RST, as a crashing peer does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _first(data: bytes) -> tuple[int, int] | None:
    """(start of the body, end) of the packet at the head of `data`, when it is complete."""
    length = shift = 0
    for at in range(1, min(len(data), 5)):
        length |= (data[at] & 0x7F) << shift
        shift += 7
        if data[at] < 0x80:
            return (at + 1, at + 1 + length) if at + 1 + length <= len(data) else None
    return None


class RawWebSocket(Raw):
    """The same over a WebSocket: `send` sends one binary frame, `frame` any."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None = None,
        path: str = "/mqtt",
        subprotocol: str = "mqtt",
        receive_buffer: int = 0,
        timeout: float = TIMEOUT,
        host: str = "",
        origin: str = "",
        preamble: bytes = b"",
        to: str = "127.0.0.1",
        source: str = "",
        headers: tuple[str, ...] = (),
    ) -> None:
        """Raises Refused when the handshake is answered with anything but 101."""
        super().__init__(port, context, preamble, receive_buffer, timeout, to, source)
        self._frames = b""
        self.pongs: list[bytes] = []
        self.close_code = 0  # of the node's close frame; 0: none has come
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host or f'127.0.0.1:{port}'}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        if origin:
            lines.append(f"Origin: {origin}")
        if subprotocol:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        with self._closed_on_error():
            self.headers = self._handshake("\r\n".join([*lines, "", ""]).encode())
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        assert self.headers["sec-websocket-accept"] == base64.b64encode(digest).decode().lower()

    def _handshake(self, request: bytes) -> dict[str, str]:
        """The headers of the answer, in lower case."""
        self.sock.sendall(request)
        while b"\r\n\r\n" not in self._frames:
            self._frames += super().read()
        head, _, self._frames = self._frames.partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        status = int(lines[0].split(" ")[1])
        if status != 101:
            raise Refused(status)
        return dict(line.split(": ", 1) for line in lines[1:])

    def send(self, data: bytes) -> None:
        self.frame(data)

    def frame(self, payload: bytes, opcode: int = BINARY, fin: bool = True) -> None:
        self.sock.sendall(frame(payload, opcode, fin))

    def read(self) -> bytes:
        """The payload of the next binary frame; answers pings, raises Closed at a close frame or the end."""
        while True:
            found = self._frame()
            if found is None:
                self._frames += super().read()
                continue
            opcode, payload = found
            if opcode == CLOSE:
                self.close_code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                raise Closed(f"close frame {self.close_code}")
            if opcode == PING:
                self.frame(payload, PONG)
            elif opcode == PONG:
                self.pongs.append(payload)
            elif payload:
                assert opcode == BINARY
                return payload

    def _frame(self) -> tuple[int, bytes] | None:
        data = self._frames
        if len(data) < 2:
            return None
        length, start = data[1] & 0x7F, 2
        if length == 126:
            if len(data) < 4:
                return None
            length, start = struct.unpack_from("!H", data, 2)[0], 4
        elif length == 127:
            if len(data) < 10:
                return None
            length, start = struct.unpack_from("!Q", data, 2)[0], 10
        if len(data) < start + length:
            return None
        self._frames = data[start + length :]
        return data[0] & 0x0F, data[start : start + length]


def ends_in_order(client: RawWebSocket, first: str) -> int:
    """The code of the node's close frame, to which TLS' end and TCP's follow, and no reset.

    `first`: who sends the first close frame; "the node" does after DISCONNECT, "both" after that and ours.
    """
    close = frame((1000).to_bytes(2, "big"), CLOSE)
    disconnect = frame(packet(0xE0))
    client.sock.sendall({"the node": disconnect, "the client": close, "both": disconnect + close}[first])
    while not client.close_code:
        with contextlib.suppress(Closed):
            client.packet()
    if first == "the node":
        client.sock.sendall(close)
    if isinstance(client.sock, ssl.SSLSocket):
        client.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]  # no end without close_notify
    assert client.sock.recv(1) == b""
    return client.close_code


class Refused(Exception):
    """The WebSocket handshake was answered with this HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def frame(payload: bytes, opcode: int = BINARY, fin: bool = True, length: int | None = None) -> bytes:
    """A masked frame; `length` to announce another one than the payload's."""
    length = len(payload) if length is None else length
    head = bytes([opcode | (0x80 if fin else 0)])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 65_536:
        head += b"\xfe" + struct.pack("!H", length)
    else:
        head += b"\xff" + struct.pack("!Q", length)
    return head + b"\0\0\0\0" + payload  # a mask of zeros leaves the payload as it is


def open_raw(node: Node, transport: str, context: ssl.SSLContext | None = None, **options: object) -> Raw:
    """`transport`: tcp | ws, or with a context tls | wss."""
    port = {"tcp": node.tcp, "tls": node.tls, "ws": node.ws, "wss": node.wss}[transport]
    if transport in ("ws", "wss"):
        return RawWebSocket(port, context if transport == "wss" else None, **options)  # type: ignore[arg-type]
    return Raw(port, context if transport == "tls" else None, **options)  # type: ignore[arg-type]


def sys_value(node: Node, name: str, timeout: float = TIMEOUT) -> int:
    """The number in `$SYS/broker/<name>`, as it is published now."""
    with Raw(node.tcp, timeout=timeout) as client:
        client.connect(V311, f"sys-{time.monotonic_ns()}")
        client.subscribe(V311, f"$SYS/broker/{name}")
        first, body = client.packet()
        return int(split_publish(V311, first, body)[1].split()[0])
