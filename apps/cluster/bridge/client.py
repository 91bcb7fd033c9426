"""The node's end of the link: hands what the bridge read to the node's sessions, and says what it wants."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from apps.cluster.bridge import protocol
from apps.cluster.bridge.protocol import Frames, LinkError
from apps.cluster.bridge.records import Positions
from apps.cluster.bridge.topic_names import TopicNames
from apps.gateway.broker.messages import Message

logger = logging.getLogger("gmqtt.bridge")

SOONEST: Final = 0.05  # seconds until a bridge that went is looked for again
LATEST: Final = 1.0
SILENCE: Final = 10.0  # seconds without a word of the bridge, which reports every second
BREATH: Final = 0.02  # seconds to wait when the node is full

# Hands a message to the node's sessions; False: nobody here wanted it. Groups: of shared subscriptions.
Inject = Callable[[Message, "Collection[str] | None"], bool]


class Wanted:
    """The Kafka topics in which this node has subscriptions, each with the time of the first one."""

    def __init__(self, names: TopicNames, now: Callable[[], float] = time.time) -> None:
        self._names = names
        self._now = now
        self._counts: Counter[str] = Counter()
        self.since: dict[str, int] = {}  # milliseconds of UNIX time

    def subscribed(self, filter: str) -> bool:
        """One more; True: something new is wanted."""
        changed = False
        for topic in self._names.of_filter(filter):
            self._counts[topic] += 1
            if self._counts[topic] == 1:
                self.since[topic] = int(self._now() * 1000)
                changed = True
        return changed

    def unsubscribed(self, filter: str) -> bool:
        changed = False
        for topic in self._names.of_filter(filter):
            self._counts[topic] -= 1
            if not self._counts[topic]:
                del self._counts[topic], self.since[topic]
                changed = True
        return changed


class BridgeClient:
    """`run` on the node's loop; the rest at any time, there."""

    def __init__(
        self,
        path: Path,
        node: str,
        wanted: Wanted,
        inject: Inject,
        shares: Callable[[str, int, str], Collection[str] | None],
        is_full: Callable[[], bool],
    ) -> None:
        """`shares(topic, qos, where)`: this node's shared subscriptions that get what a service sent.

        `is_full`: the node cannot take more now; the bridge waits then.
        """
        self._path = path
        self._node = node
        self._wanted = wanted
        self._inject = inject
        self._shares = shares
        self._is_full = is_full
        self._positions: Positions = {}
        self._writer: asyncio.StreamWriter | None = None
        self._changed = False
        self._refusal = ""
        self._bridge: dict[str, Any] = {}
        self.handed = 0  # messages from the bridge
        self.needed = 0  # of these, those that somebody here wanted

    # What the node wants --------------------------------------------------------------------------

    def subscribed(self, filter: str) -> None:
        if self._wanted.subscribed(filter):
            self._tell()

    def unsubscribed(self, filter: str) -> None:
        if self._wanted.unsubscribed(filter):
            for place in [each for each in self._positions if each[0] not in self._wanted.since]:
                del self._positions[place]
            self._tell()

    def _tell(self) -> None:
        if not self._changed:
            self._changed = True
            asyncio.get_running_loop().call_soon(self._say)

    def _say(self) -> None:
        self._changed = False
        if self._writer is not None:
            self._writer.write(protocol.frame(protocol.TOPICS, self._wanted.since))

    # The link -------------------------------------------------------------------------------------

    async def run(self) -> None:
        wait = SOONEST
        while True:
            try:
                await self._follow()
                wait = SOONEST
            except (OSError, LinkError, TimeoutError) as error:
                if self._refusal:
                    logger.error("the bridge refuses this node: %s", self._refusal)
                else:
                    logger.debug("no bridge at %s: %s", self._path, error)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LATEST)

    async def _follow(self) -> None:
        """From the greeting to the end of the link."""
        reader, writer = await asyncio.open_unix_connection(str(self._path))
        try:
            hello = (
                protocol.VERSION,
                self._node,
                self._wanted.since,
                protocol.pack_positions(self._positions),
            )
            writer.write(protocol.frame(protocol.HELLO, *hello))
            self._writer = writer
            frames = Frames()
            while True:
                async with asyncio.timeout(SILENCE):
                    data = await reader.read(262_144)
                if not data:
                    return
                for parts in frames.feed(data):
                    await self._heard(parts, writer)
        finally:
            self._writer = None
            self._bridge = {}
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _heard(self, parts: list[Any], writer: asyncio.StreamWriter) -> None:
        if parts[0] == protocol.BATCH:
            _, number, messages, positions = parts[:4]
            while self._is_full():  # noqa: ASYNC110 - nothing tells when it ends
                await asyncio.sleep(BREATH)
            self._hand(messages)
            for topic, partition, offset in positions:
                if topic in self._wanted.since:
                    self._positions[topic, partition] = offset
            writer.write(protocol.frame(protocol.ACK, number))
            await asyncio.sleep(0)  # the node's clients have their turn
        elif parts[0] == protocol.STATUS:
            self._bridge = parts[1]
            self._refusal = ""
        elif parts[0] == protocol.REFUSED:
            self._refusal = str(parts[1])
            raise LinkError(self._refusal)

    def _hand(self, messages: list[list[Any]]) -> None:
        inject = self._inject
        needed = 0
        for topic, payload, qos, retain, properties, expires, origin, shares, where in messages:
            if shares is None:
                shares = self._shares(topic, qos, where)
            needed += inject(Message(topic, payload, qos, retain, properties, expires, origin), shares)
        self.handed += len(messages)
        self.needed += needed

    def status(self) -> dict[str, Any]:
        """`ok` while the bridge serves this node; its own words; what came of it."""
        return {
            "ok": bool(self._bridge),
            **self._bridge,
            "refused": self._refusal,
            "received": self.handed,
            "needed": self.needed,
        }
