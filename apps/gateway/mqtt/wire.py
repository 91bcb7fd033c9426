"""The data types of section 1.5, read from and written to bytes.

Every reader takes the buffer, a position and the end it must not pass, and answers (value, next position).
"""

from __future__ import annotations

from typing import Final

from apps.gateway.mqtt.errors import LocalError, MalformedPacket

MAX_VARINT: Final = 268_435_455  # four bytes [MQTT-1.5.5]


def read_u16(data: bytes, pos: int, end: int) -> tuple[int, int]:
    if pos + 2 > end:
        raise MalformedPacket("packet ends inside a two byte integer")
    return (data[pos] << 8) | data[pos + 1], pos + 2


def read_u32(data: bytes, pos: int, end: int) -> tuple[int, int]:
    if pos + 4 > end:
        raise MalformedPacket("packet ends inside a four byte integer")
    value = (data[pos] << 24) | (data[pos + 1] << 16) | (data[pos + 2] << 8) | data[pos + 3]
    return value, pos + 4


def read_varint(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """A variable byte integer in its shortest form [MQTT-1.5.5-1]."""
    value = 0
    shift = 0
    while True:
        if pos >= end:
            raise MalformedPacket("packet ends inside a variable byte integer")
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise MalformedPacket("variable byte integer not in its shortest form")
            return value, pos
        shift += 7
        if shift > 21:
            raise MalformedPacket("variable byte integer longer than four bytes")


def read_binary(data: bytes, pos: int, end: int) -> tuple[bytes, int]:
    length, pos = read_u16(data, pos, end)
    stop = pos + length
    if stop > end:
        raise MalformedPacket("packet ends inside binary data")
    return data[pos:stop], stop


def read_string(data: bytes, pos: int, end: int) -> tuple[str, int]:
    raw, pos = read_binary(data, pos, end)
    return text(raw), pos


def text(raw: bytes) -> str:
    """UTF-8 without surrogates [MQTT-1.5.4-1] and without U+0000 [MQTT-1.5.4-2]."""
    try:
        value = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedPacket("string is not UTF-8") from None
    if "\0" in value:
        raise MalformedPacket("string contains U+0000")
    return value


def u16(value: int) -> bytes:
    if not 0 <= value <= 0xFFFF:
        raise LocalError(f"{value} does not fit in two bytes")
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    if not 0 <= value <= 0xFFFFFFFF:
        raise LocalError(f"{value} does not fit in four bytes")
    return value.to_bytes(4, "big")


def varint(value: int) -> bytes:
    if 0 <= value < 0x80:
        return value.to_bytes(1, "big")
    if not 0 <= value <= MAX_VARINT:
        raise LocalError(f"{value} is not a variable byte integer")
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        out.append(byte | 0x80 if value else byte)
        if not value:
            return bytes(out)


def binary(value: bytes) -> bytes:
    return u16(len(value)) + value


def string(value: str) -> bytes:
    try:
        return binary(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise LocalError("string holds a surrogate") from None
