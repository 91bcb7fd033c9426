"""How much is published on chosen topics: counted on this node while somebody looks.

A topic that nobody looks at costs nothing: those that are looked at are marked in their routes, as traced
ones are. Who looks asks again and again; a filter that nobody has asked for in LEASE seconds is let go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from apps.gateway.mqtt import topics
from apps.gateway.mqtt.errors import MqttError
from apps.gateway.operator.sessions import CommandRefused

LEASE: Final = 15.0  # seconds
MAX_FILTERS: Final = 100  # of all who look at this node
MAX_LENGTH: Final = 512  # characters of a topic; the filters of longer ones are looked for each time
TOPIC: Final = 300  # bytes of a topic that is remembered
MAX_TOPICS: Final = 10_000  # whose filters are remembered


@dataclass
class Count:
    filter: str
    until: float  # UNIX seconds
    messages: int = 0
    bytes: int = 0


class Rates:
    """The filters that somebody looks at, each with what was published since it was first asked for."""

    def __init__(self, now: Callable[[], float], changed: Callable[[], None]) -> None:
        """`changed`: routes have to ask again what is looked at."""
        self._now = now
        self._changed = changed
        self._counts: dict[str, Count] = {}
        self._of_topic: dict[str, list[Count]] = {}

    def handlers(self) -> dict[str, Callable[..., Any]]:
        return {"topic_rates": self.look}

    def look(self, filters: Iterable[str]) -> dict[str, Any]:
        """{"at": UNIX seconds, "counts": filter -> [messages, bytes]}. Raises `CommandRefused`."""
        now = self._now()
        wanted = list(dict.fromkeys(filters))
        for filter in wanted:
            try:
                topics.check_filter(filter)
            except MqttError as error:
                raise CommandRefused("invalid_topic_filter", f"{filter[:100]}: {error.text}") from None
        new = [filter for filter in wanted if filter not in self._counts]
        if len(self._counts) + len(new) > MAX_FILTERS:
            raise CommandRefused(
                "busy", f"{len(self._counts)} topic filters of this node are looked at already."
            )
        for filter in wanted:
            self._counts.setdefault(filter, Count(filter, 0.0)).until = now + LEASE
        if new:
            self._refresh()
        counts = {filter: [self._counts[filter].messages, self._counts[filter].bytes] for filter in wanted}
        return {"at": now, "counts": counts}

    @property
    def bytes(self) -> int:
        """Of the topics that are remembered, roughly."""
        return TOPIC * len(self._of_topic)

    def wants(self, topic: str) -> bool:
        return bool(self._counts) and bool(self._find(topic))

    def published(self, topic: str, size: int) -> None:
        for count in self._find(topic) if self._counts else ():
            count.messages += 1
            count.bytes += size

    def tick(self, now: float) -> None:
        ended = [filter for filter, count in self._counts.items() if count.until <= now]
        for filter in ended:
            del self._counts[filter]
        if ended:
            self._refresh()

    def _find(self, topic: str) -> list[Count]:
        found = self._of_topic.get(topic)
        if found is None:
            found = [each for each in self._counts.values() if topics.matches(each.filter, topic)]
            if len(topic) > MAX_LENGTH:
                return found
            if len(self._of_topic) >= MAX_TOPICS:
                self._of_topic.clear()
            self._of_topic[topic] = found
        return found

    def _refresh(self) -> None:
        self._of_topic.clear()
        self._changed()
