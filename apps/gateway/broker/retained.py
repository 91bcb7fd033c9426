"""Retained messages in memory (section 3.3.1.3), within a count and a byte limit."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

from apps.gateway.broker.messages import Message
from apps.gateway.broker.topictree import TopicTree

SLACK: Final = 1024  # expiry dates more than twice the messages that are let lie


class RetainedStore:
    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._tree: TopicTree[Message] = TopicTree()
        self._expiring: list[tuple[float, str]] = []  # heap of (date, topic); some of them out of date
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._tree)

    def get(self, topic: str) -> Message | None:
        return self._tree.get(topic)

    def values(self) -> list[Message]:
        return self._tree.values()

    def keep(self, message: Message) -> bool:
        """Store as the topic's last message; an empty payload clears it [MQTT-3.3.1-6].

        False: there is no room, and the topic keeps what it had.
        """
        old = self._tree.get(message.topic)
        if not message.payload:
            if old is not None:
                self._drop(old)
            return True
        grown = self.bytes + message.size - (old.size if old is not None else 0)
        if grown > self._max_bytes or (old is None and len(self._tree) >= self._max_messages):
            return False
        self._tree.set(message.topic, message)
        self.bytes = grown
        if message.expires:
            self._note(message)
        return True

    def _note(self, message: Message) -> None:
        heapq.heappush(self._expiring, (message.expires, message.topic))
        if len(self._expiring) > 2 * len(self._tree) + SLACK:
            self._expiring = [(each.expires, each.topic) for each in self._tree.values() if each.expires]
            heapq.heapify(self._expiring)

    def _drop(self, message: Message) -> None:
        self._tree.pop(message.topic)
        self.bytes -= message.size

    def expire(self, now: float) -> None:
        """Throw away what has expired: it must not take the room of others until somebody asks for it."""
        while self._expiring and self._expiring[0][0] <= now:
            when, topic = heapq.heappop(self._expiring)
            message = self._tree.get(topic)
            if message is not None and message.expires == when:
                self._drop(message)

    def walk(self, filter: str) -> Iterator[Message]:
        """As `match`, one by one, those that have expired included."""
        return self._tree.walk(filter)

    def match(self, filter: str, now: float) -> list[Message]:
        """The messages on the topics that `filter` matches; not those that have expired."""
        found: list[Message] = []
        for message in self._tree.match(filter):
            if message.expires and message.expires <= now:
                self._drop(message)
            else:
                found.append(message)
        return found
