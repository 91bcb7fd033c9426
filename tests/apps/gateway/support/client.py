"""A client that says exactly what a test tells it to, in packets."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from apps.gateway.broker.connection import Connection
from apps.gateway.broker.ports import Peer
from apps.gateway.mqtt import codec
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt.properties import Properties
from tests.apps.gateway.support.link import UNLIMITED
from tests.apps.gateway.support.reader import Reader

if TYPE_CHECKING:
    from tests.apps.gateway.support.world import World

T = TypeVar("T")

PEER = Peer("192.0.2.1", 50_000, "tcp")


class Client:
    """Acknowledges nothing by itself unless `polite`; reads everything unless `stalled`."""

    def __init__(self, world: World, level: int) -> None:
        self.world = world
        self.level = level
        self.client_id = ""
        self.link = world.link()
        self.connection = Connection(world.node, self.link, PEER, world.now)
        self.link.connection = self.connection
        world.node.opened(self.connection)
        self.reader = Reader(level)
        self.unread: list[p.Packet] = []
        self.connack: p.Connack | None = None
        self.polite = False
        self.gone = False
        self._packet_id = 0

    # Wire -------------------------------------------------------------------------------------------

    def send(self, *packets: p.Packet) -> None:
        """In one segment."""
        self.send_raw(b"".join([codec.encode(packet, self.level) for packet in packets]))

    def send_raw(self, data: bytes) -> None:
        self.connection.feed(data, self.world.now)
        self.world.turn()

    def stall(self, capacity: int = 0) -> None:
        """Stop reading; the link takes `capacity` more bytes before it says so."""
        self._read()
        self.link.capacity = capacity

    def unstall(self) -> list[p.Packet]:
        """Read again, until the broker has nothing more to send."""
        self.link.capacity = UNLIMITED
        while not self.closed:
            self._read()
            self.connection.drained(self.world.now)
            self.world.turn()
            if not self.link.waiting:
                break
        return self.take()

    def take(self) -> list[p.Packet]:
        """The packets that came since the last time."""
        found: list[p.Packet] = []
        while True:
            self._read()
            more, self.unread = self.unread, []
            found += more
            if not self.polite or not more:
                return found
            self._acknowledge(more)

    def _read(self) -> None:
        self.unread += self.reader.feed(self.link.take())

    def _acknowledge(self, packets: list[p.Packet]) -> None:
        for packet in packets:
            if isinstance(packet, p.Publish) and packet.qos:
                self.send(p.Ack(pt.PUBACK if packet.qos == 1 else pt.PUBREC, packet.packet_id))
            elif isinstance(packet, p.Ack) and packet.type == pt.PUBREC and packet.reason < 0x80:
                self.send(p.Ack(pt.PUBREL, packet.packet_id))
            elif isinstance(packet, p.Ack) and packet.type == pt.PUBREL:
                self.send(p.Ack(pt.PUBCOMP, packet.packet_id))

    def take_one(self, kind: type[T]) -> T:
        """The only packet that came, which is of this class."""
        found = self.take()
        assert len(found) == 1 and isinstance(found[0], kind), found
        return found[0]

    def take_publishes(self) -> list[p.Publish]:
        """The packets that came, all of them PUBLISH."""
        found: list[p.Publish] = []
        for packet in self.take():
            if isinstance(packet, p.Publish):
                found.append(packet)
            else:
                assert self.polite, packet
        return found

    def payloads(self) -> list[bytes]:
        return [packet.payload for packet in self.take_publishes()]

    @property
    def closed(self) -> bool:
        """Did the broker close the connection?"""
        return self.link.closed

    def drop(self) -> None:
        """The network fails, or has been closed."""
        if not self.gone:
            self.gone = True
            self.connection.lost(self.world.now)
            self.world.turn()

    # Packets ----------------------------------------------------------------------------------------

    def connect(
        self,
        client_id: str = "",
        clean: bool = True,
        keepalive: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: p.Will | None = None,
        properties: Properties | None = None,
    ) -> None:
        """Send CONNECT and read what comes back; `connack` is None where it is not a CONNACK."""
        self.client_id = client_id
        self.send(
            p.Connect(client_id, self.level, clean, keepalive, username, password, will, properties or {})
        )
        self.read_connack()

    def read_connack(self) -> None:
        self._read()
        if self.unread and isinstance(self.unread[0], p.Connack):
            self.connack = self.unread[0]
            del self.unread[0]

    def next_id(self) -> int:
        self._packet_id = self._packet_id % 65_535 + 1
        return self._packet_id

    def subscribe(self, *filters: str | p.Filter, qos: int = 0, identifier: int = 0) -> p.Suback:
        """Returns the SUBACK; what follows it is left for `take`."""
        wanted = [p.Filter(each, qos) if isinstance(each, str) else each for each in filters]
        properties: Properties = {0x0B: [identifier]} if identifier else {}
        self.send(p.Subscribe(self.next_id(), wanted, properties))
        return self.expect(p.Suback)

    def expect(self, kind: type[T]) -> T:
        """The next packet, which is of this class; those behind it stay unread."""
        self._read()
        assert self.unread and isinstance(self.unread[0], kind), self.unread[:3]
        return self.unread.pop(0)

    def unsubscribe(self, *filters: str) -> p.Unsuback:
        self.send(p.Unsubscribe(self.next_id(), list(filters)))
        return self.expect(p.Unsuback)

    def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> int:
        """Send; the answer is left for `take`. Returns the packet identifier."""
        packet_id = self.next_id() if qos else 0
        self.send(p.Publish(topic, payload, qos, retain, False, packet_id, properties or {}))
        return packet_id

    def ack(self, kind: int, packet_id: int, reason: int = 0) -> None:
        self.send(p.Ack(kind, packet_id, reason))

    def disconnect(self, reason: int = 0, properties: Properties | None = None) -> None:
        self.send(p.Disconnect(reason, properties or {}))
        assert self.closed
        self.drop()
