"""The way out of one connection: packets gather during a loop turn and leave in one write.

While the client reads too slowly (`congested`) nothing is written; QoS 0 then waits within the byte
budgets of `[limits]` and is dropped and counted beyond them, QoS 1 and 2 wait in the session's queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from apps.gateway.broker import stats as st
from apps.gateway.broker.completion import AckQueue
from apps.gateway.broker.limits import NO_LIMIT
from apps.gateway.broker.messages import PACKET_IDS, Delivery
from apps.gateway.mqtt import reasons
from apps.gateway.mqtt.errors import MqttError
from apps.gateway.mqtt.packettypes import MQTT_5

if TYPE_CHECKING:
    from apps.gateway.broker.limits import Limits
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.ports import Link

EARLY_FLUSH: Final = 1_048_576  # bytes of output after which the end of the loop turn is not awaited
MANY_PIECES: Final = 8192  # the same for the number of answers: each is small, but to join them is not
LARGE: Final = (
    16_384  # bytes of a piece that is not joined with others: that would copy it for each subscriber
)
ALIASED_LENGTH: Final = 1024  # bytes; longer topics are not remembered for an alias
PIECE: Final = 90  # bytes that a piece of output costs beside its content, until it is joined and while it is


class Outbound:
    """The outgoing half of a connection. `Connection` is the other half."""

    def __init__(self, node: Node, link: Link) -> None:
        self.node = node
        self.limits: Limits = node.limits
        self.link = link
        self.client_id = ""
        self.level: int = 0
        self.verbatim: int = 0  # 3 or 5: QoS 0 packets in this encoding can go out as they came; 0: none
        self.window: int = 0  # QoS 1 and 2 publishes that may be in flight
        self.max_packet_out: int = NO_LIMIT
        self.alias_out_max: int = 0
        self._aliases: dict[bytes, int] | None = None
        self._out: list[bytes] = []
        self._out_size = 0
        self.unsent = 0  # bytes at most that the link has not sent; counted only while congested
        self.congested = False
        self.traced = False  # an operator looks at what goes in and out
        self.publishes_out = 0
        self.close_reason = 0  # reason code to close with at the next flush
        self._ack_queue: AckQueue | None = None  # acknowledgements that wait for their completion

    def write(self, data: bytes) -> None:
        """Put whole packets on the way; they leave at the end of the loop turn."""
        if not self._out:
            self.node.touch(self)
        self._out.append(data)
        self.node.stats.packets_out += 1
        if self.congested:
            self._hold_back(len(data) + PIECE)
        elif len(self._out) > MANY_PIECES:
            self.flush()

    def answer(self, data: bytes) -> None:
        """As `write`, for packets whose size is the client's doing.

        Raises `MqttError` 0x95 for one that is larger than it takes [MQTT-3.1.2-24].
        """
        if len(data) > self.max_packet_out:
            text = f"the answer has {len(data)} bytes, {self.max_packet_out} allowed"
            raise MqttError(reasons.PACKET_TOO_LARGE, text)
        self.write(data)

    def reply(self, head: bytes, packet_id: int) -> None:
        """An acknowledgement without reason code: two bytes of fixed header and the identifier."""
        if not self._out:
            self.node.touch(self)
        self._out.append(head)
        self._out.append(PACKET_IDS[packet_id])
        self.node.stats.packets_out += 1
        if self.congested:
            self._hold_back(4 + 2 * PIECE)
        elif len(self._out) > MANY_PIECES:
            self.flush()

    @property
    def waits(self) -> bool:
        """Must an acknowledgement wait for a completion, or for those before it?"""
        return self.node.open_completion is not None or (
            self._ack_queue is not None and not self._ack_queue.is_empty
        )

    def acknowledge(self, head: bytes, packet_id: int, reason: int) -> None:
        """Answer with the fixed header `head`, now or when this loop turn's completion is complete."""
        if not self.waits:
            self.say(head, packet_id, reason)
            return
        if self._ack_queue is None:
            self._ack_queue = AckQueue(self)
        self._ack_queue.add(self.node.open_completion, head, packet_id, reason)

    def say(self, head: bytes, packet_id: int, reason: int) -> None:
        """Write an acknowledgement; only 5.0 has reason codes, and needs none for success."""
        if reason and self.level == MQTT_5:
            self.write(head[:1] + b"\x03" + PACKET_IDS[packet_id] + reason.to_bytes(1, "big"))
        else:
            self.reply(head, packet_id)

    def trace(self, data: bytes, end: int, incoming: bool) -> None:
        """Show the operator what was handled: `data[:end]`, or what leaves: all of `data`."""
        raise NotImplementedError

    def back_up(self, full: bool) -> None:
        """Too many acknowledgements wait, or no longer: `Connection` stops reading."""
        raise NotImplementedError

    def not_durable(self, head: bytes, packet_id: int, reason: int) -> bool:
        """What the acknowledgement promises did not come true. False: the connection is closed."""
        raise NotImplementedError

    def _hold_back(self, size: int) -> None:
        self.unsent += size
        self.node.stats.held += size
        if self.unsent > self.limits.max_queued_bytes:
            self.close_later(reasons.QUOTA_EXCEEDED)

    def close_later(self, reason: int) -> None:
        """Close with `reason` at the next flush, when no dispatch is under way."""
        if not self.close_reason:
            self.close_reason = reason
            self.node.close_later(self)

    def _has_room(self, size: int, count: int, topic: str) -> bool:
        """While the client does not read: may `size` more bytes of QoS 0 wait for it?"""
        stats = self.node.stats
        if self.unsent + size > self.limits.max_queued_bytes:
            self.node.dropped(self.client_id, st.DROP_SLOW, topic, count)
            return False
        if stats.held + size > self.limits.node_bytes:
            self.node.dropped(self.client_id, st.DROP_NODE, topic, count)
            return False
        self.unsent += size
        stats.held += size
        return True

    def send_run(self, packets: bytes, count: int, payload_bytes: int, topic: str) -> None:
        """`count` QoS 0 PUBLISH packets, encoded for this connection's level."""
        size = len(packets)
        if self.congested and not self._has_room(size, count, topic):
            return
        if not self._out:
            self.node.touch(self)
        self._out.append(packets)
        self.publishes_out += count
        stats = self.node.stats
        stats.packets_out += count
        stats.publishes_out += count
        stats.publish_bytes_out += payload_bytes
        self._out_size += size
        if self._out_size > EARLY_FLUSH:
            self.flush()

    def takes(self, delivery: Delivery) -> bool:
        """Is the packet within the client's maximum packet size [MQTT-3.1.2-24]?"""
        # What `size` adds to topic, properties and payload is more than all the rest of the packet.
        if delivery.size + len(delivery.identifiers) <= self.max_packet_out or self.level != MQTT_5:
            return True
        raw_topic = delivery.message.raw_topic
        return len(delivery.whole(MQTT_5, 1, False, self.node.now, raw_topic, 0)) <= self.max_packet_out

    def fits(self, delivery: Delivery) -> bool:
        """As `takes`; if not it is dropped."""
        if self.takes(delivery):
            return True
        self.node.dropped(self.client_id, st.DROP_TOO_LARGE, delivery.message.topic, 1)
        return False

    def send_qos0(self, delivery: Delivery) -> None:
        if not self.fits(delivery):
            return
        if self.congested and not self._has_room(delivery.size, 1, delivery.message.topic):
            return
        self.send_publish(delivery, 0, False)

    def send_publish(self, delivery: Delivery, packet_id: int, dup: bool) -> None:
        """Encode one PUBLISH; the pieces that it shares with other subscribers' are made once."""
        if not self._out:
            self.node.touch(self)
        out = self._out
        message = delivery.message
        if dup or self.alias_out_max or (message.expires and self.level == MQTT_5):
            raw_topic = message.raw_topic
            alias = 0
            # Not where an alias beside the topic might make the packet larger than the client allows.
            if self.alias_out_max and delivery.size + len(delivery.identifiers) <= self.max_packet_out:
                alias = self._alias(raw_topic)
                if alias < 0:  # the client knows it already
                    alias = -alias
                    raw_topic = b"\0\0"
            out.append(delivery.whole(self.level, packet_id, dup, self.node.now, raw_topic, alias))
        elif self.level == MQTT_5:
            if not delivery.head5:
                delivery.encode5()
            out.append(delivery.head5)
            if packet_id:
                out.append(PACKET_IDS[packet_id])
            out.append(delivery.tail5)
        else:
            if not delivery.head3:
                delivery.encode3()
            out.append(delivery.head3)
            if packet_id:
                out.append(PACKET_IDS[packet_id])
            out.append(message.payload)
        self.publishes_out += 1
        stats = self.node.stats
        stats.packets_out += 1
        stats.publishes_out += 1
        stats.publish_bytes_out += len(message.payload)
        self._out_size += delivery.size
        if self._out_size > EARLY_FLUSH:
            self.flush()

    def _alias(self, raw_topic: bytes) -> int:
        """The alias to send with the topic, minus the alias to send alone, or 0 for none.

        The first topics sent get the aliases that the client allows.
        """
        aliases = self._aliases
        if aliases is None:
            aliases = {}
            self._aliases = aliases
        known = aliases.get(raw_topic, 0)
        if known:
            return -known
        if len(aliases) >= self.alias_out_max or len(raw_topic) > ALIASED_LENGTH:
            return 0
        alias = len(aliases) + 1
        aliases[raw_topic] = alias
        return alias

    def flush(self) -> None:
        """Hand the output to the link, in one piece."""
        out = self._out
        if not out or self.congested:
            return
        self._out = []
        if self.traced:
            self.trace(b"".join(out), 0, False)
        if self._out_size < LARGE:
            self._out_size = 0
            data = out[0] if len(out) == 1 else b"".join(out)
            size = len(data)
            self.link.write(data)
        else:
            self._out_size = 0
            size = self._write_pieces(out)
        self.node.stats.bytes_out += size
        self._account(size)

    def _write_pieces(self, out: list[bytes]) -> int:
        """Write large payloads as they are: their subscribers share the bytes. The bytes written."""
        size = 0
        small: list[bytes] = []
        for piece in out:
            size += len(piece)
            if len(piece) < LARGE:
                small.append(piece)
                continue
            if small:
                self.link.write(b"".join(small))
                small = []
            self.link.write(piece)
        if small:
            self.link.write(b"".join(small))
        return size

    def _account(self, size: int) -> None:
        """After a write, in which the link may have called `pause`."""
        if self.congested:
            self.unsent += size
            self.node.stats.held += size

    def pause(self) -> None:
        """The link's buffer is over its high mark."""
        self.congested = True

    def relieve(self) -> None:
        """The link's buffer is below its low mark, or gone."""
        self.congested = False
        self.node.stats.held -= self.unsent
        self.unsent = 0

    def discard_output(self) -> None:
        """The connection is over."""
        self.relieve()
        self._out = []
        self._aliases = None
        if self._ack_queue is not None:
            self._ack_queue.clear()
            self._ack_queue = None
