"""Every property in every packet it may stand in, and in every one it may not (table 2-4 of MQTT 5.0)."""

from __future__ import annotations

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt.properties import Properties, Value
from tests.vectors.table import Vector, raw

# Packets with an empty property list, by name: what stands before it, what behind, and how to build one.
_WILL = "will"
PLACES: dict[str, tuple[int, str, str]] = {
    "connect": (0x10, '"MQTT" 05 02 0000', '"i"'),
    "connack": (0x20, "00 00", ""),
    "publish": (0x32, '"t" 0001', "78"),
    "puback": (0x40, "0001 00", ""),
    "pubrec": (0x50, "0001 00", ""),
    "pubrel": (0x62, "0001 00", ""),
    "pubcomp": (0x70, "0001 00", ""),
    "subscribe": (0x82, "0001", '"t" 00'),
    "suback": (0x90, "0001", "00"),
    "unsubscribe": (0xA2, "0001", '"t"'),
    "unsuback": (0xB0, "0001", "00"),
    "disconnect": (0xE0, "00", ""),
    "auth": (0xF0, "18", ""),
    _WILL: (0x10, '"MQTT" 05 06 0000 00 "i"', '"w" ""'),
}

ACKS = ("puback", "pubrec", "pubrel", "pubcomp", "suback", "unsuback")
USERS = (*ACKS, "connect", "connack", "publish", "will", "subscribe", "unsubscribe", "disconnect", "auth")
MESSAGE = ("publish", _WILL)
BOTH = ("connect", "connack")

# identifier -> name, places, good values as bytes and as Python has them, bad values and their reason.
TABLE: dict[int, tuple[str, tuple[str, ...], dict[str, Value], dict[str, int]]] = {
    0x01: ("payload format", MESSAGE, {"00": 0, "01": 1}, {"02": 0x82, "ff": 0x82}),
    0x02: ("message expiry", MESSAGE, {"00000000": 0, "ffffffff": 4_294_967_295}, {}),
    0x03: ("content type", MESSAGE, {'""': "", '"a/ü"': "a/ü"}, {"0001 ff": 0x81, "0001 00": 0x81}),
    0x08: ("response topic", MESSAGE, {'"a/b"': "a/b"}, {"0003 eda080": 0x81}),
    0x09: ("correlation data", MESSAGE, {"0000": b"", "0003 00ff80": b"\x00\xff\x80"}, {}),
    0x0B: (
        "subscription identifier",
        ("publish", "subscribe"),
        {"01": [1], "ff7f": [16_383], "ffffff7f": [268_435_455]},
        {"00": 0x82, "8000": 0x81, "8080808001": 0x81},
    ),
    0x11: ("session expiry", (*BOTH, "disconnect"), {"00000000": 0, "ffffffff": 4_294_967_295}, {}),
    0x12: ("assigned client id", ("connack",), {'"x"': "x"}, {"0001 ff": 0x81}),
    0x13: ("server keep alive", ("connack",), {"0000": 0, "ffff": 65_535}, {}),
    0x15: ("authentication method", (*BOTH, "auth"), {'"SCRAM"': "SCRAM"}, {"0001 00": 0x81}),
    0x16: ("authentication data", ("connack", "auth"), {"0001 00": b"\0"}, {}),
    0x17: ("request problem information", ("connect",), {"00": 0, "01": 1}, {"02": 0x82}),
    0x18: ("will delay", (_WILL,), {"00000000": 0, "00015180": 86_400}, {}),
    0x19: ("request response information", ("connect",), {"00": 0, "01": 1}, {"02": 0x82}),
    0x1A: ("response information", ("connack",), {'"x"': "x"}, {}),
    0x1C: ("server reference", ("connack", "disconnect"), {'"x:1"': "x:1"}, {}),
    0x1F: ("reason string", ("connack", "disconnect", "auth", *ACKS), {'"x"': "x"}, {"0001 ff": 0x81}),
    0x21: ("receive maximum", BOTH, {"0001": 1, "ffff": 65_535}, {"0000": 0x82}),
    0x22: ("topic alias maximum", BOTH, {"0000": 0, "ffff": 65_535}, {}),
    0x23: ("topic alias", ("publish",), {"0001": 1, "ffff": 65_535}, {"0000": 0x94}),
    0x24: ("maximum qos", ("connack",), {"00": 0, "01": 1}, {"02": 0x82}),
    0x25: ("retain available", ("connack",), {"00": 0, "01": 1}, {"02": 0x82}),
    0x26: (
        "user property",
        USERS,
        {'"k" "v"': [("k", "v")], '"" ""': [("", "")]},
        {'"k" 0001 ff': 0x81, '0001 00 "v"': 0x81},
    ),
    0x27: ("maximum packet size", BOTH, {"00000001": 1, "ffffffff": 4_294_967_295}, {"00000000": 0x82}),
    0x28: ("wildcards available", ("connack",), {"00": 0, "01": 1}, {"02": 0x82}),
    0x29: ("subscription identifiers available", ("connack",), {"00": 0, "01": 1}, {"02": 0x82}),
    0x2A: ("shared subscriptions available", ("connack",), {"00": 0, "01": 1}, {"02": 0x82}),
}
UNKNOWN = (0x00, 0x04, 0x05, 0x0A, 0x0C, 0x10, 0x14, 0x1B, 0x1D, 0x1E, 0x20, 0x2B, 0x7F)


def packet_text(place: str, properties: bytes) -> str:
    """The packet `place` with these properties, in the notation of `table.raw`."""
    first, before, behind = PLACES[place]
    body = raw(before) + _varint(len(properties)) + properties + raw(behind)
    return (bytes((first,)) + _varint(len(body)) + body).hex()


def _varint(value: int) -> bytes:
    return bytes((value,)) if value < 128 else bytes((value & 127 | 128, value >> 7))


def packet_value(place: str, properties: Properties) -> p.Packet:
    makers: dict[str, p.Packet] = {
        "connect": p.Connect("i", 5, properties=properties),
        "connack": p.Connack(properties=properties),
        "publish": p.Publish("t", b"x", 1, packet_id=1, properties=properties),
        "puback": p.Ack(4, 1, 0, properties),
        "pubrec": p.Ack(5, 1, 0, properties),
        "pubrel": p.Ack(6, 1, 0, properties),
        "pubcomp": p.Ack(7, 1, 0, properties),
        "subscribe": p.Subscribe(1, [p.Filter("t")], properties),
        "suback": p.Suback(1, [0], properties),
        "unsubscribe": p.Unsubscribe(1, ["t"], properties),
        "unsuback": p.Unsuback(1, [0], properties),
        "disconnect": p.Disconnect(0, properties),
        "auth": p.Auth(0x18, properties),
        _WILL: p.Connect("i", 5, will=p.Will("w", b"", properties=properties)),
    }
    return makers[place]


def _good() -> list[Vector]:
    found = []
    for identifier, (name, places, good, _) in TABLE.items():
        for place in places:
            for text, value in good.items():
                body = bytes((identifier,)) + raw(text)
                packet = packet_value(place, {identifier: value})
                found.append(Vector(f"{place} {name} {text}", 5, packet_text(place, body), packet))
    return found


def _bad() -> list[Vector]:
    found = []
    for identifier, (name, places, good, bad) in TABLE.items():
        text = next(reversed(good))
        body = bytes((identifier,)) + raw(text)
        for place in PLACES:
            if place not in places and (identifier, place) != (0x16, "connect"):  # that one needs a method
                found.append(Vector(f"{name} in {place}", 5, packet_text(place, body), None, 0x81))
            elif place in places:
                twice = packet_text(place, body + body)
                if identifier != 0x26 and (identifier, place) != (0x0B, "publish"):
                    found.append(Vector(f"{name} twice in {place}", 5, twice, None, 0x82))
                found.append(Vector(f"{name} cut in {place}", 5, packet_text(place, body[:-1]), None, 0x81))
        for wrong, reason in bad.items():
            body = bytes((identifier,)) + raw(wrong)
            found.append(Vector(f"{name} {wrong}", 5, packet_text(places[0], body), None, reason))
    for identifier in UNKNOWN:
        for place in PLACES:
            text = packet_text(place, bytes((identifier, 1, 1)))
            found.append(Vector(f"property 0x{identifier:02x} in {place}", 5, text, None, 0x81))
    return found


GOOD = tuple(_good())
BAD = tuple(_bad())
