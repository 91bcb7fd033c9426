"""A message as a record, and back. The value is the payload as it is; everything else is in headers.

| header | value, UTF-8 where nothing else is said |
|---|---|
| `mqtt-topic` | topic name; the only one that a back-end service has to set |
| `qos` | 0, 1 or 2; absent: 0 |
| `retain` | 1; absent: 0 |
| `mqtt-expiry` | message expiry interval in seconds, from the record's timestamp on |
| `payload-format`, `content-type`, `response-topic`, `correlation-data` | the properties of MQTT 5.0 |
| `user.<name>` | a user property; in their order, names may repeat |
| `client-id`, `username` | the publisher's; absent: a service's |
| `node`, `message-id` | which node wrote it, and an id that no other message has |
| `again` | of a persistent session at QoS 2: was a record with this `message-id` perhaps written before |
| `node-proof` | 16 bytes: the last one: a node gave `message-id` and `again` (`proof.MessageProof`) |
| `v` | version of these headers; absent: 1, the only one; a reader makes a dead letter of another |
| `share` | `<node> <share name>/<filter>`: the node that serves a shared subscription |
"""

from __future__ import annotations

from typing import Final

from apps.cluster.bridge.proof import MessageProof
from apps.cluster.bridge.records import Headers, Record
from apps.gateway.broker.messages import Message
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt import topics, wire
from apps.gateway.mqtt.errors import MqttError

NODE: Final = "node"
SHARE: Final = "share"
PROOF: Final = "node-proof"
VERSION: Final = "v"
USER: Final = "user."
_STRINGS: Final = {"content-type": props.CONTENT_TYPE, "response-topic": props.RESPONSE_TOPIC}
_PROPERTY_NAMES: Final = frozenset(("payload-format", "correlation-data", *_STRINGS))
_NUMBERS: Final = {b"0": 0, b"1": 1, b"2": 2}
_FLAGS: Final = {b"0": False, b"1": True, b"false": False, b"true": True}
_MAX_EXPIRY: Final = 2**32 - 1


class BadRecord(Exception):
    """The record is no message. `reason` is a word for machines, the text for people."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def headers(message: Message, now: float, username: str | None, node: str, message_id: str) -> Headers:
    """What is not in the payload of a message that `node` (a name) hands to Kafka."""
    found: Headers = [("mqtt-topic", message.raw_topic[2:]), ("qos", b"%d" % message.qos)]
    if message.retain:
        found.append(("retain", b"1"))
    if message.expires:
        found.append(("mqtt-expiry", b"%d" % message.expiry_left(now)))
    if message.origin:
        found.append(("client-id", message.origin.encode()))
    if username:
        found.append(("username", username.encode()))
    found.append((NODE, node.encode()))
    found.append(("message-id", message_id.encode()))
    if message.once:
        found.append(("again", b"1" if message.again else b"0"))
    if message.properties:
        found += _from_properties(message.properties)
    return found


def _from_properties(encoded: bytes) -> Headers:
    data = wire.varint(len(encoded)) + encoded
    properties, _ = props.read(data, 0, len(data), pt.PUBLISH)
    found: Headers = []
    if props.PAYLOAD_FORMAT_INDICATOR in properties:
        found.append(("payload-format", b"%d" % props.integer(properties, props.PAYLOAD_FORMAT_INDICATOR, 0)))
    for name, identifier in _STRINGS.items():
        text = props.string(properties, identifier)
        if text is not None:
            found.append((name, text.encode()))
    correlation = props.data(properties, props.CORRELATION_DATA)
    if correlation is not None:
        found.append(("correlation-data", correlation))
    found += [(USER + name, value.encode()) for name, value in props.user(properties)]
    return found


def message(
    record: Record, max_size: int, max_topic: int, max_levels: int, proof: MessageProof
) -> tuple[Message, str, list[str]]:
    """The message in a record, the name of the node that wrote it ("": a service did), and its shares.

    Raises `BadRecord`. `max_size`: bytes that topic, properties and payload may have together.
    """
    raw_topic: bytes | None = None
    qos = 0
    retain = False
    expires = 0.0
    again: bool | None = None
    origin = node = once = ""
    given: bytes | None = None
    shares: list[str] = []
    more: Headers = []
    size = len(record.value or b"")
    for name, value in record.headers:
        value = b"" if value is None else value
        if name == "mqtt-topic":
            if raw_topic is not None:
                raise BadRecord("bad_topic", "two headers mqtt-topic")
            raw_topic = value
        elif name == "qos":
            qos = _choice(name, value, _NUMBERS)
        elif name == "retain":
            retain = bool(_choice(name, value, _FLAGS))
        elif name == "mqtt-expiry":
            expires = record.timestamp / 1000 + _expiry(value)
        elif name == "client-id":
            origin = _text(name, value)
        elif name == NODE:
            node = _text(name, value)
        elif name == "message-id":
            once = _text(name, value)
        elif name == "again":
            again = bool(_choice(name, value, _FLAGS))
        elif name == PROOF:
            given = value
        elif name == VERSION:
            if value != b"1":
                raise BadRecord("unknown_version", f"header v: {value[:20]!r}, written by a newer version")
        elif name == SHARE:
            shares.append(_text(name, value))
        elif name in _PROPERTY_NAMES or name.startswith(USER):
            size += len(name) + len(value)
            more.append((name, value))
    if raw_topic is None:
        raise BadRecord("no_topic", "no header mqtt-topic")
    size += len(raw_topic)
    if size > max_size:
        raise BadRecord("too_large", f"{size} bytes, {max_size} allowed")
    topic = _topic(raw_topic, max_topic, max_levels)
    properties = _to_properties(more) if more else b""
    found = Message(topic, record.value or b"", qos, retain, properties, expires, origin)
    # What a service calls its message is its own business: nothing is dropped by that name.
    signed = given is not None and again is not None and record.headers[-1][0] == PROOF
    if signed and proof.is_good(given or b"", record.headers[:-1], found.payload):
        found.once = once
        found.again = bool(again)
    return found, node, shares


def _choice(name: str, value: bytes, allowed: dict[bytes, int] | dict[bytes, bool]) -> int:
    found = allowed.get(value)
    if found is None:
        raise BadRecord("bad_header", f"header {name}: one of {', '.join(each.decode() for each in allowed)}")
    return found


def _expiry(value: bytes) -> int:
    if not value.isdigit() or len(value) > 10 or int(value) > _MAX_EXPIRY:
        raise BadRecord("bad_header", f"header mqtt-expiry: seconds from 0 to {_MAX_EXPIRY}")
    return int(value)


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise BadRecord("bad_header", f"header {name}: not UTF-8") from None
    if "\0" in text or len(value) > topics.MAX_LENGTH:
        raise BadRecord("bad_header", f"header {name}: holds U+0000, or more than 65535 bytes")
    return text


def _topic(raw: bytes, max_length: int, max_levels: int) -> str:
    try:
        topic = raw.decode()
        topics.check_name(topic, max_length, max_levels)
    except (UnicodeDecodeError, MqttError) as error:
        text = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise BadRecord("bad_topic", f"header mqtt-topic: {text}") from None
    if "\0" in topic:
        raise BadRecord("bad_topic", "header mqtt-topic: U+0000 in a topic name")
    if topics.is_system(topic) or topic.startswith("$share/"):
        raise BadRecord("bad_topic", "header mqtt-topic: $SYS is each node's own, and $share no topic")
    return topic


def _to_properties(found: Headers) -> bytes:
    """Encoded MQTT 5.0 properties."""
    properties: props.Properties = {}
    user: list[tuple[str, str]] = []
    for name, given in found:
        value = given or b""
        if name.startswith(USER):
            user.append(
                (_text("user.*", name[len(USER) :].encode(errors="replace")), _text(name[:64], value))
            )
        elif name == "correlation-data":
            if len(value) > topics.MAX_LENGTH:
                raise BadRecord("bad_header", "header correlation-data: more than 65535 bytes")
            properties[props.CORRELATION_DATA] = value
        elif name == "payload-format":
            properties[props.PAYLOAD_FORMAT_INDICATOR] = int(bool(_choice(name, value, _FLAGS)))
        else:
            text = _text(name, value)
            if name == "response-topic" and (not text or "+" in text or "#" in text):  # [MQTT-3.3.2-14]
                raise BadRecord("bad_header", "header response-topic: not a topic name")
            properties[_STRINGS[name]] = text
    if user:
        properties[props.USER_PROPERTY] = list(user)
    encoded = props.write_body(properties)
    if len(encoded) > props.MAX_BYTES:
        raise BadRecord("too_large", f"{len(encoded)} bytes of properties, {props.MAX_BYTES} allowed")
    return encoded
