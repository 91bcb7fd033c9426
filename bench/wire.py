"""MQTT 3.1.1 packets and WebSocket frames of the load generator, encoded before the clock starts.

Written apart from the node's own codec on purpose: a fault in that codec must not hide itself here.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.uint8]

PUBACK: Final = 0x40
PUBREC: Final = 0x50
PUBREL: Final = 0x62
PUBCOMP: Final = 0x70
PINGREQ: Final = b"\xc0\x00"
PINGRESP: Final = b"\xd0\x00"
DISCONNECT: Final = b"\xe0\x00"
CONNACK_ACCEPTED: Final = b"\x20\x02\x00\x00"
CONNACK_PRESENT: Final = b"\x20\x02\x01\x00"  # of a session that was kept

KEEPALIVE: Final = 300  # seconds; longer than any run, so that silent subscribers stay
STAMP: Final = 8  # bytes at the head of each payload: sender and sequence number, big-endian uint32
FILL: Final = b"0123456789abcdef"
MASK: Final = b"\x37\xa1\x5c\xe9"  # RFC 6455 5.3; not zero, so that unmasking is real work


def remaining_length(value: int) -> bytes:
    """MQTT's variable byte integer [MQTT-2.2.3]."""
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(out)


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + remaining_length(len(body)) + body


def text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def connect(client_id: str, username: str, password: str, clean: bool = True) -> bytes:
    """CONNECT, with clean session unless something is to outlive the connection."""
    flags = 0b1100_0000 | clean << 1
    head = text("MQTT") + bytes([4, flags]) + KEEPALIVE.to_bytes(2, "big")
    return packet(0x10, head + text(client_id) + text(username) + text(password))


def subscribe(packet_id: int, filters: list[str], qos: int) -> bytes:
    body = b"".join(text(item) + bytes([qos]) for item in filters)
    return packet(0x82, packet_id.to_bytes(2, "big") + body)


@dataclass(frozen=True)
class Layout:
    """Offsets in the fixed-size PUBLISH packets of one run."""

    qos: int
    topic_length: int
    payload: int
    retain: bool = False

    def __post_init__(self) -> None:
        if self.payload < STAMP:
            raise ValueError(f"a payload of {self.payload} bytes cannot hold the {STAMP}-byte stamp")

    @property
    def first_byte(self) -> int:
        return 0x30 | self.qos << 1 | self.retain

    @property
    def body(self) -> int:
        return 2 + self.topic_length + (2 if self.qos else 0) + self.payload

    @property
    def topic_at(self) -> int:
        return 1 + len(remaining_length(self.body)) + 2

    @property
    def id_at(self) -> int:
        """Offset of the packet id; meaningless at QoS 0."""
        return self.topic_at + self.topic_length

    @property
    def payload_at(self) -> int:
        return self.size - self.payload

    @property
    def size(self) -> int:
        return 1 + len(remaining_length(self.body)) + self.body

    def template(self) -> bytes:
        """One packet with topic, packet id and stamp left zero."""
        fill = (FILL * (self.payload // len(FILL) + 1))[: self.payload - STAMP]
        head = bytes([self.first_byte]) + remaining_length(self.body) + self.topic_length.to_bytes(2, "big")
        return head + bytes(self.payload_at - len(head) + STAMP) + fill

    def rows(self, topic: str, sender: int, count: int) -> Rows:
        """``count`` PUBLISH packets, shape (count, size): packet ids from 1 on, sequence numbers from 0."""
        raw_topic = topic.encode()
        if len(raw_topic) != self.topic_length:
            raise ValueError(f"topic {topic!r} is not {self.topic_length} bytes long")
        rows: Rows = np.tile(np.frombuffer(self.template(), np.uint8), (count, 1))
        rows[:, self.topic_at : self.id_at] = np.frombuffer(raw_topic, np.uint8)
        if self.qos:
            rows[:, self.id_at : self.id_at + 2] = packet_ids(count)
        at = self.payload_at
        rows[:, at : at + 4] = np.frombuffer(sender.to_bytes(4, "big"), np.uint8)
        rows[:, at + 4 : at + STAMP] = np.arange(count, dtype=">u4").view(np.uint8).reshape(-1, 4)
        return rows


def packet_ids(count: int) -> Rows:
    """Packet ids of the first ``count`` messages of a publisher, shape (count, 2): 1..65535, wrapping."""
    return (np.arange(count) % 65535 + 1).astype(">u2").view(np.uint8).reshape(-1, 2)


def acknowledgements(first: int, count: int) -> bytes:
    """What a broker must answer to the first ``count`` messages of a publisher, in this order."""
    rows = np.empty((count, 4), np.uint8)
    rows[:, 0] = first
    rows[:, 1] = 2
    rows[:, 2:] = packet_ids(count)
    return rows.tobytes()


class AckEncoder:
    """Batches of 4-byte acknowledgements from the packet ids' high and low bytes.

    Over WebSocket each acknowledgement is a frame of its own, as a browser client sends them.
    """

    BATCH: Final = 1 << 14  # acknowledgements per template

    def __init__(self, first: int, *, websocket: bool) -> None:
        row = bytes([first, 2, 0, 0])
        self._high: bytes | None = None
        self._low: bytes | None = None
        if websocket:
            row = ws_frame(row)
            self._high = bytes(value ^ MASK[2] for value in range(256))
            self._low = bytes(value ^ MASK[3] for value in range(256))
        self._size = len(row)
        self._template = row * self.BATCH

    def __call__(self, high: bytes | bytearray, low: bytes | bytearray) -> bytearray:
        count, size = len(high), self._size
        if count <= self.BATCH:
            out = bytearray(self._template[: count * size])
        else:
            out = bytearray(self._template[:size] * count)
        out[size - 2 :: size] = high.translate(self._high)
        out[size - 1 :: size] = low.translate(self._low)
        return out


def ws_header(length: int) -> bytes:
    """Header of a final, binary, masked frame (RFC 6455 5.2), the mask included."""
    if length < 126:
        return bytes([0x82, 0x80 | length]) + MASK
    if length < 1 << 16:
        return b"\x82\xfe" + length.to_bytes(2, "big") + MASK
    return b"\x82\xff" + length.to_bytes(8, "big") + MASK


def ws_frame(payload: bytes) -> bytes:
    row = np.frombuffer(payload, np.uint8).reshape(1, -1)
    return ws_rows(row).tobytes()


def ws_rows(rows: Rows) -> Rows:
    """Each row as one masked frame."""
    count, size = rows.shape
    header = np.frombuffer(ws_header(size), np.uint8)
    key = np.frombuffer((MASK * (size // 4 + 1))[:size], np.uint8)
    return np.hstack([np.broadcast_to(header, (count, len(header))), rows ^ key])


def ws_upgrade(path: str, host: str) -> bytes:
    """The client's opening handshake (RFC 6455 4.1) with MQTT's subprotocol [MQTT-6.0.0-3]."""
    key = base64.b64encode(b"gmqtt-load-bench").decode()
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
        f"Origin: http://{host}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class FrameReader:
    """The payload bytes of a server's unmasked data frames, whatever way they are cut.

    A ping would need an answer and a close ends the run: both are faults here.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        if self._rest:
            data = self._rest + data
        out: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= 2:
            opcode, length, start = data[at] & 0x0F, data[at + 1], at + 2
            if opcode > 2 or length & 0x80:
                raise ValueError(f"unexpected WebSocket frame from the broker: {data[at : at + 8].hex()}")
            if length == 126:
                start = at + 4
                length = int.from_bytes(data[at + 2 : start], "big")
            elif length == 127:
                start = at + 10
                length = int.from_bytes(data[at + 2 : start], "big")
            if start > end or start + length > end:
                break
            out.append(data[start : start + length])
            at = start + length
        self._rest = data[at:]
        return out[0] if len(out) == 1 else b"".join(out)
