"""MQTT packets as WebSocket frames (RFC 6455, 5.2): unmasked, as a server sends them."""

from __future__ import annotations

from typing import Final

BINARY: Final = 0x82  # the whole message in one frame
_SHORT: Final = [bytes((BINARY, length)) for length in range(126)]


def framed(data: bytes) -> bytes:
    """`data`, whole MQTT packets, each in a frame of its own.

    Packets may share a frame [MQTT-6.0.0-2]. Clients exist that do not expect it: those of paho.mqtt.c
    look for the second one only when something else arrives.
    """
    pieces: list[bytes] = []
    start, end = 0, len(data)
    while start < end:
        size, position, shift = 0, start + 1, 0
        while position < end:  # the remaining length
            byte = data[position]
            size |= (byte & 0x7F) << shift
            position += 1
            shift += 7
            if byte < 0x80:
                break
        after = min(position + size, end)
        pieces.append(_header(after - start))
        pieces.append(data[start:after])
        start = after
    return b"".join(pieces)


def _header(length: int) -> bytes:
    if length < 126:
        return _SHORT[length]
    if length < 65_536:
        return b"\x82\x7e" + length.to_bytes(2, "big")
    return b"\x82\x7f" + length.to_bytes(8, "big")
