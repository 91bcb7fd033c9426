"""One client connection: bytes in, messages and answers out. No socket, no loop, no clock.

This is the hot path. It takes a whole socket buffer at a time and reads PUBLISH, its acknowledgements
and PINGREQ in place; a PUBLISH that is not in its plainest form goes to `ingress`, every other packet
to `control`. Nothing here awaits, logs or allocates per message what can be had per buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from apps.gateway.broker import closing, control, ingress, ports
from apps.gateway.broker.completion import PUBACK, PUBCOMP, PUBREC, PUBREL
from apps.gateway.broker.messages import Message
from apps.gateway.broker.outbound import Outbound
from apps.gateway.broker.pending import PendingTurn
from apps.gateway.broker.routing import CACHED_LENGTH
from apps.gateway.broker.states import CLOSED, CONNECTED, NEW
from apps.gateway.mqtt import framing, reasons
from apps.gateway.mqtt.errors import MalformedPacket, MqttError, ProtocolError
from apps.gateway.mqtt.packettypes import MQTT_5

if TYPE_CHECKING:
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.pending import Pending
    from apps.gateway.broker.ports import Acl, Exchange, Link, Peer
    from apps.gateway.broker.routing import Charge, PublishGrant, Route
    from apps.gateway.broker.session import Session
    from apps.gateway.mqtt.packets import Connect

GRANT: Final = 120  # bytes that a remembered topic costs beside its name
MAX_PUBLISH_GRANTS: Final = 4096  # topics whose ACL decision and route one connection remembers
JOINED: Final = 4096  # bytes; smaller pieces of a packet are joined, each would cost more than it holds
PACE: Final = 256.0  # bytes a second, 2 kbit/s: the slowest line on which a large packet may take its time
MAX_WORK: Final = 10_000  # units of `Router.work` that a client gets of one loop turn: about 2 ms
MAX_CONTROL_PACKET: Final = 1_048_576  # bytes; before CONNACK, and but for PUBLISH, nobody may announce more


class Connection(Outbound):
    """The state of one network connection, and its incoming half."""

    def __init__(self, node: Node, link: Link, peer: Peer, now: float) -> None:
        super().__init__(node, link)
        self.peer = peer
        self.state: int = NEW
        self.session: Session | None = None
        self.acl: Acl | None = None
        self.connect: Connect | None = None  # kept until CONNACK
        self.exchange: Exchange | None = None  # an enhanced authentication under way
        self.auth_method: str | None = None
        self.username: str | None = None
        self.will: Message | None = None
        self.will_delay = 0  # seconds
        self.keepalive = 0.0  # seconds of silence after which the client is gone; 0 = any
        self.clean_start = True
        self.bridge = False  # the client is another broker
        self.opened = now
        self.last_seen = now
        self.expires_at = 0.0  # when the credentials end; 0.0 = never
        self.pending: Pending | None = None  # what waits for a decision; nothing is read meanwhile
        self.holding = False  # we asked the link to stop reading
        self.tokens = 0.0  # publishes the client may send at once, below its rate limit
        self.refilled = now
        self.throttled = False
        self.pressed = 0  # crowded sessions that it waits for (`pressure`)
        self._backed_up = False  # too many of them: we read no more
        self.watched: int = 0  # the second in which the timers look at it next
        self.publishes_in = 0
        self.charge: Charge | None = None  # of the routes that it has caused
        self.aliases_in: dict[int, bytes] | None = None
        self.aliases_held = 0  # bytes of the topics in it, counted against the node's budget
        self._publish_grants: dict[bytes, PublishGrant] | None = None
        self._granted = 0  # bytes of them
        self._long_topic = b""
        self._long_permit: PublishGrant | None = None
        self._partial: list[bytes] | None = None  # of a packet that is not complete
        self._partial_size = 0
        self._need = 0  # bytes until it is, where known

    @property
    def weight(self) -> int:
        """Bytes to count against the node's budget for what its session is called."""
        return len(self.client_id) + len(self.username or "")

    @property
    def silent_after(self) -> float:
        """When the keepalive has passed, in UNIX seconds.

        A client is to *start* its next packet in time (section 3.1.2.10) and cannot ping in the middle of
        one; but only a whole packet is received [MQTT-3.1.2-22]. So what has come of it buys the time that
        it takes on a slow line, and no more: neither a few bytes now and then nor an announced length do.
        """
        return self.last_seen + self.keepalive + self._partial_size / PACE

    def feed(self, data: bytes, now: float) -> None:
        """Take what the transport read; `now` in UNIX seconds. Never raises for what a peer sent."""
        if self.state == CLOSED:
            return
        self.node.now = now
        self.node.stats.bytes_in += len(data)
        if self._partial is not None or self.pending is not None:
            if not self._stash(data) or self.pending is not None or self._partial_size < self._need:
                return
            data = self._unstash()
        self._process(data, now)

    def wait_for(self, pending: Pending) -> None:
        """Stop reading until `pending` is decided and `resume` called."""
        self.pending = pending
        self._pause_reading()
        self.link.control()

    def resume(self, now: float) -> None:
        """The pending decision is made: read on."""
        self.pending = None
        if self._partial is not None and self.state != CLOSED:
            self._process(self._unstash(), now)
        self.read_on()

    def read_on(self) -> None:
        """Read again, unless there is another reason not to."""
        if self.pending is None and not self.throttled and not self._backed_up and not self.pressed:
            self._resume_reading()

    def back_up(self, full: bool) -> None:
        """Too many acknowledgements wait, or no longer."""
        if full == self._backed_up:
            return
        self._backed_up = full
        if full:
            self._pause_reading()
        else:
            self.read_on()

    def hold_reading(self) -> None:
        self._pause_reading()

    def _pause_reading(self) -> None:
        if not self.holding:
            self.holding = True
            self.link.pause_reading()

    def _resume_reading(self) -> None:
        if self.holding and self.state != CLOSED:
            self.holding = False
            self.link.resume_reading()

    def drained(self, now: float) -> None:
        """The link's buffer is below its low mark: send on."""
        if self.congested:
            self.relieve()
            self.flush()
            if self.session is not None:
                self.session.pump(now)

    def lost(self, now: float) -> None:
        """The transport is gone, whoever closed it."""
        closing.lost(self, now)

    def trace(self, data: bytes, end: int, incoming: bool) -> None:
        tracer = self.node.tracer
        if tracer is not None:
            tracer.packets(self, self.peer.address, data, end if incoming else len(data), incoming)

    def not_durable(self, head: bytes, packet_id: int, reason: int) -> bool:
        if self.level == MQTT_5 and head in (PUBACK, PUBREC):
            ingress.forget_qos2(self, head, packet_id)
            self.say(head, packet_id, reason)
            return True
        self.fail(MqttError(reason, "the message could not be made durable"))  # the client will try again
        return False

    def fail(self, error: MqttError) -> None:
        """The peer broke the protocol: answer and close."""
        closing.fail(self, error)

    def discard_input(self) -> None:
        self._unstash()
        self.node.uncount_bytes(self.aliases_held)
        self.aliases_held = 0
        self.aliases_in = None

    def _process(self, data: bytes, now: float) -> None:
        self._need = 0
        try:
            pos = self._consume(data, now)
        except MqttError as error:
            closing.fail(self, error)
            return
        if pos:
            self.last_seen = now  # by whole packets [MQTT-3.1.2-22]
        if self.traced:
            self.trace(data, pos, True)
        if pos < len(data) and self.state != CLOSED:
            self._stash(data[pos:] if pos else data)

    def _stash(self, data: bytes) -> bool:
        """Keep bytes for later, within the node's budget."""
        stats = self.node.stats
        if stats.inbound + stats.held + len(data) > self.limits.node_bytes:
            closing.fail(self, MqttError(reasons.QUOTA_EXCEEDED, "the node's memory budget is used up"))
            return False
        if self._partial is None:
            self._partial = [data]
        elif len(self._partial[-1]) + len(data) < JOINED:
            self._partial[-1] += data
        else:
            self._partial.append(data)
        self._partial_size += len(data)
        stats.inbound += len(data)
        return True

    def _unstash(self) -> bytes:
        if self._partial is None:
            return b""
        data = b"".join(self._partial)
        self.node.stats.inbound -= self._partial_size
        self._partial = None
        self._partial_size = 0
        return data

    def _consume(self, data: bytes, now: float) -> int:
        """Handle the whole packets in `data`; the position of the first byte not consumed."""
        size = len(data)
        max_size = self.limits.max_packet_size
        if self.state == NEW and data and data[0] & 0xF0 != 0x10:
            raise ProtocolError("the first packet is not CONNECT")  # [MQTT-3.1.0-1], complete or not
        control_size = max_size if max_size < MAX_CONTROL_PACKET else MAX_CONTROL_PACKET
        if self.state != CONNECTED:
            max_size = control_size
        stats = self.node.stats
        pos = 0
        packets = 0
        publishes = 0
        acknowledged = False
        # A run: successive plain QoS 0 publishes to one topic, handed on together.
        run: PublishGrant | None = None
        run_start = 0
        run_count = 0
        run_largest = 0
        run_payload = 0
        router = self.node.router
        most_work = router.work + MAX_WORK
        try:
            while pos + 1 < size and router.work < most_work:
                first = data[pos]
                end = data[pos + 1]
                padded = False
                if end < 128 and end + 2 <= max_size:
                    start = pos + 2
                    end += start
                else:
                    start, end = framing.frame(data, pos, max_size if first & 0xF0 == 0x30 else control_size)
                    if start == 0:
                        break
                    # A length longer than it need be: 3.x does not forbid it, we do not pass it on.
                    padded = data[start - 1] == 0 and start > pos + 2
                    if padded and self.level == MQTT_5:
                        raise MalformedPacket("remaining length not in its shortest form")  # [MQTT-1.5.5-1]
                if end > size:
                    self._need = end - pos
                    break
                kind = first & 0xF0
                if kind == 0x30 and self.state == CONNECTED:
                    qos_bits = first & 0x06
                    topic_end = start + 2
                    if topic_end <= end:
                        topic_end += (data[start] << 8) | data[start + 1]
                    body = topic_end if qos_bits == 0 else topic_end + 2
                    if self.level == MQTT_5:
                        plain = body < end and data[body] == 0  # no properties
                        body += 1
                    else:
                        plain = body <= end
                    if plain and first & 0x01 == 0 and qos_bits != 0x06 and first != 0x38 and not padded:
                        raw = data[start:topic_end]
                        publish_grant = (
                            self._publish_grants.get(raw) if self._publish_grants is not None else None
                        )
                        if publish_grant is None or publish_grant.route.generation != router.generation:
                            publish_grant = ingress.publish_grant(self, raw)
                            if publish_grant is None:
                                break
                        if qos_bits == 0 and publish_grant.grant & ports.QOS_0:
                            if publish_grant is not run:
                                if run is not None:
                                    self._forward(
                                        run, data[run_start:pos], run_count, run_largest, run_payload
                                    )
                                run = publish_grant
                                run_start = pos
                                run_count = 0
                                run_largest = 0
                                run_payload = 0
                            run_count += 1
                            run_payload += end - body
                            if end - pos > run_largest:
                                run_largest = end - pos
                            stats.publish_bytes_in += end - body
                            packets += 1
                            publishes += 1
                            pos = end
                            continue
                        if run is not None:
                            self._forward(run, data[run_start:pos], run_count, run_largest, run_payload)
                            run = None
                        if publish_grant.grant & qos_bits:  # QOS_1 is 2 and QOS_2 is 4, as on the wire
                            packet_id = (data[topic_end] << 8) | data[topic_end + 1]
                            if packet_id == 0:
                                raise ProtocolError("packet identifier 0")  # [MQTT-2.2.1-3]
                            if qos_bits == 0x02:
                                self._publish_qos1(publish_grant.route, data[body:end], packet_id)
                            else:
                                self._publish_qos2(publish_grant.route, data[body:end], packet_id)
                            stats.publish_bytes_in += end - body
                            packets += 1
                            publishes += 1
                            pos = end
                            continue
                    elif run is not None:
                        self._forward(run, data[run_start:pos], run_count, run_largest, run_payload)
                        run = None
                    if not ingress.publish(self, first, data, start, end, now):
                        break
                    publishes += 1
                else:
                    if run is not None:
                        self._forward(run, data[run_start:pos], run_count, run_largest, run_payload)
                        run = None
                    session = self.session
                    if session is not None and 0x40 <= kind <= 0x70:
                        acknowledged = True
                        packet_id = (data[start] << 8) | data[start + 1] if end - start == 2 else 0
                        if packet_id == 0:
                            ingress.acknowledged(self, session, first, data, start, end)
                        elif first == 0x40:
                            session.acknowledge(packet_id, 1)
                        elif first == 0x62 and packet_id in session.incoming:
                            session.let_go(packet_id)
                            self.acknowledge(PUBCOMP, packet_id, 0)
                        elif first == 0x50 and session.release(packet_id):
                            self.acknowledge(PUBREL, packet_id, 0)
                        elif first == 0x70:
                            session.complete(packet_id)
                        else:
                            ingress.acknowledged(self, session, first, data, start, end)
                    elif first == 0xC0 and end == start and self.state == CONNECTED:
                        self.write(b"\xd0\x00")
                    else:
                        control.handle(self, first, data, start, end, now)
                        if self.pending is not None or self.state == CLOSED:
                            packets += 1
                            pos = end
                            break
                packets += 1
                pos = end
            if pos + 1 < size and router.work >= most_work and self.pending is None and self.state != CLOSED:
                self.wait_for(PendingTurn())
        finally:  # also where a packet was bad: those before it count
            if run is not None:
                self._forward(run, data[run_start:pos], run_count, run_largest, run_payload)
            stats.packets_in += packets
            if publishes:
                stats.publishes_in += publishes
                self.publishes_in += publishes
                if self.limits.publish_rate:
                    self._throttle(publishes, now)
                if self.node.pressure.fresh:
                    self.node.pressure.hold_back(self)
            if acknowledged and self.session is not None:
                self.session.pump(now)
        return pos

    def _forward(
        self, publish_grant: PublishGrant, packets: bytes, count: int, largest: int, payload: int
    ) -> None:
        if not publish_grant.route.empty:
            level = 5 if self.level == MQTT_5 else 3
            origin = self.client_id
            self.node.router.forward(publish_grant.route, packets, count, largest, payload, level, origin)

    def _publish_qos1(self, route: Route, payload: bytes, packet_id: int) -> None:
        reason: int = reasons.NO_MATCHING_SUBSCRIBERS
        if not route.empty:
            message = Message(route.topic, payload, 1, False, b"", 0.0, self.client_id, route.raw_topic)
            reason = self.node.router.dispatch(route, message)
        if reason < reasons.UNSPECIFIED_ERROR and self.level != MQTT_5 and not self.waits:
            self.reply(PUBACK, packet_id)
        else:
            ingress.answer(self, PUBACK, packet_id, reason)

    def _publish_qos2(self, route: Route, payload: bytes, packet_id: int) -> None:
        session = self.session
        if session is None:
            return
        reason = 0
        if packet_id not in session.incoming:  # [MQTT-4.3.3-10]: handed on once, answered again
            if session.exactly_once:
                message = Message(route.topic, payload, 2, False, b"", 0.0, self.client_id, route.raw_topic)
                ingress.publish_once(self, session, packet_id, message)
                return
            self.take_qos2(session, packet_id)
            reason = reasons.NO_MATCHING_SUBSCRIBERS
            if not route.empty:
                message = Message(route.topic, payload, 2, False, b"", 0.0, self.client_id, route.raw_topic)
                reason = self.node.router.dispatch(route, message)
        else:
            session.barrier()
        ingress.answer(self, PUBREC, packet_id, reason)

    def take_qos2(self, session: Session, packet_id: int) -> None:
        """Note a QoS 2 packet identifier until its PUBREL. Raises 0x93 above the receive maximum.

        A 3.x client was not told of one: the identifiers themselves are its bound.
        """
        self.check_qos2(len(session.incoming))
        session.take_in(packet_id)

    def check_qos2(self, count: int) -> None:
        if self.level == MQTT_5 and count >= self.limits.receive_maximum:
            raise MqttError(reasons.RECEIVE_MAXIMUM_EXCEEDED, "receive maximum exceeded")  # [MQTT-3.3.4-7]

    def _throttle(self, publishes: int, now: float) -> None:
        """Stop reading a client that is above its publish rate; the node's tick reads on."""
        rate = float(self.limits.publish_rate)
        self.tokens = min(self.tokens + (now - self.refilled) * rate, rate) - publishes
        self.refilled = now
        if self.tokens < 0.0:
            self.node.throttle(self)
            self._pause_reading()

    # What this connection may publish --------------------------------------------------------------

    def remember(self, raw: bytes, publish_grant: PublishGrant) -> None:
        """Keep a grant for the topic's next publish; of topics too long to be cached only the last."""
        if len(raw) > CACHED_LENGTH:
            self._long_topic = raw
            self._long_permit = publish_grant
            return
        stats = self.node.stats
        if len(raw) + GRANT + stats.granted > self.limits.node_bytes // 8 or (
            self._publish_grants is not None and len(self._publish_grants) >= MAX_PUBLISH_GRANTS
        ):
            self._drop_publish_grants()
        publish_grants = self._publish_grants
        if publish_grants is None:
            publish_grants = {}
            self._publish_grants = publish_grants
        if raw not in publish_grants:
            self._granted += len(raw) + GRANT
            stats.granted += len(raw) + GRANT
        publish_grants[raw] = publish_grant

    def _drop_publish_grants(self) -> None:
        self._publish_grants = None
        self.node.stats.granted -= self._granted
        self._granted = 0

    def remember_denied(self, raw: bytes, publish_grant: PublishGrant) -> None:
        """Keep it until another one is denied, or a topic too long to be cached comes."""
        self._long_topic = raw
        self._long_permit = publish_grant

    def known(self, raw: bytes) -> PublishGrant | None:
        """The grant remembered for a topic; its route may be out of date."""
        if raw == self._long_topic:
            return self._long_permit
        return self._publish_grants.get(raw) if self._publish_grants is not None else None

    def forget_publish_grants(self) -> None:
        """The ACL has changed, or the connection has ended."""
        self._drop_publish_grants()
        self._long_topic = b""
        self._long_permit = None
