from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from redis import Redis

from apps.cluster.sessions.queues import Queued, QueueLimits, Queues
from apps.cluster.sessions.redis_backend import RedisSessions
from apps.cluster.sessions.subscription_index import Index
from apps.gateway.broker.completion import Completion
from apps.gateway.broker.limits import Limits
from apps.gateway.broker.messages import Message
from apps.gateway.broker.ports import BUS_DURABLE, Choice
from apps.gateway.mqtt import reasons
from apps.gateway.sessions.remote import RemoteStore
from tests.apps.gateway.sessions.conftest import Inline
from tests.apps.gateway.support.world import World


class Bridge:
    """A `ports.Outside` that is Kafka and a bridge in one: what it gets is in the queues after the turn."""

    def __init__(self, url: str, limits: QueueLimits) -> None:
        self.queues = Queues(url, "p", limits)
        self._index = Index()
        self._records: list[tuple[Message, Completion | None]] = []
        self._offset = 0
        self.takes = True
        self.published = 0

    def wants(self, topic: str) -> int:
        return BUS_DURABLE

    def choose(self, topic: str, groups: Sequence[str], qos: int) -> Choice:
        return Choice(frozenset(groups))

    def publish(
        self, message: Message, wants: int, choice: Choice | None, completion: Completion | None
    ) -> int:
        if not self.takes:
            return reasons.QUOTA_EXCEEDED
        if completion is not None:
            completion.expect()
            self._records.append((message, completion))
            self.published += 1
        return 0

    def retain(self, message: Message, completion: Completion | None) -> int:
        return 0

    def subscribed(self, filter: str, share: str) -> None: ...

    def unsubscribed(self, filter: str, share: str) -> None: ...

    def present(self, filter: str, share: str, here: bool, kept: bool) -> None: ...

    def has_unapplied(self) -> bool:
        return False

    async def wait_applied(self) -> bool:
        return True

    def run(self, first: int) -> bool:
        """False: there was nothing to do."""
        records, self._records = self._records, []
        self.queues.catch_up(self._index)
        for message, completion in records:
            targets = self._index.match(message.topic, message.origin)
            once = message.once if message.qos == 2 else ""
            if targets:
                place = Queued("k/0", first + self._offset, message, once, message.again, targets)
                self.queues.write([place])
            self._offset += 1
            if completion is not None:
                completion.done()
        return bool(records)


class RemoteWorld(World):
    """A node of a cluster, with its sessions in Redis."""

    def __init__(self, url: str, incarnation: int = 1, slow: bool = False, **limits: Any) -> None:
        super().__init__(Limits(**limits))
        self._url = url
        self._incarnation = incarnation
        self.slow = slow
        self.worker = Inline()
        self.redis = Redis.from_url(url, protocol=2)
        self.redis.hset("p:nodes", "test", f"{incarnation} 1 {{}}")
        names: dict[int, str] = {}
        own = self.limits
        most = QueueLimits(own.max_queued_messages, own.max_queued_bytes, own.queue_full_policy)
        self.backend = RedisSessions(url, "p", most, lambda: ("test", str(self._incarnation)), names)
        self.store = RemoteStore(self.backend, self.node, self.worker, names, f"test-{incarnation}")
        self.bridge = Bridge(url, most)
        self.node.store = self.store
        self.node.bus = self.bridge
        self.node.ownership = self
        for client in self.redis.smembers("p:sessions"):
            self._resume(client.decode())
        self.turn()

    def _resume(self, client_id: str) -> None:
        self.redis.set(f"p:owner:{client_id}", f"{self._incarnation} test {self._incarnation}")
        stored = self.backend.resume(client_id)
        if stored is not None:
            self.store.restore(stored)

    async def claim(self, client_id: str, clean_start: bool, will: Message | None, will_delay: int) -> int:
        if client_id not in self.node.sessions:
            self._resume(client_id)
        return 0

    def changed(self, client_id: str) -> None:
        """What leaves the memory of a node in a cluster stays here, for the test to look at."""

    def turn(self) -> None:
        super().turn()
        while True:
            if self.worker.answers and not self.slow:
                self._answer()
            elif self.bridge.run(self._incarnation * 1_000_000):
                self.store.woken(self.store.online())
            else:
                return
            super().turn()

    def _answer(self) -> None:
        self.worker.answers.pop(0)()

    def commit(self) -> None:
        """What is written is answered; what follows is written."""
        self._answer()
        self.turn()

    def wait(self) -> None:
        """Timers go off."""
        timers, self.worker.timers = self.worker.timers, []
        for call in timers:
            call()
        self.turn()

    def crash(self, **limits: Any) -> RemoteWorld:
        """Its sessions are another node's, which finds what is in Redis now."""
        self.close()
        return RemoteWorld(self._url, self._incarnation + 1, **limits)

    def close(self) -> None:
        self.backend.close()
        self.bridge.queues.close()
        self.redis.close()


@pytest.fixture
def stored(redis_url: str) -> Iterator[Callable[..., RemoteWorld]]:
    made: list[RemoteWorld] = []

    def start(slow: bool = False, **limits: Any) -> RemoteWorld:
        with Redis.from_url(redis_url) as redis:
            redis.flushdb()
        made.append(RemoteWorld(redis_url, slow=slow, **limits))
        return made[-1]

    yield start
    for world in made:
        world.close()
