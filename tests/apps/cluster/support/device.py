"""A client by hand, as slow to acknowledge as a test wants it."""

from __future__ import annotations

import struct

from tests.wire import raw
from tests.wire.raw import V311, Raw
from tools.cluster import Process

PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 0x30, 0x40, 0x50, 0x62, 0x70
WAIT = 15.0


class Device(Raw):
    """A 3.1.1 client that acknowledges only what it is told to."""

    def __init__(self, node: Process, name: str, clean: bool = False) -> None:
        super().__init__(node.mqtt, timeout=WAIT)
        self.name = name
        self.present = bool(self.connect(V311, name, clean=clean)[0])

    def leave(self) -> None:
        self.send(b"\xe0\0")
        self.close()

    def publish(self, topic: str, payload: bytes, qos: int, packet_id: int = 1, dup: bool = False) -> None:
        data = raw.publish(V311, topic, payload, qos, packet_id)
        self.send(bytes([data[0] | (8 if dup else 0)]) + data[1:])

    def ack(self, first: int, packet_id: int) -> None:
        self.send(raw.packet(first, struct.pack("!H", packet_id)))

    def expect(self, first: int, packet_id: int) -> None:
        found, body = self.packet()
        assert (found, struct.unpack("!H", body[:2])[0]) == (first, packet_id)

    def message(self) -> tuple[int, int, bytes]:
        """First byte, packet id and payload of the next PUBLISH."""
        first, body = self.packet()
        assert first & 0xF0 == PUBLISH, hex(first)
        length = struct.unpack("!H", body[:2])[0]
        return first, struct.unpack_from("!H", body, 2 + length)[0], raw.split_publish(V311, first, body)[1]

    def take(self, count: int) -> list[bytes]:
        """So many QoS 1 messages, acknowledged."""
        found = []
        for _ in range(count):
            first, packet_id, payload = self.message()
            assert first & 0x06 == 0x02
            self.ack(PUBACK, packet_id)
            found.append(payload)
        return found

    def quiet(self, seconds: float = 0.5) -> bool:
        """Does nothing come?"""
        self.sock.settimeout(seconds)
        try:
            self.packet()
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(WAIT)
        return False
