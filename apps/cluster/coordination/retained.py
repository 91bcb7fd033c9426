"""Retained messages of the whole cluster. `apps.cluster.bridge.kafka_bus.RetainedNews`.

The truth is a hash in Redis. A node has what its clients retain at once, writes it to Redis, and only then is
the publisher told; a script gives each write a number and tells all nodes, which apply them in the order of
these numbers, so that all end with the same message. Who misses a number reads the hash again.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgpack

from apps.cluster.coordination.lease import Lease, State
from apps.cluster.coordination.node_port import NodePort
from apps.cluster.coordination.store import RedisUnavailable, Store, pack
from apps.gateway.broker.messages import Message
from apps.gateway.mqtt import reasons, topics

if TYPE_CHECKING:
    from apps.gateway.broker.completion import Completion

logger = logging.getLogger(__name__)

RETAINED: Final = "retained"  # news: [kind, "<name> <incarnation>", [[topic, message], ...], sequence]
BATCH_SIZE: Final = 500  # messages in one script
BATCH_BYTES: Final = 1 << 20
MAX_WAITING: Final = 64 << 20  # bytes of messages that wait for Redis
TIMEOUT: Final = 5.0  # seconds that a publisher waits for Redis
RETRY_DELAY: Final = 0.1

News = tuple[str, list[tuple[str, bytes]], int]


class Retained:
    def __init__(self, lease: Lease, store: Store, view: NodePort) -> None:
        self._lease = lease
        self._store = store
        self._view = view
        self._dirty: dict[str, int] = {}  # topics whose message Redis does not have yet: its size
        self._waiting = 0  # bytes of these
        self._sent: dict[str, int] = {}  # topics with writes that have not come back as news
        self._completions: list[
            tuple[Completion, float]
        ] = []  # with the time when its publisher has waited enough
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()  # Redis has everything
        self._idle.set()
        self._stale = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()  # reads
        self._reading: list[News] | None = None  # news that came while the hash is read
        self.sequence = 0  # of the last change that this node has
        self._behind: list[tuple[int, asyncio.Future[None]]] = []
        self.clock_ahead = 0.0  # Redis' clock before this machine's, in seconds

    # From this node -------------------------------------------------------------------------------

    def retain(self, message: Message, completion: Completion | None) -> int:
        topic = message.topic
        if topics.is_system(topic):
            return 0
        size = message.size
        if self._waiting + size > MAX_WAITING:
            return reasons.QUOTA_EXCEEDED
        self._waiting += size - self._dirty.get(topic, 0)
        self._dirty[topic] = size
        self._idle.clear()
        if completion is not None:
            completion.expect()
            self._completions.append((completion, asyncio.get_running_loop().time() + TIMEOUT))
        self._wake.set()
        return 0

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty or self._completions:
                if self._lease.state is State.ALONE:
                    self._complete(
                        self._completions, 0
                    )  # it serves its own clients, and tells the others later
                    self._completions = []
                if self._lease.state is not State.MEMBER:
                    self._give_up_waiting()
                    await self._lease.change()
                    continue
                try:
                    await self._write()
                except RedisUnavailable as error:
                    logger.debug("retained messages not written: %s", error)
                    self._give_up_waiting()
                    await asyncio.sleep(RETRY_DELAY)
            self._idle.set()

    def _give_up_waiting(self) -> None:
        now = asyncio.get_running_loop().time()
        late = [each for each in self._completions if each[1] <= now]
        self._completions = [each for each in self._completions if each[1] > now]
        self._complete(late, reasons.QUOTA_EXCEEDED)

    def _complete(self, completions: list[tuple[Completion, float]], reason: int) -> None:
        for completion, _ in completions:
            completion.done(reason)

    async def _write(self) -> None:
        completions, self._completions = self._completions, []
        while self._dirty:
            topics: list[str] = []
            size = 0
            for topic in self._dirty:
                if topics and (len(topics) == BATCH_SIZE or size + self._dirty[topic] > BATCH_BYTES):
                    break
                topics.append(topic)
                size += self._dirty[topic]
            sizes = {topic: self._dirty.pop(topic) for topic in topics}
            self._waiting -= size
            try:
                await self._put(topics, False)
            except RedisUnavailable:
                for topic in topics:
                    if topic not in self._dirty:
                        self._dirty[topic] = sizes[topic]
                        self._waiting += sizes[topic]
                self._completions = completions + self._completions
                self._stale.set()  # what was sent may come back as news, or not
                raise
        self._complete(completions, 0)

    async def _put(self, topics: list[str], gently: bool) -> None:
        """Write what the node has. `gently`: only what Redis does not have, and tell nobody."""
        lease = self._lease
        messages = [self._view.retained(topic) for topic in topics]
        bodies = [self._pack(message) for message in messages]
        arguments: list[str | bytes] = []
        for topic, message, body in zip(topics, messages, bodies, strict=True):
            expires = ""
            if message is not None and message.expires:
                expires = str(math.ceil(message.expires + self.clock_ahead))
            arguments += (topic, body, expires)
            if not gently:
                self._sent[topic] = self._sent.get(topic, 0) + 1
        news = pack([RETAINED, lease.me, list(zip(topics, bodies, strict=True))])
        incarnation = lease.incarnation
        answer = await self._store.run(
            "retain", lease.name, incarnation, "1" if gently else "0", news, *arguments
        )
        if answer == b"lost":
            lease.lost(incarnation)
            raise RedisUnavailable("the others took this node for dead")

    def _pack(self, message: Message | None) -> bytes:
        if message is None:
            return b""
        expires = message.expires + self.clock_ahead if message.expires else 0.0
        body: bytes = msgpack.packb(
            (message.payload, message.qos, message.properties, expires, message.origin)
        )
        return body

    # From the cluster -----------------------------------------------------------------------------

    def heard(self, node: str, messages: list[tuple[str, bytes]], sequence: int) -> None:
        """News of a node ("<name> <incarnation>"), this one among them."""
        if self._reading is not None:
            self._reading.append((node, messages, sequence))
            return
        if sequence <= self.sequence:
            return
        if sequence != self.sequence + 1:
            self._stale.set()
            return
        own = node == self._lease.me
        for topic, body in messages:
            sent = self._sent.get(topic, 0)
            if own and sent:
                if sent == 1:
                    del self._sent[topic]
                else:
                    self._sent[topic] = sent - 1
            elif not sent and topic not in self._dirty:  # else ours comes behind it
                self._keep(topic, body)
        self.sequence = sequence
        self._catch_up()

    def _keep(self, topic: str, body: bytes) -> None:
        if not body:
            self._view.keep(Message(topic, b"", 0, True))
            return
        payload, qos, properties, expires, origin = msgpack.unpackb(body)
        if expires:
            expires -= self.clock_ahead
        self._view.keep(Message(topic, payload, qos, True, properties, expires, origin))

    async def caught_up(self, sequence: int) -> None:
        """Wait until this node has all changes up to `sequence`."""
        if sequence > self.sequence:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._behind.append((sequence, future))
            await future

    def _catch_up(self) -> None:
        if not self._behind:
            return
        still: list[tuple[int, asyncio.Future[None]]] = []
        for sequence, future in self._behind:
            if sequence > self.sequence and not future.done():
                still.append((sequence, future))
            elif not future.done():
                future.set_result(None)
        self._behind = still

    def see(self, sequence: int) -> None:
        """The sequence, as Redis has it."""
        if sequence > self.sequence and self._reading is None:
            self._stale.set()

    def doubt(self) -> None:
        """News may have been missed: read everything again."""
        self._stale.set()

    async def read(self) -> None:
        """The whole hash. Raises `RedisUnavailable`."""
        async with self._one_at_a_time:
            await self._read()

    async def _read(self) -> None:
        self._stale.clear()
        self._reading = []
        self._sent.clear()
        try:
            sequence = await self._store.number("retained:seq")
            found: set[str] = set()
            async for piece in self._store.scan(RETAINED, BATCH_SIZE):
                for raw, body in piece.items():
                    topic = raw.decode()
                    found.add(topic)
                    if topic not in self._dirty and topic not in self._sent:
                        self._keep(topic, body)
                await asyncio.sleep(0)
            for topic in self._view.retained_topics():
                if topic not in found and topic not in self._dirty and topic not in self._sent:
                    self._keep(topic, b"")
            self.sequence = sequence
        finally:
            news, self._reading = self._reading or [], None
        for each in news:
            self.heard(*each)
        self._catch_up()

    async def restore(self) -> None:
        """Redis has lost its data: give it what this node has. Raises `RedisUnavailable`."""
        topics = [topic for topic in self._view.retained_topics() if topic not in self._dirty]
        for start in range(0, len(topics), BATCH_SIZE):
            await self._put(topics[start : start + BATCH_SIZE], True)

    async def follow(self) -> None:
        """Read again when something was missed, for ever."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            if self._lease.state is not State.MEMBER:
                await self._lease.change()
                self._stale.set()
                continue
            try:
                await self.read()
            except RedisUnavailable:
                self._stale.set()
                await asyncio.sleep(RETRY_DELAY)

    async def drain(self, most: float) -> None:
        """Wait until Redis has everything, `most` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most):
                await self._idle.wait()

    def status(self) -> dict[str, Any]:
        return {"waiting": len(self._dirty), "waiting_bytes": self._waiting, "sequence": self.sequence}
