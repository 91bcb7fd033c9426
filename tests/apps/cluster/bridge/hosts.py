"""A bridge and nodes' feeds in one process, on the memory log."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Collection
from pathlib import Path

from apps.cluster.bridge.bridge import Bridge
from apps.cluster.bridge.client import BridgeClient, Wanted
from apps.cluster.bridge.dead_letters import DeadLetter
from apps.cluster.bridge.memory import MemoryLog, MemoryReader
from apps.cluster.bridge.node_consumer import Sizes
from apps.cluster.bridge.proof import MessageProof
from apps.cluster.bridge.records import Headers, Reader
from apps.cluster.bridge.topic_names import TopicNames
from apps.gateway.broker.messages import Message
from tests.support.waiting import until

PROOF = MessageProof([b"k" * 32])
NAMES = TopicNames("gmqtt.", ("telemetry", "commands"))


class Letters:
    """`DeadLetters` in a list."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.puts = 0

    def put(self, letters: list[DeadLetter], node: str) -> None:
        self.puts += 1
        self.reasons += [each.reason for each in letters]


class Receiver:
    """A node without a broker: what its feed hands over."""

    def __init__(self, path: Path, name: str) -> None:
        self.messages: list[Message] = []
        self.shares: list[Collection[str] | None] = []
        self.full = False
        wanted = Wanted(NAMES)
        self.feed = BridgeClient(path, name, wanted, self._inject, self._choose, lambda: self.full)
        self.task = asyncio.get_running_loop().create_task(self.feed.run())

    def _inject(self, message: Message, shares: Collection[str] | None) -> bool:
        self.messages.append(message)
        self.shares.append(shares)
        return True

    def _choose(self, topic: str, qos: int, where: str) -> Collection[str] | None:
        return [where]

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]


class Host:
    def __init__(self) -> None:
        self.log = MemoryLog()
        for topic in NAMES.live:
            self.log.create(topic, 2)
        self.letters = Letters()
        self.readers: list[MemoryReader] = []
        # Not pytest's directory: the path of a Unix socket is short.
        self._directory = tempfile.TemporaryDirectory(prefix="gmqtt-")
        self.path = Path(self._directory.name) / "bridge.sock"
        self.bridge = self._bridge()
        self.receivers: list[Receiver] = []

    def _bridge(self) -> Bridge:
        bridge = Bridge(self.path, NAMES, Sizes(100_000, 1000, 20, PROOF), self._reader, self.letters)
        bridge.start()
        return bridge

    def _reader(self, node: str) -> Reader:
        self.readers.append(MemoryReader(self.log, f"gmqtt-live-{node}"))
        return self.readers[-1]

    async def restart(self) -> None:
        await asyncio.to_thread(self.bridge.stop)
        self.bridge = self._bridge()

    async def join(self, name: str, *filters: str) -> Receiver:
        receiver = Receiver(self.path, name)
        self.receivers.append(receiver)
        for filter in filters:
            receiver.feed.subscribed(filter)
        await until(lambda: receiver.feed.status()["ok"])
        await self.reading(receiver)
        return receiver

    async def reading(self, receiver: Receiver) -> None:
        """Until the bridge reads what the node wants."""

        def there() -> bool:
            serving = self.bridge._serving.get(receiver.feed._node)
            return (
                serving is not None and not serving._moved and serving._wanted == receiver.feed._wanted.since
            )

        await until(there)

    def publish(
        self, topic: str, payload: bytes, *more: tuple[str, bytes | None], into: str | None = None
    ) -> None:
        headers: Headers = [("mqtt-topic", topic.encode()), *more]
        self.log.append(into or NAMES.of_topic(topic), topic.encode(), payload, headers)

    async def stop(self) -> None:
        for each in self.receivers:
            each.task.cancel()
        await asyncio.gather(*(each.task for each in self.receivers), return_exceptions=True)
        await asyncio.to_thread(self.bridge.stop)
        self._directory.cleanup()
