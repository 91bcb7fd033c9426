"""Redis as a bridge uses it: reads the index up to now, and writes messages into the queues of sessions.

The keys are listed in `apps.cluster.coordination.store`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgpack
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError
from redis.retry import Retry

from apps.cluster.sessions import packing
from apps.cluster.sessions.packing import FULL, pack_message, said, script
from apps.cluster.sessions.subscription_index import Change, Index, Target, change
from apps.gateway.broker.messages import Message
from apps.gateway.broker.stats import DROP_NO_MEMBER

logger = logging.getLogger("gmqtt.bridge")

BATCH_SIZE: Final = 1000  # references written in one script: Redis does nothing else meanwhile
BATCH_BYTES: Final = 1_048_576
READ_BATCH_SIZE: Final = 1000  # sessions, or changes
MAX_KINDS: Final = 1000  # of drops that wait to be counted; above that by reason only


class Queued(NamedTuple):
    """A message and where it goes."""

    place: str  # "<Kafka topic>/<partition>"
    offset: int
    message: Message
    once: str  # id of a QoS 2 message, which other records may hold, too; "": none
    again: bool  # does its publisher say so
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class QueueLimits:
    messages: int
    bytes: int
    policy: str


class QueuesUnavailable(Exception):
    """Redis does not answer, or takes nothing. What was written may be there."""


class Gone(Exception):
    """A session ended that was chosen of a shared subscription. What else was written is there."""


class Full(QueuesUnavailable):
    """Redis has no memory left."""


class Queues:
    """In one thread."""

    def __init__(self, url: str, prefix: str, limits: QueueLimits) -> None:
        self._prefix = prefix
        self._limits = limits
        self._redis = Redis.from_url(
            url, socket_timeout=10, socket_connect_timeout=5, protocol=2, retry=Retry(NoBackoff(), 0)
        )
        self._script = self._redis.register_script(script("queue"))
        self._connection = 0
        self._cluster: bytes | None = None
        self.written = self.known = self.dropped = 0

    def close(self) -> None:
        self._redis.close()

    # The index ------------------------------------------------------------------------------------

    def catch_up(self, index: Index) -> None:
        """Whoever subscribed before this was called is in the index. Raises `QueuesUnavailable`."""
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.client_id()
                pipeline.mget(f"{self._prefix}:cluster", f"{self._prefix}:index:version")
                connection, (cluster, found) = pipeline.execute()
            version = int(found or 0)
            # Another connection may be to a Redis that has lost its last second, and gives versions again.
            if connection != self._connection or cluster != self._cluster or version < index.version:
                index.clear()
            if index.version < version and not (index.version >= 0 and self._follow(index, version)):
                self._load(index, version)
            self._connection, self._cluster = connection, cluster
        except RedisError as error:
            index.clear()
            raise QueuesUnavailable(str(error) or type(error).__name__) from error

    def _follow(self, index: Index, version: int) -> bool:
        """By the log of changes; False where that does not reach back far enough."""
        key = f"{self._prefix}:index"
        while index.version < version:
            entries: Any = self._redis.xrange(key, f"({index.version}-0", count=READ_BATCH_SIZE)
            if not entries or _version(entries[0][0]) != index.version + 1:
                return False
            index.apply(change(fields) for _, fields in entries)
            index.version = _version(entries[-1][0])
        return True

    def _load(self, index: Index, version: int) -> None:
        """Everything. What changed meanwhile is in the log, and applied again."""
        index.clear()
        for clients in self._sessions():
            with self._redis.pipeline(transaction=False) as pipeline:
                for client in clients:
                    pipeline.hgetall(f"{self._prefix}:subs:{client.decode()}")
                for client, table in zip(clients, pipeline.execute(), strict=True):
                    name = client.decode()
                    index.apply(Change(name, each.decode(), options) for each, options in table.items())
        index.version = version

    def _sessions(self) -> Iterator[list[bytes]]:
        cursor = 0
        while True:
            found: Any = self._redis.sscan(f"{self._prefix}:sessions", cursor, count=READ_BATCH_SIZE)
            cursor, clients = found
            if clients:
                yield list(clients)
            if not cursor:
                return

    # The queues -----------------------------------------------------------------------------------

    def write(self, records: list[Queued]) -> None:
        """In this order; what is there already is left as it is. Nodes hear of it.

        Raises `QueuesUnavailable`, `Gone`.

        One script after the other: if one fails, what comes after it must not be there.
        """
        try:
            for count, arguments in self._calls(records):
                limits = self._limits
                hour = int(time.time()) // 3600
                head = (limits.messages, limits.bytes, limits.policy, hour, count)
                dropped, written, known, gone = self._script(keys=[self._prefix], args=[*head, *arguments])
                self.written += written
                self.known += known
                self.dropped += dropped
                if gone:
                    raise Gone
        except RedisError as error:
            text = str(error) or type(error).__name__
            raise (Full if isinstance(error, OutOfMemoryError) else QueuesUnavailable)(text) from error

    def _calls(self, records: list[Queued]) -> Iterator[tuple[int, list[Any]]]:
        """Numbers of messages, and arguments for the script."""
        count = references = size = 0
        arguments: list[Any] = []
        now = int(time.time())
        for record in records:
            message = record.message
            once = f"{record.place}/{record.offset}" if len(record.targets) > 1 else ""
            blob = pack_message(message)
            entries: dict[tuple[int, bool, bytes], bytes] = {}  # few kinds, many sessions
            for start in range(0, len(record.targets), BATCH_SIZE):
                targets = record.targets[start : start + BATCH_SIZE]
                if count and (references + len(targets) > BATCH_SIZE or size + len(blob) > BATCH_BYTES):
                    yield count, arguments
                    count = references = size = 0
                    arguments = []
                arguments += (
                    record.place,
                    record.offset,
                    once,
                    record.once,
                    "1" if record.again else "",
                    message.size,
                    message.topic,
                    blob,
                    len(targets),
                )
                for client_id, granted, as_published, identifiers, via in targets:
                    qos = min(granted, message.qos)
                    kind = (qos, message.retain and as_published, identifiers)
                    entry = entries.get(kind)
                    if entry is None:
                        entry = entries[kind] = said(*kind, message.size, now, once, message.expires)
                    arguments += (client_id, entry, via)
                count += 1
                references += len(targets)
                size += len(blob)
        if count:
            yield count, arguments

    def online(self, client_ids: Iterable[str]) -> set[str]:
        """Those whose sessions some node has. Raises `QueuesUnavailable`."""
        names = list(client_ids)
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.hget(f"{self._prefix}:session:{name}", "node")
                return {name for name, node in zip(names, pipeline.execute(), strict=True) if node}
        except RedisError as error:
            raise QueuesUnavailable(str(error) or type(error).__name__) from error

    def unserved(self, topics: Counter[str]) -> None:
        """Messages to shared subscriptions that have no member any more, by topic: dropped."""
        if not topics:
            return
        self.dropped += topics.total()
        key = f"{self._prefix}:drops"
        try:
            crowded = self._redis.hlen(key) >= MAX_KINDS
            with self._redis.pipeline(transaction=False) as pipeline:
                for topic, count in topics.items():
                    kind = packing.pack(("", DROP_NO_MEMBER, "" if crowded else topic))
                    pipeline.hincrby(key, kind, count)
                pipeline.execute()
        except RedisError as error:
            logger.warning("%d drops were not counted: %s", topics.total(), error)

    def warn(self, text: str, seconds: float) -> None:
        """All nodes: nothing can be queued. Raises `QueuesUnavailable`."""
        try:
            self._redis.publish(f"{self._prefix}:news", msgpack.packb([FULL, "bridge", text, seconds]))
        except RedisError as error:
            raise QueuesUnavailable(str(error)) from error


def _version(identifier: bytes) -> int:
    return int(identifier.partition(b"-")[0])
