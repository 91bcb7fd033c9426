"""Packets to bytes and back, for protocol levels 3 (MQTT 3.1), 4 (3.1.1) and 5 (5.0).

`decode` takes the first byte and the rest of one packet (`framing` finds it); it raises `MqttError`
with the reason code to answer with. `encode` answers the bytes of a whole packet. The broker's data
path reads and writes PUBLISH and its acknowledgements itself, in place, and comes here for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt import reasons, wire
from apps.gateway.mqtt.errors import LocalError, MalformedPacket, MqttError, ProtocolError
from apps.gateway.mqtt.properties import Properties

MAX_FILTERS: Final = 10_000  # in one SUBSCRIBE or UNSUBSCRIBE

# The others' are 0 [MQTT-2.1.3-1]. MQTT 3.1 also knows DUP on these, 0x08, when they are repeated.
_FLAGS = {pt.PUBREL: 2, pt.SUBSCRIBE: 2, pt.UNSUBSCRIBE: 2}


def decode(first: int, data: bytes, pos: int, end: int, level: int) -> p.Packet:
    """The packet with fixed header byte `first` whose variable header starts at `pos` in `data`.

    `level` is the connection's protocol level; CONNECT carries its own.
    """
    kind = first >> 4
    if kind == pt.PUBLISH:
        return _publish(first, data, pos, end, level)
    flags = first & 0x0F
    if flags != _FLAGS.get(kind, 0) and not (level == pt.MQTT_3_1 and kind in _FLAGS and flags == 0x0A):
        raise MalformedPacket("reserved flags of the fixed header")
    if kind == pt.CONNECT:
        return decode_connect(data, pos, end)
    if pt.PUBACK <= kind <= pt.PUBCOMP:
        return _ack(kind, data, pos, end, level)
    if kind == pt.SUBSCRIBE:
        return _subscribe(data, pos, end, level)
    if kind == pt.UNSUBSCRIBE:
        return _unsubscribe(data, pos, end, level)
    if kind == pt.PINGREQ or kind == pt.PINGRESP:
        if pos != end:
            raise MalformedPacket(f"{pt.NAMES[kind]} with a body")
        return p.Ping(kind)
    if kind == pt.DISCONNECT:
        return _disconnect(data, pos, end, level)
    if kind == pt.AUTH and level == pt.MQTT_5:
        reason, properties = _reason_and_properties(data, pos, end, pt.AUTH)
        return p.Auth(reason, properties)
    if kind == pt.CONNACK:
        return _connack(data, pos, end, level)
    if kind == pt.SUBACK:
        return _suback(data, pos, end, level)
    if kind == pt.UNSUBACK:
        return _unsuback(data, pos, end, level)
    raise MalformedPacket(f"packet type {kind}")  # 0 is reserved, AUTH does not exist before 5.0


class UnsupportedVersion(MqttError):
    """CONNECT with a protocol name or level that is not spoken here (section 3.1.2.1, 3.1.2.2)."""

    def __init__(self, text: str, answer: bool) -> None:
        super().__init__(reasons.UNSUPPORTED_PROTOCOL_VERSION, text)
        self.answer = answer  # False: not MQTT at all, close without a CONNACK


BRIDGE: Final = 0x80  # bit of the protocol level by which mosquitto's bridges say what they are


def connect_level(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """(protocol level, position behind it) of a CONNECT; the level says how to answer even bad ones."""
    name, pos = wire.read_binary(data, pos, end)
    if pos >= end:
        raise MalformedPacket("CONNECT ends before the protocol level")
    level = data[pos] & ~BRIDGE
    if name == b"MQTT":
        if level not in (pt.MQTT_3_1_1, pt.MQTT_5):  # [MQTT-3.1.2-2]
            raise UnsupportedVersion(f"protocol level {level}", True)
    elif name == b"MQIsdp":
        if level != pt.MQTT_3_1:
            raise UnsupportedVersion(f"protocol level {level} of MQIsdp", True)
    else:
        raise UnsupportedVersion("not MQTT", False)  # [MQTT-3.1.2-1]
    return level, pos + 1


def decode_connect(data: bytes, pos: int, end: int) -> p.Connect:
    level, pos = connect_level(data, pos, end)
    bridge = data[pos - 1] & BRIDGE != 0
    if pos >= end:
        raise MalformedPacket("CONNECT ends before its flags")
    flags, pos = data[pos], pos + 1
    if flags & 0x01:  # [MQTT-3.1.2-3]
        raise MalformedPacket("reserved flag of CONNECT")
    has_will = flags & 0x04 != 0
    will_qos = (flags >> 3) & 3
    will_retain = flags & 0x20 != 0
    has_password = flags & 0x40 != 0
    has_username = flags & 0x80 != 0
    if will_qos == 3 or (not has_will and (will_qos or will_retain)):  # [MQTT-3.1.2-11] to [MQTT-3.1.2-15]
        raise MalformedPacket("will flags of CONNECT")
    if has_password and not has_username and level < pt.MQTT_5:  # 3.1.1 [MQTT-3.1.2-22]
        raise MalformedPacket("password without a user name")
    keepalive, pos = wire.read_u16(data, pos, end)
    properties: Properties = {}
    if level == pt.MQTT_5:
        properties, pos = props.read(data, pos, end, pt.CONNECT)
        if props.AUTHENTICATION_DATA in properties and props.AUTHENTICATION_METHOD not in properties:
            raise ProtocolError("authentication data without a method")
    client_id, pos = wire.read_string(data, pos, end)
    will = None
    if has_will:
        will_properties: Properties = {}
        if level == pt.MQTT_5:
            will_properties, pos = props.read(data, pos, end, props.WILL)
        topic, pos = wire.read_string(data, pos, end)
        payload, pos = wire.read_binary(data, pos, end)
        will = p.Will(topic, payload, will_qos, will_retain, will_properties)
    username = None
    password = None
    # MQTT 3.1 lets a client leave out at the end what its flags announce (there, section 3.1).
    if has_username and (pos < end or level > pt.MQTT_3_1):
        username, pos = wire.read_string(data, pos, end)
    if has_password and (pos < end or level > pt.MQTT_3_1):
        password, pos = wire.read_binary(data, pos, end)
    if pos != end:
        raise MalformedPacket("bytes behind the payload of CONNECT")
    return p.Connect(
        client_id, level, flags & 0x02 != 0, keepalive, username, password, will, properties, bridge
    )


def _publish(first: int, data: bytes, pos: int, end: int, level: int) -> p.Publish:
    qos = (first >> 1) & 3
    dup = first & 0x08 != 0
    if qos == 3:  # [MQTT-3.3.1-4]
        raise MalformedPacket("QoS 3")
    if dup and qos == 0:  # [MQTT-3.3.1-2]
        raise MalformedPacket("DUP at QoS 0")
    topic, pos = wire.read_string(data, pos, end)
    packet_id = 0
    if qos:
        packet_id, pos = _packet_id(data, pos, end)
    properties: Properties = {}
    if level == pt.MQTT_5:
        properties, pos = props.read(data, pos, end, pt.PUBLISH)
    return p.Publish(topic, data[pos:end], qos, first & 1 != 0, dup, packet_id, properties)


def _packet_id(data: bytes, pos: int, end: int) -> tuple[int, int]:
    packet_id, pos = wire.read_u16(data, pos, end)
    if packet_id == 0:  # [MQTT-2.2.1-3]
        raise ProtocolError("packet identifier 0")
    return packet_id, pos


def _ack(kind: int, data: bytes, pos: int, end: int, level: int) -> p.Ack:
    packet_id, pos = _packet_id(data, pos, end)
    if pos == end:
        return p.Ack(kind, packet_id)
    if level < pt.MQTT_5:
        raise MalformedPacket(f"{pt.NAMES[kind]} longer than two bytes")
    reason, properties = _reason_and_properties(data, pos, end, kind)
    return p.Ack(kind, packet_id, reason, properties)


def _reason_and_properties(data: bytes, pos: int, end: int, kind: int) -> tuple[int, Properties]:
    """A reason code and properties, either of which may be left out at the end (section 3.4.2.1)."""
    if pos == end:
        return 0, {}
    reason = data[pos]
    _check_reason(kind, reason)
    if pos + 1 == end:
        return reason, {}
    properties, pos = props.read(data, pos + 1, end, kind)
    if pos != end:
        raise MalformedPacket(f"bytes behind the properties of {pt.NAMES[kind]}")
    return reason, properties


def _check_reason(kind: int, reason: int) -> None:
    if not reasons.allowed(kind, reason):
        raise ProtocolError(f"{pt.NAMES[kind]} with {reasons.name(reason)}")


def _check_count(filters: Sequence[object]) -> None:
    """To read more would hold everybody else up."""
    if len(filters) > MAX_FILTERS:
        raise MqttError(reasons.QUOTA_EXCEEDED, f"more than {MAX_FILTERS} filters in one packet")


def _subscribe(data: bytes, pos: int, end: int, level: int) -> p.Subscribe:
    packet_id, pos = _packet_id(data, pos, end)
    properties: Properties = {}
    if level == pt.MQTT_5:
        properties, pos = props.read(data, pos, end, pt.SUBSCRIBE)
    filters: list[p.Filter] = []
    while pos < end:
        filter, pos = wire.read_string(data, pos, end)
        if pos >= end:
            raise MalformedPacket("topic filter without options")
        options, pos = data[pos], pos + 1
        filters.append(_filter(filter, options, level))
        _check_count(filters)
    if not filters:  # [MQTT-3.8.3-2]
        raise ProtocolError("SUBSCRIBE without a topic filter")
    return p.Subscribe(packet_id, filters, properties)


def _filter(filter: str, options: int, level: int) -> p.Filter:
    if not filter:  # [MQTT-4.7.3-1]
        raise MalformedPacket("empty topic filter")
    qos = options & 3
    if qos == 3 or options & (0xC0 if level == pt.MQTT_5 else 0xFC):  # [MQTT-3.8.3-5]
        raise MalformedPacket("subscription options")
    no_local = options & 0x04 != 0
    retain_handling = (options >> 4) & 3
    if retain_handling == 3:
        raise ProtocolError("retain handling 3")
    if no_local and filter.startswith("$share/"):  # [MQTT-3.8.3-4]
        raise ProtocolError("no local on a shared subscription")
    return p.Filter(filter, qos, no_local, options & 0x08 != 0, retain_handling)


def _unsubscribe(data: bytes, pos: int, end: int, level: int) -> p.Unsubscribe:
    packet_id, pos = _packet_id(data, pos, end)
    properties: Properties = {}
    if level == pt.MQTT_5:
        properties, pos = props.read(data, pos, end, pt.UNSUBSCRIBE)
    filters: list[str] = []
    while pos < end:
        filter, pos = wire.read_string(data, pos, end)
        if not filter:
            raise MalformedPacket("empty topic filter")
        filters.append(filter)
        _check_count(filters)
    if not filters:  # [MQTT-3.10.3-2]
        raise ProtocolError("UNSUBSCRIBE without a topic filter")
    return p.Unsubscribe(packet_id, filters, properties)


def _disconnect(data: bytes, pos: int, end: int, level: int) -> p.Disconnect:
    if level < pt.MQTT_5:
        if pos != end:
            raise MalformedPacket("DISCONNECT with a body")
        return p.Disconnect()
    reason, properties = _reason_and_properties(data, pos, end, pt.DISCONNECT)
    return p.Disconnect(reason, properties)


def _connack(data: bytes, pos: int, end: int, level: int) -> p.Connack:
    if pos + 2 > end or data[pos] > 1:
        raise MalformedPacket("CONNACK")
    present, reason, pos = data[pos] == 1, data[pos + 1], pos + 2
    properties: Properties = {}
    if level == pt.MQTT_5:
        _check_reason(pt.CONNACK, reason)
        properties, pos = props.read(data, pos, end, pt.CONNACK)
    if pos != end:
        raise MalformedPacket("bytes behind CONNACK")
    return p.Connack(reason, present, properties)


def _suback(data: bytes, pos: int, end: int, level: int) -> p.Suback:
    packet_id, pos = _packet_id(data, pos, end)
    properties: Properties = {}
    if level == pt.MQTT_5:
        properties, pos = props.read(data, pos, end, pt.SUBACK)
    return p.Suback(packet_id, _reasons(pt.SUBACK, data, pos, end), properties)


def _unsuback(data: bytes, pos: int, end: int, level: int) -> p.Unsuback:
    packet_id, pos = _packet_id(data, pos, end)
    properties: Properties = {}
    if level == pt.MQTT_5:
        properties, pos = props.read(data, pos, end, pt.UNSUBACK)
    elif pos != end:
        raise MalformedPacket("UNSUBACK with a payload")
    return p.Unsuback(packet_id, _reasons(pt.UNSUBACK, data, pos, end), properties)


def _reasons(kind: int, data: bytes, pos: int, end: int) -> list[int]:
    found = list(data[pos:end])
    for reason in found:
        _check_reason(kind, reason)
    return found


def encode(packet: p.Packet, level: int) -> bytes:
    """The bytes of a whole packet. Raises `LocalError` for a packet the protocol cannot carry."""
    first, body = _body(packet, level)
    return first.to_bytes(1, "big") + wire.varint(len(body)) + body


def _body(packet: p.Packet, level: int) -> tuple[int, bytes]:
    """(first byte, everything behind the remaining length)."""
    v5 = level == pt.MQTT_5
    if isinstance(packet, p.Publish):
        return _encode_publish(packet, v5)
    if isinstance(packet, p.Ack):
        first = packet.type << 4 | _FLAGS.get(packet.type, 0)
        tail = _reason_tail(packet.reason, packet.properties) if v5 else b""
        return first, wire.u16(packet.packet_id) + tail
    if isinstance(packet, p.Suback):
        middle = props.write(packet.properties) if v5 else b""
        return pt.SUBACK << 4, wire.u16(packet.packet_id) + middle + bytes(packet.reasons)
    if isinstance(packet, p.Unsuback):
        body = wire.u16(packet.packet_id)
        if v5:
            body += props.write(packet.properties) + bytes(packet.reasons)
        return pt.UNSUBACK << 4, body
    if isinstance(packet, p.Ping):
        return packet.type << 4, b""
    if isinstance(packet, p.Connack):
        body = bytes((1 if packet.session_present else 0, packet.reason))
        return pt.CONNACK << 4, body + props.write(packet.properties) if v5 else body
    if isinstance(packet, p.Disconnect):
        return pt.DISCONNECT << 4, _reason_tail(packet.reason, packet.properties) if v5 else b""
    if isinstance(packet, p.Auth):
        return pt.AUTH << 4, _reason_tail(packet.reason, packet.properties)
    if isinstance(packet, p.Connect):
        return pt.CONNECT << 4, _encode_connect(packet)
    if isinstance(packet, p.Subscribe):
        parts = [wire.u16(packet.packet_id), props.write(packet.properties) if v5 else b""]
        for each in packet.filters:
            options = each.qos
            if v5:
                options |= each.no_local << 2 | each.retain_as_published << 3 | each.retain_handling << 4
            parts.append(wire.string(each.filter) + options.to_bytes(1, "big"))
        return pt.SUBSCRIBE << 4 | 2, b"".join(parts)
    parts = [wire.u16(packet.packet_id), props.write(packet.properties) if v5 else b""]
    parts.extend([wire.string(filter) for filter in packet.filters])
    return pt.UNSUBSCRIBE << 4 | 2, b"".join(parts)


def _encode_publish(packet: p.Publish, v5: bool) -> tuple[int, bytes]:
    if packet.qos and not packet.packet_id:
        raise LocalError("QoS above 0 without a packet identifier")
    first = pt.PUBLISH << 4 | packet.dup << 3 | packet.qos << 1 | packet.retain
    head = wire.string(packet.topic)
    if packet.qos:
        head += wire.u16(packet.packet_id)
    if v5:
        head += props.write(packet.properties)
    return first, head + packet.payload


def _reason_tail(reason: int, properties: Properties) -> bytes:
    """Left out where it says nothing (section 3.4.2.1)."""
    if properties:
        return reason.to_bytes(1, "big") + props.write(properties)
    return reason.to_bytes(1, "big") if reason else b""


def _encode_connect(packet: p.Connect) -> bytes:
    v5 = packet.level == pt.MQTT_5
    name = b"MQIsdp" if packet.level == pt.MQTT_3_1 else b"MQTT"
    flags = packet.clean_start << 1
    flags |= (packet.username is not None) << 7 | (packet.password is not None) << 6
    will = packet.will
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
    parts = [
        wire.binary(name),
        bytes((packet.level | (BRIDGE if packet.bridge else 0), flags)),
        wire.u16(packet.keepalive),
    ]
    if v5:
        parts.append(props.write(packet.properties))
    parts.append(wire.string(packet.client_id))
    if will is not None:
        if v5:
            parts.append(props.write(will.properties))
        parts.append(wire.string(will.topic))
        parts.append(wire.binary(will.payload))
    if packet.username is not None:
        parts.append(wire.string(packet.username))
    if packet.password is not None:
        parts.append(wire.binary(packet.password))
    return b"".join(parts)
