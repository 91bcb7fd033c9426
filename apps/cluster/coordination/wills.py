"""Wills as the cluster keeps them, for when a node dies with its clients."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from apps.gateway.broker.messages import Message


@dataclass(frozen=True, slots=True)
class Will:
    message: Message  # its expiry is a lifetime until it is published
    delay: int  # seconds after the node's death; 0: at once
    due: int  # UNIX seconds; 0: `delay` decides

    def at(self, died: int) -> int:
        """When to publish it, in UNIX seconds, where its node died at `died`."""
        return self.due or died + self.delay


def pack(message: Message | None, delay: int, due: float) -> bytes:
    """ "<delay> <due> <will>", which scripts can read; b"": there is none."""
    if message is None:
        return b""
    parts = (message.topic, message.payload, message.qos, message.retain, message.properties)
    body: bytes = msgpack.packb((*parts, message.expires, message.origin))
    return b"%d %d " % (delay, int(due)) + body


def unpack(data: bytes) -> Will:
    delay, due, body = data.split(b" ", 2)
    topic, payload, qos, retain, properties, lifetime, origin = msgpack.unpackb(body)
    message = Message(topic, payload, qos, retain, properties, lifetime, origin)
    return Will(message, int(delay), int(due))
