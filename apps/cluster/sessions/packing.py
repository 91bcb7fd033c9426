"""Messages, what queues say of them, and subscriptions, as they stand in Redis: in MessagePack that its Lua
reads, so without the type for bytes. Texts are UTF-8.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import msgpack

from apps.gateway.broker.messages import Delivery, Message

SCRIPTS: Final = Path(__file__).parent / "lua"
WAKE: Final = "wake"  # to a node: ["wake", "bridge", [[client id, is it to be disconnected], ...]]
FULL: Final = "full"  # news: ["full", "bridge", why, for how many seconds]


def script(name: str) -> str:
    """A script, behind what they have in common."""
    return (SCRIPTS / "common.lua").read_text() + (SCRIPTS / f"{name}.lua").read_text()


def pack(parts: tuple[Any, ...]) -> bytes:
    packed: bytes = msgpack.packb(parts, use_bin_type=False)
    return packed


def pack_message(message: Message) -> bytes:
    properties, expires = message.properties, message.expires
    return pack(
        (message.topic, message.payload, message.qos, message.retain, properties, expires, message.origin)
    )


def said(
    qos: int, retain: bool, identifiers: bytes, size: int, queued_at: float, once: str, expires: float
) -> bytes:
    """What a queue says of a message; `once` is its name where it is stored once for several queues."""
    return pack((qos, retain, identifiers, size, int(queued_at), once, math.ceil(expires)))


def unpack(said: bytes, message: bytes) -> Delivery:
    qos, retain, identifiers, _, queued_at, _, _ = msgpack.unpackb(said, raw=True)
    topic, payload, published, retained, properties, expires, origin = msgpack.unpackb(message, raw=True)
    found = Delivery(
        Message(topic.decode(), payload, published, bool(retained), properties, expires, origin.decode()),
        qos,
        bool(retain),
        identifiers,
    )
    found.queued_at = float(queued_at)
    return found


def pack_options(qos: int, no_local: bool, as_published: bool, identifier: int) -> bytes:
    return pack((qos, no_local, as_published, identifier))


def unpack_options(packed: bytes) -> tuple[int, bool, bool, int]:
    qos, no_local, as_published, identifier = msgpack.unpackb(packed, raw=True)
    return qos, bool(no_local), bool(as_published), identifier


def unpack_drop(packed: bytes) -> tuple[str, str, str]:
    """Client id, reason and topic of what bridges dropped."""
    client_id, reason, topic = msgpack.unpackb(packed, raw=True)
    return client_id.decode(), reason.decode(), topic.decode()


def stored_as(said: bytes) -> str:
    """The name under which the message is stored for several queues."""
    name: bytes = msgpack.unpackb(said, raw=True)[5]
    return name.decode()
