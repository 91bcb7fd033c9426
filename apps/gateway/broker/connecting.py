"""CONNECT, CONNACK and enhanced authentication (sections 3.1, 3.2, 3.15, 4.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from apps.gateway.broker import closing, ingress, ports, subscribing, systopics
from apps.gateway.broker import stats as st
from apps.gateway.broker.limits import NO_LIMIT
from apps.gateway.broker.messages import Message
from apps.gateway.broker.pending import PendingAuth, PendingConnect
from apps.gateway.broker.ports import ConnectRequest, Verdict
from apps.gateway.broker.states import CLOSED, CONNECTED, CONNECTING
from apps.gateway.mqtt import codec, packets, reasons, topics
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt.errors import MqttError, ProtocolError
from apps.gateway.mqtt.packets import Packet
from apps.gateway.mqtt.properties import Properties

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection


def on_connect(connection: Connection, packet: Packet, now: float) -> None:
    """Check what needs no database, then wait for the authenticator."""
    connect = cast(packets.Connect, packet)
    connection.connect = connect
    connection.bridge = connect.bridge
    connection.state = CONNECTING
    connection.max_packet_out = props.integer(connect.properties, props.MAXIMUM_PACKET_SIZE, NO_LIMIT)
    if not connect.client_id:
        if connect.level == pt.MQTT_3_1 or (connect.level == pt.MQTT_3_1_1 and not connect.clean_start):
            raise MqttError(reasons.CLIENT_IDENTIFIER_NOT_VALID, "empty client identifier")  # [MQTT-3.1.3-8]
        connection.client_id = connection.node.assign_client_id()
    else:
        connection.client_id = connect.client_id
    if connection.node.tracer is not None:
        connection.traced = connection.node.tracer.traces(connection.client_id, connection.peer.address)
    if connect.will is not None:
        limits = connection.limits
        topics.check_name(connect.will.topic, limits.max_topic_length, limits.max_topic_levels)
        ingress.check_response_topic(connect.will.properties)
    reason = connection.node.admit(connection.client_id, now)
    if reason:
        raise MqttError(reason, reasons.name(reason))
    method = props.string(connect.properties, props.AUTHENTICATION_METHOD)
    connection.auth_method = method
    connection.wait_for(
        PendingConnect(
            ConnectRequest(
                client_id=connection.client_id,
                level=connect.level,
                username=connect.username,
                password=connect.password,
                clean_start=connect.clean_start,
                keepalive=connect.keepalive,
                peer=connection.peer,
                auth_method=method,
                auth_data=props.data(connect.properties, props.AUTHENTICATION_DATA),
                user_properties=tuple(props.user(connect.properties)),
            )
        )
    )


def on_auth(connection: Connection, packet: Packet, now: float) -> None:
    """The client's next step of the exchange that CONNECT began [MQTT-4.12.0-3]."""
    auth = cast(packets.Auth, packet)
    if connection.exchange is None or auth.reason != reasons.CONTINUE_AUTHENTICATION:
        raise ProtocolError("AUTH not expected")
    _same_method(connection, auth)
    connection.wait_for(PendingAuth(props.data(auth.properties, props.AUTHENTICATION_DATA)))


def on_reauthenticate(connection: Connection, packet: Packet, now: float) -> None:
    """AUTH on a live connection: begin again, or go on (section 4.12.1)."""
    auth = cast(packets.Auth, packet)
    if connection.auth_method is None:  # [MQTT-4.12.0-6]
        raise ProtocolError("AUTH without an authentication method in CONNECT")
    _same_method(connection, auth)
    begins = auth.reason == reasons.REAUTHENTICATE
    if not begins and (auth.reason != reasons.CONTINUE_AUTHENTICATION or connection.exchange is None):
        raise ProtocolError("AUTH not expected")
    if begins:
        connection.exchange = None
    connection.wait_for(PendingAuth(props.data(auth.properties, props.AUTHENTICATION_DATA)))


def _same_method(connection: Connection, auth: packets.Auth) -> None:
    if (
        props.string(auth.properties, props.AUTHENTICATION_METHOD) != connection.auth_method
    ):  # [MQTT-4.12.0-5]
        raise ProtocolError("another authentication method")


def challenge(connection: Connection, data: bytes | None, now: float) -> None:
    """The exchange goes on: AUTH 0x18 to the client [MQTT-4.12.0-2]."""
    if connection.state == CLOSED:
        return
    _write_auth(connection, reasons.CONTINUE_AUTHENTICATION, data)
    connection.resume(now)


def _write_auth(connection: Connection, reason: int, data: bytes | None) -> None:
    properties: Properties = {props.AUTHENTICATION_METHOD: connection.auth_method or ""}
    if data is not None:
        properties[props.AUTHENTICATION_DATA] = data
    connection.answer(codec.encode(packets.Auth(reason, properties), pt.MQTT_5))


def decided(
    connection: Connection,
    verdict: Verdict,
    request: ConnectRequest,
    now: float,
    asked: dict[str, int] | None = None,
) -> None:
    """The authenticator's word on a CONNECT or on a re-authentication.

    `asked`: as `subscribing.change_acl` wants it, of the session that goes on.
    """
    if connection.state == CLOSED:  # the client did not wait
        return
    connection.exchange = None
    if verdict.accepted and verdict.acl is not None:
        if connection.state == CONNECTED:
            subscribing.change_acl(connection, verdict.acl, asked)
            connection.node.expire_at(connection, verdict.expires_at)
            _write_auth(connection, reasons.SUCCESS, verdict.auth_data)
            connection.resume(now)
        else:
            _accept(connection, verdict, now, asked)
        return
    connection.node.refused(request, verdict)
    closing.close(connection, verdict.reason, verdict.reason_string, now, verdict.server_reference)


def _accept(connection: Connection, verdict: Verdict, now: float, asked: dict[str, int] | None) -> None:
    connect = connection.connect
    if connect is None:
        return
    v5 = connect.level == pt.MQTT_5
    node = connection.node
    limits = connection.limits
    properties = connect.properties
    connection.acl = verdict.acl
    connection.username = verdict.username if verdict.username is not None else connect.username
    connection.window = min(limits.inflight_window, props.integer(properties, props.RECEIVE_MAXIMUM, 65_535))
    alias_maximum = props.integer(properties, props.TOPIC_ALIAS_MAXIMUM, 0)
    connection.alias_out_max = min(limits.topic_alias_maximum, alias_maximum)
    connection.verbatim = 0 if connection.alias_out_max else (5 if v5 else 3)
    connection.tokens = float(limits.publish_rate)
    keepalive = max(connect.keepalive, limits.min_keepalive) if connect.keepalive else 0
    if v5 and limits.max_keepalive < 65_535:  # a 3.x client could not be told
        keepalive = min(keepalive, limits.max_keepalive) if keepalive else limits.max_keepalive
    connection.keepalive = keepalive * 1.5  # [MQTT-3.1.2-22]
    wanted = limits.session_expiry_max
    if v5:
        wanted = props.integer(properties, props.SESSION_EXPIRY_INTERVAL, 0)
    elif connect.clean_start:
        wanted = 0
    expiry = min(wanted, limits.session_expiry_max)
    if node.full(connection.client_id):  # others were quicker while this one was decided
        raise MqttError(reasons.SERVER_BUSY, reasons.name(reasons.SERVER_BUSY))
    if connection.client_id not in node.sessions and len(node.sessions) >= limits.max_sessions:
        raise MqttError(reasons.QUOTA_EXCEEDED, "the node's sessions are used up")
    if node.stats.held + connection.weight > limits.node_bytes:
        raise MqttError(reasons.QUOTA_EXCEEDED, "the node's memory budget is used up")
    answer: Properties = {}
    if v5:
        answer = _offer(connection, connect, verdict, wanted != expiry, expiry, keepalive)
        _fit(answer, connection.max_packet_out)
    if connect.will is not None:
        will = will_message(connect.will, connection.client_id)
        if not node.count_bytes(will.size):
            raise MqttError(reasons.QUOTA_EXCEEDED, "the node's memory budget is used up")
        connection.will = will
        connection.will_delay = props.integer(connect.will.properties, props.WILL_DELAY_INTERVAL, 0)
    connection.connect = None
    present = node.attach(connection, connect.clean_start, expiry, now)
    node.expire_at(connection, verdict.expires_at)
    if present and verdict.acl is not None:
        subscribing.change_acl(connection, verdict.acl, asked)
        if connection.session is not None:
            connection.session.drop_denied()
    session_present = present and connect.level != pt.MQTT_3_1  # 3.1 has no such flag
    connection.write(codec.encode(packets.Connack(0, session_present, answer), connect.level))
    if connection.session is not None:
        connection.session.resend(now)
    connection.resume(now)


def _offer(
    connection: Connection,
    connect: packets.Connect,
    verdict: Verdict,
    shortened: bool,
    expiry: int,
    keepalive: int,
) -> Properties:
    """What CONNACK tells a 5.0 client (section 3.2.2.3)."""
    limits = connection.limits
    answer: Properties = {
        props.RECEIVE_MAXIMUM: limits.receive_maximum,
        props.MAXIMUM_PACKET_SIZE: limits.max_packet_size,
        props.TOPIC_ALIAS_MAXIMUM: limits.topic_alias_maximum,
        props.RETAIN_AVAILABLE: 1,
        props.WILDCARD_SUBSCRIPTION_AVAILABLE: 1,
        props.SUBSCRIPTION_IDENTIFIERS_AVAILABLE: 1,
        props.SHARED_SUBSCRIPTION_AVAILABLE: 1,
    }
    if shortened:
        answer[props.SESSION_EXPIRY_INTERVAL] = expiry
    if not connect.client_id:  # [MQTT-3.1.3-7]
        answer[props.ASSIGNED_CLIENT_IDENTIFIER] = connection.client_id
    if keepalive != connect.keepalive:  # [MQTT-3.1.2-21]
        answer[props.SERVER_KEEP_ALIVE] = keepalive
    if props.integer(connect.properties, props.REQUEST_RESPONSE_INFORMATION, 0):  # [MQTT-3.1.2-28]
        answer[props.RESPONSE_INFORMATION] = f"response/{connection.client_id}"
    if connection.auth_method is not None:
        answer[props.AUTHENTICATION_METHOD] = connection.auth_method
        if verdict.auth_data is not None:
            answer[props.AUTHENTICATION_DATA] = verdict.auth_data
    return answer


# What a CONNACK can do without, first to last: values that hold by default, then what is only offered.
_SPARE: Final = (
    (props.RETAIN_AVAILABLE, 1),
    (props.WILDCARD_SUBSCRIPTION_AVAILABLE, 1),
    (props.SUBSCRIPTION_IDENTIFIERS_AVAILABLE, 1),
    (props.SHARED_SUBSCRIPTION_AVAILABLE, 1),
    (props.RECEIVE_MAXIMUM, 65_535),
    (props.TOPIC_ALIAS_MAXIMUM, 0),
    (props.RESPONSE_INFORMATION, None),
    (props.TOPIC_ALIAS_MAXIMUM, None),
)


def _fit(answer: Properties, maximum: int) -> None:
    """Make a CONNACK as small as a client needs it. Raises 0x95 where that cannot be [MQTT-3.1.2-24]."""
    size = _connack_size(answer)
    for identifier, default in _SPARE:
        if size <= maximum:
            return
        if identifier in answer and (default is None or answer[identifier] == default):
            del answer[identifier]
            size = _connack_size(answer)
    if size > maximum:
        raise MqttError(reasons.PACKET_TOO_LARGE, f"CONNACK has {size} bytes")


def _connack_size(answer: Properties) -> int:
    return len(codec.encode(packets.Connack(0, False, answer), pt.MQTT_5))


def will_message(will: packets.Will, client_id: str) -> Message:
    """The will as a message; its expiry is counted from its publication."""
    own = (props.WILL_DELAY_INTERVAL, props.MESSAGE_EXPIRY_INTERVAL)
    forwarded = props.write_body({key: value for key, value in will.properties.items() if key not in own})
    lifetime = 0.0
    if props.MESSAGE_EXPIRY_INTERVAL in will.properties:
        lifetime = max(float(props.integer(will.properties, props.MESSAGE_EXPIRY_INTERVAL, 0)), 0.001)
    return Message(will.topic, will.payload, will.qos, will.retain, forwarded, lifetime, client_id)


def will_allowed(connection: Connection, connect: packets.Connect, grant: int) -> bool:
    """May the client leave the will it asks for, with `grant` for its topic?

    A bridge's below $SYS that is not its state is dropped: refused, the bridge would never come in.
    """
    will = connect.will
    if will is None:
        return True
    if not topics.is_system(will.topic):
        needed = 1 << will.qos | (ports.RETAIN if will.retain else 0)
        return grant & needed == needed
    if systopics.is_bridge_state(will.topic, connection.client_id) and (
        not will.retain or systopics.may_be_retained(will.topic, will.payload)
    ):
        return True
    if not connect.bridge and not will.topic.startswith(systopics.BRIDGES):
        return False
    connect.will = None
    connection.node.dropped(connection.client_id, st.DROP_DENIED, will.topic, 1)
    connection.node.denied(connection, "publish", will.topic)
    return True
