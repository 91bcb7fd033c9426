"""Bytes to packets, as any peer of the broker has to do it: through `framing` and `codec`."""

from __future__ import annotations

from apps.gateway.mqtt import codec, framing
from apps.gateway.mqtt.packets import Packet

ANY_SIZE = 1 << 30


class Reader:
    """Takes a byte stream in any pieces and answers its packets."""

    def __init__(self, level: int, max_size: int = ANY_SIZE) -> None:
        self.level = level
        self.max_size = max_size
        self.buffer = b""

    def feed(self, data: bytes) -> list[Packet]:
        self.buffer += data
        found: list[Packet] = []
        while len(self.buffer) > 1:
            start, end = framing.frame(self.buffer, 0, self.max_size)
            if start == 0 or end > len(self.buffer):
                break
            packet, self.buffer = self.buffer[:end], self.buffer[end:]
            found.append(codec.decode(packet[0], packet, start, end, self.level))
        return found
