"""Retained messages in memory (section 3.3.1.3), within a count and a byte limit."""

from __future__ import annotations

from apps.gateway.broker.messages import Message
from apps.gateway.broker.topictree import TopicTree


class RetainedStore:
    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._tree: TopicTree[Message] = TopicTree()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._tree)

    def get(self, topic: str) -> Message | None:
        return self._tree.get(topic)

    def keep(self, message: Message) -> bool:
        """Store as the topic's last message; an empty payload clears it [MQTT-3.3.1-6].

        False: there is no room, and the topic keeps what it had.
        """
        old = self._tree.get(message.topic)
        if not message.payload:
            if old is not None:
                self._tree.pop(message.topic)
                self.bytes -= old.size
            return True
        grown = self.bytes + message.size - (old.size if old is not None else 0)
        if grown > self._max_bytes or (old is None and len(self._tree) >= self._max_messages):
            return False
        self._tree.set(message.topic, message)
        self.bytes = grown
        return True

    def match(self, filter: str, now: float) -> list[Message]:
        """The messages on the topics that `filter` matches; expired ones are thrown away."""
        found: list[Message] = []
        for message in self._tree.match(filter):
            if message.expires and message.expires <= now:
                self._tree.pop(message.topic)
                self.bytes -= message.size
            else:
                found.append(message)
        return found
