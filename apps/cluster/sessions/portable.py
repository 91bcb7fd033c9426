"""What Redis keeps of a cluster, for backups: `apps.gateway.sessions.portable`, over the keys of
`coordination.store`.

A running cluster is read without stopping it. Redis has no snapshot that could be read in pieces, so each
session is read at one instant of its own, all but its queue, and then its queue up to where it ended at
that instant. What was acknowledged before the backup began is in it. What is delivered and acknowledged
while a queue is read is in it or not.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterator
from typing import Any, Final

import msgpack
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.cluster.sessions import packing
from apps.gateway.broker.messages import Message
from apps.gateway.sessions.portable import SavedMessage, SavedSession, SavedSubscription, ends

PAGE: Final = 500  # entries
BYTES: Final = 1 << 20  # in one script
# Of these a cluster without sessions, retained messages and nodes has none.
WANTED_EMPTY: Final = ("sessions", "retained", "nodes")


class NotEmpty(Exception):
    """There is something in Redis already; the text says what."""


def connect(url: str) -> Any:
    return Redis.from_url(
        url, socket_timeout=30, socket_connect_timeout=5, protocol=2, retry=Retry(NoBackoff(), 0)
    )


class RedisContents:
    def __init__(self, url: str, prefix: str, now: float, keeps_sessions: bool = True) -> None:
        """`keeps_sessions`: sessions outlive their connections here. Its methods raise RedisError."""
        self._prefix = prefix
        self._now = now
        self._keeps = keeps_sessions
        self._redis = connect(url)
        self._whole = self._redis.register_script(packing.script("whole"))
        self._flying: dict[int, tuple[int, int]] = {}
        self._last = ""

    def close(self) -> None:
        self._redis.close()

    def sessions(self) -> Iterator[SavedSession]:
        if not self._keeps:
            return
        found = set(self._redis.sscan_iter(f"{self._prefix}:sessions", count=PAGE))
        for client in sorted(found):
            session = self._session(client)
            if session is not None and session.expiry:
                yield session

    def _session(self, client: bytes) -> SavedSession | None:
        hour = int(time.time()) // 3600
        answer: Any = self._whole(keys=[self._prefix], args=[client, hour])
        if not answer:
            return None
        values, subscriptions, incoming, flying, arrived, last = answer
        session = _pairs(values)
        self._flying = {}
        for place, state in _pairs(flying).items():
            packet_id, phase = state.split()
            self._flying[int(place)] = (int(packet_id), int(phase))
        self._last = last.decode()
        expiry = int(float(session[b"expiry"]))
        online = session[b"node"] != b""
        there = set(arrived)
        return SavedSession(
            client.decode(),
            session[b"username"].decode(),
            float(session[b"created"]),
            expiry,
            ends(expiry, float(session.get(b"expires_at", 0)), online, self._now),
            [_subscription(name, packed) for name, packed in sorted(_pairs(subscriptions).items())],
            sorted((int(packet_id), once in there) for packet_id, once in _pairs(incoming).items()),
        )

    def queue(self, client_id: str) -> Iterator[SavedMessage]:
        queue, start = f"{self._prefix}:queue:{client_id}", "-"
        while True:
            entries: Any = self._redis.xrange(queue, start, self._last, PAGE)
            for identifier, fields in entries:
                said, message = fields[b"d"], fields[b"m"]
                shared = packing.stored_as(said)
                if shared:
                    message = self._redis.hget(f"{self._prefix}:message:{shared}", "m")
                if message:  # else it was delivered meanwhile
                    packet_id, state = self._flying.get(int(identifier.partition(b"-")[0]), (0, 0))
                    yield SavedMessage(packing.unpack(said, message), packet_id, state, shared)
            if len(entries) < PAGE:
                return
            start = f"({entries[-1][0].decode()}"

    def retained(self) -> Iterator[Message]:
        found = set(self._redis.hscan_iter(f"{self._prefix}:retained", count=PAGE, no_values=True))
        topics = sorted(found)
        for start in range(0, len(topics), PAGE):
            some = topics[start : start + PAGE]
            bodies: Any = self._redis.hmget(f"{self._prefix}:retained", some)
            for topic, body in zip(some, bodies, strict=True):
                if body:
                    payload, qos, properties, expires, origin = msgpack.unpackb(body)
                    yield Message(topic.decode(), payload, qos, True, properties, expires, origin)


class RedisFilling:
    """Into a Redis that has nothing of this cluster, while none of its nodes runs."""

    def __init__(self, url: str, prefix: str) -> None:
        """`NotEmpty`, RedisError."""
        self._prefix = prefix
        self._redis = connect(url)
        self._fill = self._redis.register_script(packing.script("fill"))
        self._restore = secrets.token_hex(8)
        self._client_id = ""
        self._steps = self._size = self._count = 0
        self._arguments: list[Any] = []
        self._retained: list[Message] = []
        found = [key for key in WANTED_EMPTY if self._redis.exists(f"{prefix}:{key}")]
        if "nodes" in found:
            raise NotEmpty("nodes of this cluster are running, or were killed just now: stop them")
        if found:
            raise NotEmpty("it has sessions or retained messages already")

    def session(self, session: SavedSession) -> None:
        self._flush()
        self._client_id = session.client_id
        end = str(session.expires_at) if session.expires_at else ""
        self._add("S", session.username, repr(session.created), session.expiry, end)
        for name, *options in session.subscriptions:
            self._add("+", name, packing.pack_options(*options))  # type: ignore[arg-type]
        hour = int(time.time()) // 3600
        for packet_id, there in session.incoming:
            self._count += 1
            self._add("i", packet_id, f"restored-{self._restore}-{self._count}", hour if there else "")

    def message(self, client_id: str, saved: SavedMessage) -> None:
        delivery = saved.delivery
        message = packing.pack_message(delivery.message)
        name = f"restored-{self._restore}/0/{saved.shared}" if saved.shared else ""
        kind = (delivery.qos, delivery.retain, delivery.identifiers)
        said = packing.said(*kind, delivery.size, delivery.queued_at, name, delivery.message.expires)
        state = f"{saved.packet_id} {saved.state}" if saved.packet_id else ""
        bodies = (b"", name, message) if name else (message, "", b"")
        self._add("a", delivery.size, said, *bodies, state)
        self._size += len(message)
        if self._steps >= PAGE or self._size >= BYTES:
            self._flush()

    def retain(self, message: Message) -> None:
        self._flush()
        self._retained.append(message)
        self._size += message.size
        if len(self._retained) >= PAGE or self._size >= BYTES:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._redis.close()

    def undo(self) -> None:
        """Everything below the prefix is of this restore: there was nothing, and no node."""
        for key in self._redis.scan_iter(f"{self._prefix}:*", count=PAGE):
            self._redis.delete(key)
        self._redis.close()

    def _add(self, *step: Any) -> None:
        self._steps += 1
        self._arguments += step

    def _flush(self) -> None:
        if self._steps:
            self._fill(keys=[self._prefix], args=[self._client_id, self._steps, *self._arguments])
        if self._retained:
            with self._redis.pipeline(transaction=True) as pipeline:
                for each in self._retained:
                    values = (each.payload, each.qos, each.properties, each.expires, each.origin)
                    pipeline.hset(f"{self._prefix}:retained", each.topic, msgpack.packb(values))
                    if each.expires:
                        due = {each.topic: math.ceil(each.expires)}
                        pipeline.zadd(f"{self._prefix}:retained:expiring", due)
                pipeline.incr(f"{self._prefix}:retained:seq")
                pipeline.execute()
        self._steps = self._size = 0
        self._arguments, self._retained = [], []


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _subscription(name: bytes, packed: bytes) -> SavedSubscription:
    return name.decode(), *packing.unpack_options(packed)
