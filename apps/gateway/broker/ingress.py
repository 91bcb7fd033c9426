"""Publishes and acknowledgements that are not in their plainest form, and the publish grant of a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from apps.gateway.broker import ports, systopics
from apps.gateway.broker import stats as st
from apps.gateway.broker.completion import PUBACK, PUBCOMP, PUBREC, PUBREL
from apps.gateway.broker.messages import Message
from apps.gateway.broker.pending import PendingPublish
from apps.gateway.broker.routing import OVERFLOW, Charge, PublishGrant
from apps.gateway.broker.states import CLOSED
from apps.gateway.mqtt import codec, packets, reasons, topics, wire
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt.errors import MqttError, ProtocolError
from apps.gateway.mqtt.properties import Properties

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.remote import Remote
    from apps.gateway.broker.session import Session


# What things cost, in units of `Router.work`.
CHECKED: Final = 5  # a topic that is new to the connection, beside what its ACL takes
DECODED: Final = 25  # a PUBLISH that is not in its plainest form
USER_PROPERTY: Final = 10
RETAINED: Final = 100


def publish_grant(connection: Connection, raw: bytes) -> PublishGrant | None:
    """The current publish grant of a topic (`raw` with its two byte length).

    None: the ACL has to be asked, and the connection waits. Raises for a topic that is no topic.
    """
    router = connection.node.router
    known = connection.known(raw)
    if known is not None:
        topic = known.route.topic
        known.route = router.route(topic, charge(connection)) if known.grant else router.denied(topic)
        return known
    topic = wire.text(raw[2:])
    limits = connection.limits
    if not topic and connection.level == pt.MQTT_5:
        raise ProtocolError("empty topic without an alias")
    topics.check_name(topic, limits.max_topic_length, limits.max_topic_levels)
    grant = ports.NOTHING
    if connection.acl is not None and not topics.is_system(topic):
        grant = connection.acl.publish(topic)
        router.work += connection.acl.cost
    elif systopics.is_bridge_state(topic, connection.client_id):
        grant = ports.PUBLISH_ALL
    if grant == ports.UNKNOWN:
        connection.wait_for(PendingPublish(topic))
        return None
    router.work += CHECKED
    return allow(connection, raw, topic, grant)


def charge(connection: Connection) -> Charge | None:
    """Who bears the routes of the topics to which the connection publishes."""
    known = connection.charge
    if known is None and connection.state != CLOSED:
        known = connection.charge = Charge()
    return known


def allow(connection: Connection, raw: bytes, topic: str, grant: int) -> PublishGrant:
    """Remember what the ACL said; an answer that is none (UNKNOWN, when it was asked) allows nothing.

    Of topics that are denied only the last is remembered: who may not publish fills no cache.
    """
    router = connection.node.router
    if grant <= ports.NOTHING:
        made = PublishGrant(ports.NOTHING, router.denied(topic))
        connection.remember_denied(raw, made)
    else:
        made = PublishGrant(grant, router.route(topic, charge(connection)))
        connection.remember(raw, made)
    return made


def publish(connection: Connection, first: int, data: bytes, start: int, end: int, now: float) -> bool:
    """Handle one PUBLISH. False: its topic waits for a decision, and the packet will be read again."""
    packet = cast(packets.Publish, codec.decode(first, data, start, end, connection.level))
    work = DECODED + USER_PROPERTY * len(props.user(packet.properties)) + (RETAINED if packet.retain else 0)
    connection.node.router.work += work
    raw = _raw_topic(connection, packet)
    allowed = publish_grant(connection, raw)
    if allowed is None:
        return False
    session = connection.session
    if session is None:
        return True
    connection.node.stats.publish_bytes_in += len(packet.payload)
    qos = packet.qos
    if qos == 2 and packet.packet_id in session.incoming:
        session.barrier()
        connection.acknowledge(PUBREC, packet.packet_id, reasons.SUCCESS)
        return True
    route = allowed.route
    head = PUBREC if qos == 2 else PUBACK
    needed = 1 << qos | (ports.RETAIN if packet.retain else 0)
    if allowed.grant & needed != needed or (
        packet.retain and not systopics.may_be_retained(route.topic, packet.payload)
    ):
        connection.node.dropped(connection.client_id, st.DROP_DENIED, route.topic, 1)
        if not allowed.reported:
            allowed.reported = True
            connection.node.denied(connection, "publish", route.topic)
        if qos:
            answer(connection, head, packet.packet_id, reasons.NOT_AUTHORIZED)
        return True
    message = Message(
        route.topic,
        packet.payload,
        qos,
        packet.retain,
        _forwarded(packet.properties),
        _expires(packet.properties, now),
        connection.client_id,
        route.raw_topic,
    )
    if qos == 2:
        if session.exactly_once:
            publish_once(connection, session, packet.packet_id, message)
            return True
        connection.take_qos2(session, packet.packet_id)
    if packet.retain and not connection.node.retain(message) and qos and connection.level == pt.MQTT_5:
        # nobody gets it: the client may try again
        answer(connection, head, packet.packet_id, reasons.QUOTA_EXCEEDED)
        return True
    reason = connection.node.router.dispatch(route, message)
    if qos:
        answer(connection, head, packet.packet_id, reason)
    return True


def publish_once(connection: Connection, session: Session, packet_id: int, message: Message) -> None:
    """A QoS 2 message of a client whose session a cluster keeps."""
    durable = cast("Remote", session.durable)
    if packet_id not in durable.exact:
        connection.check_qos2(len(session.incoming) + len(durable.exact))
    durable.publish(connection, packet_id, message)


def hand_on(node: Node, message: Message, level: int) -> int:
    """As `Router.dispatch`, for what came a while ago; what is retained is kept first."""
    if message.retain and not node.retain(message) and level == pt.MQTT_5:
        return reasons.QUOTA_EXCEEDED
    reason = node.router.dispatch(node.router.route(message.topic), message)
    if reason == OVERFLOW:
        return reasons.QUOTA_EXCEEDED if level == pt.MQTT_5 else reasons.SUCCESS
    return reason


def _raw_topic(connection: Connection, packet: packets.Publish) -> bytes:
    """The topic with its two byte length, by its alias where it has one (section 3.3.2.3.4)."""
    alias = props.integer(packet.properties, props.TOPIC_ALIAS, 0)
    if not alias:
        return wire.string(packet.topic)
    if alias > connection.limits.topic_alias_maximum:  # [MQTT-3.3.2-9]
        raise MqttError(reasons.TOPIC_ALIAS_INVALID, f"topic alias {alias} above the maximum")
    aliases = connection.aliases_in
    if aliases is None:
        aliases = {}
        connection.aliases_in = aliases
    if packet.topic:
        raw = wire.string(packet.topic)
        topics.check_name(packet.topic)
        grown = len(raw) - len(aliases.get(alias, b""))
        if not connection.node.count_bytes(grown):
            raise MqttError(reasons.QUOTA_EXCEEDED, "the node's memory budget is used up")
        connection.aliases_held += grown
        aliases[alias] = raw
        return raw
    known = aliases.get(alias)
    if known is None:
        raise ProtocolError(f"topic alias {alias} is not known")
    return known


def _forwarded(properties: Properties) -> bytes:
    """The properties that travel on to subscribers, encoded [MQTT-3.3.2-4/15/16/17/20]."""
    if not properties:
        return b""
    if props.SUBSCRIPTION_IDENTIFIER in properties:  # [MQTT-3.3.4-6]
        raise ProtocolError("subscription identifier from a client")
    check_response_topic(properties)
    own = (props.TOPIC_ALIAS, props.MESSAGE_EXPIRY_INTERVAL)
    return props.write_body({key: value for key, value in properties.items() if key not in own})


def check_response_topic(properties: Properties) -> None:
    response_topic = props.string(properties, props.RESPONSE_TOPIC)
    if response_topic is None:
        return
    if not response_topic:  # [MQTT-4.7.3-1]
        raise ProtocolError("empty response topic")
    if "+" in response_topic or "#" in response_topic:  # [MQTT-3.3.2-14]
        raise ProtocolError("wildcard in a response topic")


def _expires(properties: Properties, now: float) -> float:
    if props.MESSAGE_EXPIRY_INTERVAL not in properties:
        return 0.0
    return now + props.integer(properties, props.MESSAGE_EXPIRY_INTERVAL, 0)


def answer(connection: Connection, head: bytes, packet_id: int, reason: int) -> None:
    """PUBACK or PUBREC; a 3.x client gets a plain one whatever the reason [MQTT-3.3.5-2].

    But none where the message was not taken for want of room: raises `MqttError`, and the client will
    send it again.
    """
    if reason == OVERFLOW:
        reason = reasons.QUOTA_EXCEEDED if connection.level == pt.MQTT_5 else reasons.SUCCESS
    if reason == reasons.QUOTA_EXCEEDED:
        forget_qos2(connection, head, packet_id)
        if connection.level < pt.MQTT_5:
            raise MqttError(reason, "the message could not be taken")
    connection.acknowledge(head, packet_id, reason)


def forget_qos2(connection: Connection, head: bytes, packet_id: int) -> None:
    """A message that PUBREC (`head`) would have answered was not taken: its identifier is free again."""
    if head == PUBREC and connection.session is not None:
        connection.session.let_go(packet_id)


def _is_known(session: Session, packet_id: int) -> bool:
    """Is it the identifier of a QoS 2 message that came?"""
    return packet_id in session.incoming or (
        session.exactly_once and packet_id in cast("Remote", session.durable).exact
    )


def acknowledged(
    connection: Connection, session: Session, first: int, data: bytes, start: int, end: int
) -> None:
    """Handle a PUBACK, PUBREC, PUBREL or PUBCOMP with a reason code, or for an unknown identifier."""
    ack = cast(packets.Ack, codec.decode(first, data, start, end, connection.level))
    packet_id = ack.packet_id
    if ack.type == pt.PUBACK:
        session.acknowledge(packet_id, 1)
    elif ack.type == pt.PUBCOMP:
        session.complete(packet_id)
    elif ack.type == pt.PUBREC:
        if ack.reason >= 0x80:  # the client will not have it: over and done with (section 4.3.3)
            session.acknowledge(packet_id, 2)
        else:
            _reply(connection, PUBREL, packet_id, session.release(packet_id))
    else:
        known = _is_known(session, packet_id)
        if known:
            session.let_go(packet_id)
        _reply(connection, PUBCOMP, packet_id, known)


def _reply(connection: Connection, head: bytes, packet_id: int, known: bool) -> None:
    """PUBREL or PUBCOMP; 5.0 says so when the identifier is not known (section 3.6.2.1)."""
    if known or connection.level < pt.MQTT_5:
        connection.acknowledge(head, packet_id, reasons.SUCCESS)
    else:
        connection.acknowledge(head, packet_id, reasons.PACKET_IDENTIFIER_NOT_FOUND)
