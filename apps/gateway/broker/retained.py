"""Retained messages in memory (section 3.3.1.3), within a count and a byte limit.

Beside the tree by topic there is a list in the order in which they were kept; each has a generation, a
number that grows by one. A `Cursor` goes through what a filter matches, some messages at a time and without a
copy. It passes over what was kept after it was made: that has a higher generation, and reaches the
subscriber anyway.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

from apps.gateway.broker.messages import Message
from apps.gateway.broker.topictree import TopicTree, levels_size

SLACK: Final = 1024  # expiry dates more than twice the messages that are let lie
FEW: Final = 1024  # messages of a filter that a cursor looks up at once
MAX_VISITED: Final = (
    20_000  # levels of the tree that it visits for that; beyond, it goes through all messages
)


class Kept:
    """A retained message and its neighbours by age."""

    __slots__ = ("after", "before", "generation", "message")

    def __init__(self, message: Message, generation: int, before: Kept | None) -> None:
        self.message = message
        self.generation = generation
        self.before = before
        self.after: Kept | None = None


def kept_size(message: Message) -> int:
    """Bytes that it costs to keep it, its place in the tree included."""
    return message.size + levels_size(message.topic)


class RetainedStore:
    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._tree: TopicTree[Kept] = TopicTree()
        self._expiring: list[tuple[float, str]] = []  # heap of (date, topic); some of them out of date
        self._first: Kept | None = None
        self._last: Kept | None = None
        self._resting: dict[int, list[Cursor]] = {}  # cursors that go on at a message, by its generation
        self.generation = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._tree)

    def get(self, topic: str) -> Message | None:
        kept = self._tree.get(topic)
        return kept.message if kept is not None else None

    def values(self) -> list[Message]:
        return [kept.message for kept in self._tree.values()]

    def keep(self, message: Message, known: bool = False) -> bool:
        """Store as the topic's last message; an empty payload clears it [MQTT-3.3.1-6].

        False: there is no room, and the topic keeps what it had. `known`: it may be what the topic has
        already, read again, and then keeps its generation.
        """
        old = self._tree.get(message.topic)
        if not message.payload:
            if old is not None:
                self._drop(old)
            return True
        grown = self.bytes + kept_size(message) - (kept_size(old.message) if old is not None else 0)
        if grown > self._max_bytes or (old is None and len(self._tree) >= self._max_messages):
            return False
        self.bytes = grown
        if old is not None and known and _is_same(old.message, message):
            old.message = message
        else:
            if old is not None:
                self._unlink(old)
            self._append(message)
        if message.expires:
            self._note(message)
        return True

    def _append(self, message: Message) -> None:
        self.generation += 1
        last = self._last
        kept = Kept(message, self.generation, last)
        if last is None:
            self._first = kept
        else:
            last.after = kept
        self._last = kept
        self._tree.set(message.topic, kept)

    def _unlink(self, kept: Kept) -> None:
        before, after = kept.before, kept.after
        if before is None:
            self._first = after
        else:
            before.after = after
        if after is None:
            self._last = before
        else:
            after.before = before
        kept.before = None
        kept.after = None
        resting = self._resting.pop(kept.generation, None)
        if resting is not None:
            for cursor in resting:
                self.rest(cursor, after)

    def _note(self, message: Message) -> None:
        heapq.heappush(self._expiring, (message.expires, message.topic))
        if len(self._expiring) > 2 * len(self._tree) + SLACK:
            self._expiring = [(each.expires, each.topic) for each in self.values() if each.expires]
            heapq.heapify(self._expiring)

    def _drop(self, kept: Kept) -> None:
        self._tree.pop(kept.message.topic)
        self._unlink(kept)
        self.bytes -= kept_size(kept.message)

    def expire(self, now: float, most: int) -> int:
        """Throw away what has expired: it must not take the room of others until somebody asks for it.

        `most` of them; answers how many were looked at, fewer: those were all.
        """
        count = 0
        while count < most and self._expiring and self._expiring[0][0] <= now:
            count += 1
            when, topic = heapq.heappop(self._expiring)
            kept = self._tree.get(topic)
            if kept is not None and kept.message.expires == when:
                self._drop(kept)
        return count

    def walk(self, filter: str) -> Iterator[Message]:
        """As `match`, one by one, those that have expired included."""
        for kept in self._tree.walk(filter):
            yield kept.message

    def match(self, filter: str, now: float) -> list[Message]:
        """The messages on the topics that `filter` matches; not those that have expired."""
        found: list[Message] = []
        for kept in self._tree.match(filter):
            if kept.message.expires and kept.message.expires <= now:
                self._drop(kept)
            else:
                found.append(kept.message)
        return found

    # Cursors --------------------------------------------------------------------------------------

    def cursor(self, filter: str) -> Cursor | None:
        """What `filter` matches now; None: nothing."""
        few = self._tree.few(filter, FEW, MAX_VISITED)
        if few is not None and not few:
            return None
        return Cursor(self, filter, few)

    def current(self, topic: str, generation: int) -> Message | None:
        """The topic's message if it is of that generation or older."""
        kept = self._tree.get(topic)
        return kept.message if kept is not None and kept.generation <= generation else None

    def first(self) -> Kept | None:
        return self._first

    def rest(self, cursor: Cursor, kept: Kept | None) -> None:
        """The cursor stays at a message until it goes on, and is moved when the message goes."""
        cursor.at = kept
        if kept is not None:
            resting = self._resting.get(kept.generation)
            if resting is None:
                self._resting[kept.generation] = [cursor]
            else:
                resting.append(cursor)

    def lift(self, cursor: Cursor) -> Kept | None:
        """Where the cursor was; it is to `rest` again."""
        kept = cursor.at
        cursor.at = None
        if kept is not None:
            resting = self._resting.get(kept.generation)
            if resting is not None:
                resting.remove(cursor)
                if not resting:
                    del self._resting[kept.generation]
        return kept


class Cursor:
    """A place in what a filter matches, as it was when the cursor was made."""

    def __init__(self, store: RetainedStore, filter: str, few: list[Kept] | None) -> None:
        self.filter = filter
        self.size = 0  # bytes to count against the node's budget
        self.at: Kept | None = None
        self._store = store
        self._limit = store.generation
        self._levels = filter.split("/")
        self._topics: list[str] | None = None
        if few is not None:
            self._topics = [kept.message.topic for kept in few]
            self._topics.reverse()
            self.size = 8 * len(few)
        else:
            store.rest(self, store.first())

    @property
    def is_done(self) -> bool:
        if self._topics is not None:
            return not self._topics
        return self.at is None or self.at.generation > self._limit

    def look(self, most: int) -> tuple[Message | None, int]:
        """The next message, which stays the next until `step`; how many, at most `most`, were passed over."""
        if self._topics is not None:
            return self._look_up(most)
        kept = self._store.lift(self)
        passed = 0
        while kept is not None and kept.generation <= self._limit and passed < most:
            if _matches(self._levels, kept.message.topic):
                self._store.rest(self, kept)
                return kept.message, passed
            passed += 1
            kept = kept.after
        self._store.rest(self, kept)
        return None, passed

    def _look_up(self, most: int) -> tuple[Message | None, int]:
        topics = self._topics
        passed = 0
        while topics and passed < most:
            message = self._store.current(topics[-1], self._limit)
            if message is not None:
                return message, passed
            topics.pop()
            passed += 1
        return None, passed

    def step(self) -> None:
        """The message that `look` answered is done with."""
        if self._topics is not None:
            self._topics.pop()
            return
        kept = self._store.lift(self)
        self._store.rest(self, kept.after if kept is not None else None)

    def close(self) -> None:
        self._topics = []
        self._store.lift(self)


def _is_same(one: Message, other: Message) -> bool:
    return one.payload == other.payload and one.qos == other.qos and one.properties == other.properties


def _matches(wanted: list[str], topic: str) -> bool:
    """As `topics.matches`, of a filter that was split before."""
    if topic.startswith("$") and wanted[0] in ("+", "#"):  # [MQTT-4.7.2-1]
        return False
    if len(wanted) == 1 and wanted[0] == "#":
        return True
    levels = topic.split("/")
    count = len(levels)
    for index, want in enumerate(wanted):
        if want == "#":
            return True
        if index == count or (want != "+" and want != levels[index]):
            return False
    return len(wanted) == count
