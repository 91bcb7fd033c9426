"""Packet boundaries (section 2.1.4), with the whole packet or nothing."""

from __future__ import annotations

from apps.gateway.mqtt import reasons
from apps.gateway.mqtt.errors import MalformedPacket, MqttError


def frame(data: bytes, pos: int, max_size: int) -> tuple[int, int]:
    """(start of the variable header, end of the packet) of the packet at `pos`.

    The end may lie behind the end of `data`: wait for more. (0, 0): the length itself is incomplete.
    Raises `MqttError` 0x95 as soon as the announced size passes `max_size` bytes, before any of it
    is buffered, and 0x81 for a length of more than four bytes.
    """
    size = len(data)
    length = 0
    shift = 0
    at = pos + 1
    while True:
        if at >= size:
            return 0, 0
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 21:
            raise MalformedPacket("remaining length longer than four bytes")
    if at - pos + length > max_size:
        raise MqttError(reasons.PACKET_TOO_LARGE, f"packet of {at - pos + length} bytes, {max_size} allowed")
    return at, at + length
