"""Retained messages of mosquitto's persistence file (`mosquitto.db`), formats 5 and 6 (mosquitto 1.6 to 2.x).

    "\\0\\xb5\\0mosquitto db", CRC (4 bytes, always 0), format (4 bytes)
    chunks: kind (4 bytes), length (4 bytes), body

Numbers are big-endian, but for the message's id and its expiry, which are as the machine has them.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path
from typing import Final

from gmqtt_platform.importing.found import BadSource, Found, RetainedMessage

MAGIC: Final = b"\x00\xb5\x00mosquitto db"
FORMATS: Final = (5, 6)
MESSAGE, RETAIN = 2, 4  # kinds of chunks
_HEAD: Final = struct.Struct(">II")
# id, expiry (UNIX seconds, 0: none); length of the payload, packet id, lengths of client id, user name
# and topic; port, QoS, retain
_NATIVE: Final = struct.Struct("<Qq" if sys.byteorder == "little" else ">Qq")
_REST: Final = struct.Struct(">IHHHHHBB")


def read(found: Found, path: Path) -> None:
    """BadSource; OSError."""
    data = path.read_bytes()
    if not data.startswith(MAGIC) or len(data) < len(MAGIC) + 8:
        raise BadSource(f"{path}: not mosquitto's persistence file")
    format = int.from_bytes(data[len(MAGIC) + 4 : len(MAGIC) + 8], "big")
    if format not in FORMATS:
        raise BadSource(f"{path}: its format is {format}; {' and '.join(map(str, FORMATS))} can be read")
    bodies: dict[int, tuple[int, int]] = {}
    retained: list[int] = []
    at = len(MAGIC) + 8
    while at + _HEAD.size <= len(data):
        kind, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if at + length > len(data):
            raise BadSource(f"{path}: truncated")
        if kind == MESSAGE and length >= _NATIVE.size + _REST.size:
            bodies[_NATIVE.unpack_from(data, at)[0]] = (at, length)
        elif kind == RETAIN and length >= 8:
            retained.append(int.from_bytes(data[at : at + 8], sys.byteorder))
        at += length
    for number in retained:
        if number in bodies:
            _message(found, path, data, *bodies[number])


def _message(found: Found, path: Path, data: bytes, at: int, length: int) -> None:
    _, expiry = _NATIVE.unpack_from(data, at)
    size, _, client, user, topic_size, _, qos, _ = _REST.unpack_from(data, at + _NATIVE.size)
    start = at + _NATIVE.size + _REST.size + client + user
    end = start + topic_size + size
    if end > at + length or qos > 2:
        raise BadSource(f"{path}: a message that cannot be read")
    try:
        topic = data[start : start + topic_size].decode()
    except UnicodeDecodeError:
        found.note(str(path), "a retained message is left out: its topic is not UTF-8")
        return
    if topic.startswith("$"):
        return  # the broker's own
    left = 0
    if expiry:
        left = int(expiry - time.time())
        if left <= 0:
            return
    if end < at + length and _other_properties(data[end : at + length]):
        found.note(f"{path}: {topic!r}", "its MQTT 5.0 properties are left out")
    found.retained.append(RetainedMessage(topic, data[start + topic_size : end], qos, left))


def _other_properties(encoded: bytes) -> bool:
    """Is there any beside the expiry, which stands in the message's head?"""
    return len(encoded) > 1 and bool(encoded[0])
