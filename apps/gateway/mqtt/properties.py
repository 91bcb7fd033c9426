"""MQTT 5.0 properties (section 2.2.2): one table of identifiers, types and the packets they may stand in.

Decoded, the properties of a packet are a dict from identifier to value: an int, str or bytes; for
USER_PROPERTY a list of (name, value) in wire order; for SUBSCRIPTION_IDENTIFIER a list of int.
"""

from __future__ import annotations

from typing import Final, TypeAlias, cast

from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons, wire
from apps.gateway.mqtt.errors import LocalError, MalformedPacket, MqttError, ProtocolError

Value: TypeAlias = "int | str | bytes | list[tuple[str, str]] | list[int]"
Properties: TypeAlias = "dict[int, Value]"

PAYLOAD_FORMAT_INDICATOR: Final = 0x01
MESSAGE_EXPIRY_INTERVAL: Final = 0x02
CONTENT_TYPE: Final = 0x03
RESPONSE_TOPIC: Final = 0x08
CORRELATION_DATA: Final = 0x09
SUBSCRIPTION_IDENTIFIER: Final = 0x0B
SESSION_EXPIRY_INTERVAL: Final = 0x11
ASSIGNED_CLIENT_IDENTIFIER: Final = 0x12
SERVER_KEEP_ALIVE: Final = 0x13
AUTHENTICATION_METHOD: Final = 0x15
AUTHENTICATION_DATA: Final = 0x16
REQUEST_PROBLEM_INFORMATION: Final = 0x17
WILL_DELAY_INTERVAL: Final = 0x18
REQUEST_RESPONSE_INFORMATION: Final = 0x19
RESPONSE_INFORMATION: Final = 0x1A
SERVER_REFERENCE: Final = 0x1C
REASON_STRING: Final = 0x1F
RECEIVE_MAXIMUM: Final = 0x21
TOPIC_ALIAS_MAXIMUM: Final = 0x22
TOPIC_ALIAS: Final = 0x23
MAXIMUM_QOS: Final = 0x24
RETAIN_AVAILABLE: Final = 0x25
USER_PROPERTY: Final = 0x26
MAXIMUM_PACKET_SIZE: Final = 0x27
WILDCARD_SUBSCRIPTION_AVAILABLE: Final = 0x28
SUBSCRIPTION_IDENTIFIERS_AVAILABLE: Final = 0x29
SHARED_SUBSCRIPTION_AVAILABLE: Final = 0x2A

MAX_BYTES: Final = 1_048_576  # of the properties of one packet: to read more would hold everybody else up

MAX_USER_PROPERTIES: Final = 1000  # of one packet, for the same reason

_BYTE: Final = 0
_FLAG: Final = 1  # a byte that is 0 or 1
_U16: Final = 2
_U16_POSITIVE: Final = 3
_U32: Final = 4
_U32_POSITIVE: Final = 5
_VARINT_POSITIVE: Final = 6
_STRING: Final = 7
_BINARY: Final = 8
_PAIR: Final = 9

WILL: Final = 16  # not a packet type: the will's properties inside CONNECT

_ACKS: Final = (pt.PUBACK, pt.PUBREC, pt.PUBREL, pt.PUBCOMP, pt.SUBACK, pt.UNSUBACK)
_TABLE: Final[dict[int, tuple[int, tuple[int, ...]]]] = {
    PAYLOAD_FORMAT_INDICATOR: (_FLAG, (pt.PUBLISH, WILL)),
    MESSAGE_EXPIRY_INTERVAL: (_U32, (pt.PUBLISH, WILL)),
    CONTENT_TYPE: (_STRING, (pt.PUBLISH, WILL)),
    RESPONSE_TOPIC: (_STRING, (pt.PUBLISH, WILL)),
    CORRELATION_DATA: (_BINARY, (pt.PUBLISH, WILL)),
    SUBSCRIPTION_IDENTIFIER: (_VARINT_POSITIVE, (pt.PUBLISH, pt.SUBSCRIBE)),
    SESSION_EXPIRY_INTERVAL: (_U32, (pt.CONNECT, pt.CONNACK, pt.DISCONNECT)),
    ASSIGNED_CLIENT_IDENTIFIER: (_STRING, (pt.CONNACK,)),
    SERVER_KEEP_ALIVE: (_U16, (pt.CONNACK,)),
    AUTHENTICATION_METHOD: (_STRING, (pt.CONNECT, pt.CONNACK, pt.AUTH)),
    AUTHENTICATION_DATA: (_BINARY, (pt.CONNECT, pt.CONNACK, pt.AUTH)),
    REQUEST_PROBLEM_INFORMATION: (_FLAG, (pt.CONNECT,)),
    WILL_DELAY_INTERVAL: (_U32, (WILL,)),
    REQUEST_RESPONSE_INFORMATION: (_FLAG, (pt.CONNECT,)),
    RESPONSE_INFORMATION: (_STRING, (pt.CONNACK,)),
    SERVER_REFERENCE: (_STRING, (pt.CONNACK, pt.DISCONNECT)),
    REASON_STRING: (_STRING, (pt.CONNACK, *_ACKS, pt.DISCONNECT, pt.AUTH)),
    RECEIVE_MAXIMUM: (_U16_POSITIVE, (pt.CONNECT, pt.CONNACK)),
    TOPIC_ALIAS_MAXIMUM: (_U16, (pt.CONNECT, pt.CONNACK)),
    TOPIC_ALIAS: (_U16, (pt.PUBLISH,)),
    MAXIMUM_QOS: (_FLAG, (pt.CONNACK,)),
    RETAIN_AVAILABLE: (_FLAG, (pt.CONNACK,)),
    USER_PROPERTY: (
        _PAIR,
        (
            pt.CONNECT,
            pt.CONNACK,
            pt.PUBLISH,
            WILL,
            *_ACKS,
            pt.SUBSCRIBE,
            pt.UNSUBSCRIBE,
            pt.DISCONNECT,
            pt.AUTH,
        ),
    ),
    MAXIMUM_PACKET_SIZE: (_U32_POSITIVE, (pt.CONNECT, pt.CONNACK)),
    WILDCARD_SUBSCRIPTION_AVAILABLE: (_FLAG, (pt.CONNACK,)),
    SUBSCRIPTION_IDENTIFIERS_AVAILABLE: (_FLAG, (pt.CONNACK,)),
    SHARED_SUBSCRIPTION_AVAILABLE: (_FLAG, (pt.CONNACK,)),
}


def read(data: bytes, pos: int, end: int, place: int) -> tuple[Properties, int]:
    """The property length and the properties of packet type `place` (or WILL) at `pos`."""
    length, pos = wire.read_varint(data, pos, end)
    stop = pos + length
    if stop > end:
        raise MalformedPacket("properties longer than the packet")
    if length > MAX_BYTES:
        raise MqttError(reasons.PACKET_TOO_LARGE, f"{length} bytes of properties, {MAX_BYTES} allowed")
    found: Properties = {}
    while pos < stop:
        pos = _read_one(data, pos, stop, place, found)
    return found, stop


def _read_one(data: bytes, pos: int, stop: int, place: int, found: Properties) -> int:
    identifier, pos = wire.read_varint(data, pos, stop)
    row = _TABLE.get(identifier)
    if row is None:
        raise MalformedPacket(f"unknown property 0x{identifier:02x}")
    kind, places = row
    if place not in places:
        raise MalformedPacket(f"property 0x{identifier:02x} is not allowed here")
    value, pos = _read_value(data, pos, stop, identifier, kind)
    if isinstance(value, tuple):  # a user property
        pairs = cast("list[tuple[str, str]]", found.setdefault(identifier, []))
        if len(pairs) == MAX_USER_PROPERTIES:
            raise MqttError(reasons.QUOTA_EXCEEDED, f"more than {MAX_USER_PROPERTIES} user properties")
        pairs.append(value)
    elif identifier == SUBSCRIPTION_IDENTIFIER and (place == pt.PUBLISH or identifier not in found):
        cast("list[int]", found.setdefault(identifier, [])).append(cast(int, value))
    elif identifier in found:
        raise ProtocolError(f"property 0x{identifier:02x} stands twice")
    else:
        found[identifier] = value
    return pos


def _read_value(
    data: bytes, pos: int, stop: int, identifier: int, kind: int
) -> tuple[int | str | bytes | tuple[str, str], int]:
    if kind == _STRING:
        return wire.read_string(data, pos, stop)
    if kind == _BINARY:
        return wire.read_binary(data, pos, stop)
    if kind == _PAIR:
        name, pos = wire.read_string(data, pos, stop)
        value, pos = wire.read_string(data, pos, stop)
        return (name, value), pos
    number: int
    if kind == _U32 or kind == _U32_POSITIVE:
        number, pos = wire.read_u32(data, pos, stop)
    elif kind == _U16 or kind == _U16_POSITIVE:
        number, pos = wire.read_u16(data, pos, stop)
    elif kind == _VARINT_POSITIVE:
        number, pos = wire.read_varint(data, pos, stop)
    else:
        if pos >= stop:
            raise MalformedPacket("packet ends inside a property")
        number, pos = data[pos], pos + 1
        if kind == _FLAG and number > 1:
            raise ProtocolError(f"property 0x{identifier:02x} must be 0 or 1")
    if number == 0:
        if identifier == TOPIC_ALIAS:  # [MQTT-3.3.2-8]
            raise MqttError(reasons.TOPIC_ALIAS_INVALID, "topic alias 0")
        if kind in (_U16_POSITIVE, _U32_POSITIVE, _VARINT_POSITIVE):
            raise ProtocolError(f"property 0x{identifier:02x} must not be 0")
    return number, pos


def write(properties: Properties | None) -> bytes:
    """The property length and the properties."""
    if not properties:
        return b"\0"
    body = write_body(properties)
    return wire.varint(len(body)) + body


def write_body(properties: Properties) -> bytes:
    """The properties without the length before them."""
    out = bytearray()
    for identifier, value in properties.items():
        row = _TABLE.get(identifier)
        if row is None:
            raise LocalError(f"unknown property 0x{identifier:02x}")
        values: list[object] = list(value) if isinstance(value, list) else [value]
        for each in values:
            out += wire.varint(identifier)
            out += _write_value(row[0], each)
    return bytes(out)


def _write_value(kind: int, value: object) -> bytes:
    if isinstance(value, str):
        return wire.string(value)
    if isinstance(value, bytes):
        return wire.binary(value)
    if isinstance(value, tuple):
        return wire.string(cast(str, value[0])) + wire.string(cast(str, value[1]))
    number = cast(int, value)
    if kind == _U32 or kind == _U32_POSITIVE:
        return wire.u32(number)
    if kind == _U16 or kind == _U16_POSITIVE:
        return wire.u16(number)
    if kind == _VARINT_POSITIVE:
        return wire.varint(number)
    if not 0 <= number <= 0xFF:
        raise LocalError(f"{number} does not fit in a byte")
    return number.to_bytes(1, "big")


def integer(properties: Properties, identifier: int, default: int) -> int:
    """The value of an integer property, `default` where it is absent."""
    value = properties.get(identifier)
    return value if isinstance(value, int) else default


def string(properties: Properties, identifier: int) -> str | None:
    value = properties.get(identifier)
    return value if isinstance(value, str) else None


def data(properties: Properties, identifier: int) -> bytes | None:
    value = properties.get(identifier)
    return value if isinstance(value, bytes) else None


def user(properties: Properties) -> list[tuple[str, str]]:
    """The user properties in wire order."""
    value = properties.get(USER_PROPERTY)
    return cast("list[tuple[str, str]]", value) if value is not None else []


def subscription_identifiers(properties: Properties) -> list[int]:
    value = properties.get(SUBSCRIPTION_IDENTIFIER)
    return cast("list[int]", value) if value is not None else []
