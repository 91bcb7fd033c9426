"""A message as it was published, and as it goes out.

`Message` is what a publisher sent, once. `Delivery` is one way in which it goes to subscribers (QoS,
retain flag, subscription identifiers); every subscriber it goes to in that way shares the object
and its encoded bytes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt import wire

if TYPE_CHECKING:
    from apps.gateway.broker.shared import SharedGroup

OVERHEAD: Final = 128  # bytes a queued message costs beside its topic and payload, counted in budgets

# Seconds: `expires` of a message from another node was converted between two clocks, and must not grow by it.
CLOCK_ERROR: Final = 0.01

# Two bytes each: joined into output a packet at a time, so made once.
PACKET_IDS: Final[list[bytes]] = [packet_id.to_bytes(2, "big") for packet_id in range(65_536)]


class Message:
    """An application message. Immutable once built.

    `properties` are MQTT 5.0's, encoded, that travel to the subscriber unaltered [MQTT-3.3.2-17]:
    all but topic alias, message expiry and subscription identifier.
    """

    __slots__ = (
        "again",
        "expires",
        "once",
        "origin",
        "payload",
        "properties",
        "qos",
        "raw_topic",
        "retain",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: bytes = b"",
        expires: float = 0.0,
        origin: str = "",
        raw_topic: bytes = b"",
    ) -> None:
        self.topic = topic
        self.raw_topic = raw_topic or wire.string(topic)  # with its two byte length
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.properties = properties
        self.expires = expires  # UNIX seconds; 0.0 = never
        self.origin = origin  # the publisher's client id; "" = the server's own
        self.once = ""  # what a cluster knows a QoS 2 message by
        self.again = False  # it was perhaps published before, under the same `once`

    @property
    def size(self) -> int:
        """Bytes to count against a budget while the message is held."""
        return len(self.payload) + len(self.raw_topic) + len(self.properties) + OVERHEAD

    def expiry_left(self, now: float) -> int:
        """The expiry interval to send: the publisher's, less the whole seconds that passed [MQTT-3.3.2-6].

        Only for a message that has one. 0: it is over, which only a repeated packet may say.
        """
        left = self.expires - now
        return max(math.ceil(left - CLOCK_ERROR), 1) if left > 0.0 else 0


class Delivery:
    """A message on its way to subscribers at one QoS."""

    __slots__ = (
        "group",
        "head3",
        "head5",
        "identifiers",
        "message",
        "qos",
        "queued_at",
        "retain",
        "size",
        "tail5",
    )

    def __init__(
        self,
        message: Message,
        qos: int,
        retain: bool = False,
        identifiers: bytes = b"",
        group: SharedGroup | None = None,
    ) -> None:
        self.message = message
        self.qos = qos
        self.retain = retain
        self.identifiers = identifiers  # subscription identifier properties, encoded
        self.group = group  # the shared subscription whose member this copy goes to
        self.size = message.size
        self.queued_at = 0.0  # UNIX seconds when it first went into a queue
        # The bytes before and behind the packet identifier, made when first needed. For 3.x the
        # tail is the payload itself.
        self.head3 = b""
        self.head5 = b""
        self.tail5 = b""

    def first_byte(self, dup: bool) -> int:
        return 0x30 | (0x08 if dup else 0) | self.qos << 1 | (1 if self.retain else 0)

    def encode3(self) -> None:
        message = self.message
        length = len(message.raw_topic) + len(message.payload) + (2 if self.qos else 0)
        self.head3 = head(self.first_byte(False), length, message.raw_topic)

    def encode5(self) -> None:
        """Without an expiry: a message that has one is encoded for each send."""
        message = self.message
        body = self.identifiers + message.properties
        tail = wire.varint(len(body)) + body + message.payload
        length = len(message.raw_topic) + len(tail) + (2 if self.qos else 0)
        self.head5 = head(self.first_byte(False), length, message.raw_topic)
        self.tail5 = tail

    def whole(self, level: int, packet_id: int, dup: bool, now: float, raw_topic: bytes, alias: int) -> bytes:
        """The packet for one subscriber: with DUP, a topic alias (0 = none), or the expiry that is left."""
        message = self.message
        tail = message.payload
        if level == 5:
            body = self.identifiers + message.properties
            if message.expires:
                body += b"\x02" + wire.u32(message.expiry_left(now))
            if alias:
                body += b"\x23" + PACKET_IDS[alias]
            tail = wire.varint(len(body)) + body + tail
        if self.qos:
            tail = PACKET_IDS[packet_id] + tail
        return head(self.first_byte(dup), len(raw_topic) + len(tail), raw_topic) + tail


def head(first: int, length: int, raw_topic: bytes) -> bytes:
    """Fixed header and topic of a PUBLISH with the remaining length `length`."""
    return first.to_bytes(1, "big") + wire.varint(length) + raw_topic


def identifier_properties(identifiers: list[int]) -> bytes:
    """Subscription identifiers as encoded properties."""
    if not identifiers:
        return b""
    return props.write_body({props.SUBSCRIPTION_IDENTIFIER: identifiers})
