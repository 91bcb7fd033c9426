"""The link between a bridge and the nodes of its host: MessagePack frames on a Unix socket.

Each frame is [kind, ...] behind its length (4 bytes, big-endian).

| kind | from | what |
|---|---|---|
| HELLO | node | version, name, {Kafka topic: since when it wants it}, positions |
| TOPICS | node | {Kafka topic: since when it wants it}, all of them |
| ACK | node | number of a batch that it has handed to its sessions |
| BATCH | bridge | number, messages, positions behind them |
| STATUS | bridge | what the bridge says of itself, a table |
| REFUSED | bridge | why it does not serve this node; the end |

More parts at the end of a frame, and frames of other kinds, are passed over: a newer version may send them.

Times are milliseconds of UNIX time; positions are [[Kafka topic, partition, offset], ...]. A message is
[topic, payload, qos, retain, properties, expires, origin, shares, where]: shares is None where a service sent
it, and where is then "<topic>-<partition>-<offset>", else "".
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgpack

from apps.cluster.bridge.records import Positions

VERSION: Final = 1
HELLO: Final = 0
TOPICS: Final = 1
ACK: Final = 2
BATCH: Final = 3
STATUS: Final = 4
REFUSED: Final = 5

MAX_FRAME: Final = 300 * 1024 * 1024  # bytes: the largest MQTT packet and what stands around it
MAX_FROM_NODE: Final = 4 * 1024 * 1024
_LENGTH: Final = struct.Struct(">I")


class LinkError(Exception):
    """The other end does not speak the protocol."""


def frame(kind: int, *parts: Any) -> bytes:
    body: bytes = msgpack.packb((kind, *parts))
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Frames out of a stream of bytes."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        """`limit`: bytes that a frame may have."""
        self._limit = limit
        self._buffer = bytearray()
        self._needed = _LENGTH.size

    def feed(self, data: bytes) -> list[list[Any]]:
        buffer = self._buffer
        buffer += data
        found: list[list[Any]] = []
        while len(buffer) >= self._needed:
            (length,) = _LENGTH.unpack_from(buffer)
            if length > self._limit:
                raise LinkError(f"a frame of {length} bytes")
            end = _LENGTH.size + length
            if len(buffer) < end:
                self._needed = end
                break
            try:
                parts = msgpack.unpackb(memoryview(buffer)[_LENGTH.size : end])
            except (ValueError, msgpack.UnpackException) as error:
                raise LinkError(f"not MessagePack: {error}") from None
            if not isinstance(parts, list) or not parts:
                raise LinkError("not a frame")
            found.append(parts)
            del buffer[:end]
            self._needed = _LENGTH.size
        return found


def pack_positions(positions: Positions) -> list[tuple[str, int, int]]:
    return [(topic, number, offset) for (topic, number), offset in positions.items()]


def unpack_positions(packed: Any) -> Positions:
    try:
        return {(str(topic), int(number)): int(offset) for topic, number, offset in packed}
    except (TypeError, ValueError):
        raise LinkError("not positions") from None


def unpack_topics(packed: Any) -> dict[str, int]:
    if not isinstance(packed, dict) or not all(isinstance(since, int) for since in packed.values()):
        raise LinkError("not topics with times")
    return packed
