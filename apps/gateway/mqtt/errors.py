"""Whose fault it was, and what to reply.

    MqttError                 a peer's error; `reason` is the code to answer with
      MalformedPacket         0x81: the bytes do not parse
      ProtocolError           0x82: they parse, but must not be sent (now)
    LocalError                ours: a packet was built that the protocol cannot carry

A peer's error ends its connection; a local one is a bug and never reaches the wire.
"""

from __future__ import annotations

from apps.gateway.mqtt import reasons


class MqttError(Exception):
    """A peer broke the protocol. `reason` is an MQTT 5.0 reason code >= 0x80."""

    def __init__(self, reason: int, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class MalformedPacket(MqttError):
    """The bytes cannot be parsed (section 4.13.1)."""

    def __init__(self, text: str) -> None:
        super().__init__(reasons.MALFORMED_PACKET, text)


class ProtocolError(MqttError):
    """The packet parses but is not allowed (section 4.13.1)."""

    def __init__(self, text: str) -> None:
        super().__init__(reasons.PROTOCOL_ERROR, text)


class LocalError(ValueError):
    """A packet of our own that cannot be put on the wire."""
