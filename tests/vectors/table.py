"""What a packet vector is, and the notation of its bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from apps.gateway.mqtt.packets import Packet

_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|(\S+)")


def raw(text: str) -> bytes:
    """Hexadecimal digits; "text" is a string with its two byte length, 'text' the text alone."""
    out = b""
    for prefixed, plain, digits in _PART.findall(text):
        if digits:
            out += bytes.fromhex(digits)
        elif plain:
            out += plain.encode()
        else:
            out += len(prefixed.encode()).to_bytes(2, "big") + prefixed.encode()
    return out


@dataclass(frozen=True)
class Vector:
    name: str
    level: int  # protocol level: 3 = MQTT 3.1, 4 = 3.1.1, 5 = 5.0
    text: str  # the whole packet in the notation of `raw`
    packet: Packet | None = None  # what it says, or
    reason: int = 0  # what is wrong with it
    canonical: bool = True  # False: `encode` writes the packet in another form

    @cached_property
    def bytes(self) -> bytes:
        return raw(self.text)

    def __str__(self) -> str:
        return f"{self.level}-{self.name}"


def everywhere(name: str, text: str, packet: Packet, canonical: bool = True) -> tuple[Vector, ...]:
    """A packet whose bytes are the same in every version."""
    return tuple(Vector(name, level, text, packet, 0, canonical) for level in (3, 4, 5))


def before_5(name: str, text: str, packet: Packet) -> tuple[Vector, ...]:
    return tuple(Vector(name, level, text, packet) for level in (3, 4))


def bad(name: str, text: str, reason: int = 0x81, levels: tuple[int, ...] = (3, 4, 5)) -> tuple[Vector, ...]:
    """A packet that must be refused with `reason`."""
    return tuple(Vector(name, level, text, None, reason) for level in levels)
