"""Which Kafka topic carries an MQTT topic. Kafka's topics are few and flat, MQTT's are many and a tree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from apps.gateway.mqtt import topics

DEFAULT: Final = "default"
DEAD_LETTER: Final = "deadletter"


class TopicNames:
    """By the first level of the MQTT topic, where that is one of `levels`; else the default topic."""

    def __init__(self, prefix: str, levels: Iterable[str]) -> None:
        self._by_level = {level: prefix + level for level in levels}
        self.default = prefix + DEFAULT
        self.dead_letter = prefix + DEAD_LETTER
        self.live = (*self._by_level.values(), self.default)  # all that carry messages

    def of_topic(self, topic: str) -> str:
        return self._by_level.get(topic.partition("/")[0], self.default)

    def of_filter(self, filter: str) -> tuple[str, ...]:
        """The Kafka topics in which messages that `filter` matches can be. Nothing below $SYS is carried."""
        level = filter.partition("/")[0]
        if level in ("+", "#"):
            return self.live
        if topics.is_system(level):
            return ()
        return (self._by_level.get(level, self.default),)
