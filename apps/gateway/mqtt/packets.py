"""The control packets as values. `codec` turns them into bytes and back.

`properties` are MQTT 5.0's; a 3.x packet leaves them empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt.properties import Properties


@dataclass
class Will:
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass
class Connect:
    client_id: str
    level: int = pt.MQTT_3_1_1
    clean_start: bool = True
    keepalive: int = 0  # seconds; 0 = off
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    will: Will | None = None
    properties: Properties = field(default_factory=dict)
    bridge: bool = False  # the highest bit of the protocol level: another broker, as mosquitto says it


@dataclass
class Connack:
    reason: int = 0  # for a 3.x client its return code, 0 to 5
    session_present: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass
class Publish:
    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0  # 0 at QoS 0
    properties: Properties = field(default_factory=dict)


@dataclass
class Ack:
    """PUBACK, PUBREC, PUBREL or PUBCOMP, by `type`."""

    type: int
    packet_id: int
    reason: int = 0
    properties: Properties = field(default_factory=dict)


@dataclass
class Filter:
    """One topic filter of a SUBSCRIBE with its options (section 3.8.3.1)."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass
class Subscribe:
    packet_id: int
    filters: list[Filter]
    properties: Properties = field(default_factory=dict)


@dataclass
class Suback:
    packet_id: int
    reasons: list[int]
    properties: Properties = field(default_factory=dict)


@dataclass
class Unsubscribe:
    packet_id: int
    filters: list[str]
    properties: Properties = field(default_factory=dict)


@dataclass
class Unsuback:
    packet_id: int
    reasons: list[int]  # empty for a 3.x client
    properties: Properties = field(default_factory=dict)


@dataclass
class Ping:
    """PINGREQ or PINGRESP, by `type`."""

    type: int


@dataclass
class Disconnect:
    reason: int = 0
    properties: Properties = field(default_factory=dict)


@dataclass
class Auth:
    reason: int = 0
    properties: Properties = field(default_factory=dict)


Packet: TypeAlias = (
    Connect | Connack | Publish | Ack | Subscribe | Suback | Unsubscribe | Unsuback | Ping | Disconnect | Auth
)
