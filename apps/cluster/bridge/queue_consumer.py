"""Fills the queues of persistent sessions: a thread that reads Kafka as one of the bridges' shared group.

A batch is read, then the subscriptions are caught up with: who subscribed before a record was published is
among them by then. Each record is matched once, the queues are written, then the offsets committed. Who is
killed in between leaves records that the next member finds written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from apps.cluster.bridge import envelope
from apps.cluster.bridge.envelope import BadRecord
from apps.cluster.bridge.node_consumer import Sizes
from apps.cluster.bridge.records import Broken, Group, Positions, Record
from apps.cluster.bridge.topic_names import TopicNames
from apps.cluster.coordination.routes import QUEUES as SESSIONS
from apps.cluster.sessions.queues import Full, Gone, Queued, Queues, QueuesUnavailable
from apps.cluster.sessions.subscription_index import Index, Wanted
from apps.gateway.broker.messages import Message

logger = logging.getLogger("gmqtt.bridge")

QUEUES: Final = "@queues"  # its place among the nodes that a bridge serves
BATCH_SIZE: Final = 1000  # records
WAIT: Final = 0.05  # seconds for the next record
RETRY_DELAY: Final = 0.25  # seconds until Redis is asked again
COMMIT: Final = 0.2  # seconds between commits
SKIP: Final = 1.0  # seconds between looks for the ends of what is not read
REPORT: Final = 1.0  # seconds between looks at how far behind it is


class QueueConsumer(threading.Thread):
    def __init__(
        self,
        names: TopicNames,
        sizes: Sizes,
        group_of: Callable[[], Group],
        queues: Queues,
    ) -> None:
        """`group_of` makes this bridge a member."""
        super().__init__(name="queues", daemon=True)
        self._names = names
        self._sizes = sizes
        self._group_of = group_of
        self._queues = queues
        self._index = Index()
        self._stopping = threading.Event()
        self.paused = False
        self.read = 0
        self._trouble = ""
        self._places: list[dict[str, Any]] = []
        self._next_report = self._next_skip = self._next_commit = 0.0
        self._behind: Positions = {}  # to be committed
        self._unserved: Counter[str] = Counter()  # by topic, messages of a batch that no member was left for
        self._wanted: frozenset[str] = frozenset()  # Kafka topics with something for a queue

    def run(self) -> None:
        while not self._stopping.is_set():
            group = self._group_of()
            self._behind = {}
            try:
                group.join(list(self._names.live))
                while not self._stopping.is_set():
                    self._turn(group)
            except Broken as error:
                logger.warning("this bridge joins those that fill queues again: %s", error)
            except Exception:
                logger.exception("queues were not filled by this bridge; trying again")
            finally:
                if self._behind:
                    group.commit(self._behind)
                group.close()
            self._stopping.wait(RETRY_DELAY)
        self._queues.close()

    def stop(self) -> None:
        """From any thread."""
        self._stopping.set()

    def _turn(self, group: Group) -> None:
        if time.monotonic() >= self._next_report:
            self._next_report = time.monotonic() + REPORT
            self._report(group)
        if self.paused:
            group.pause()
            self._stopping.wait(WAIT)
            return
        try:
            self._look(group)
            self._recovered()
        except QueuesUnavailable as error:
            self._complain(error)
        self._commit(group)
        records = group.read(BATCH_SIZE, WAIT)
        if not records:
            return
        self.read += len(records)
        behind: Positions = {}
        for record in records:
            behind[record.topic, record.partition] = record.offset + 1
        gone = -1
        while not self._stopping.is_set():
            try:
                self._unserved.clear()
                self._write(records)
                self._behind |= behind
                self._recovered()
                self._queues.unserved(self._unserved)
                return
            except Gone:  # others are chosen; what is written already is known
                if self._index.version == gone:  # but its subscriptions are still there: is the index right?
                    self._index.clear()
                    self._stopping.wait(RETRY_DELAY)
                gone = self._index.version
            except QueuesUnavailable as error:
                self._complain(error)
                group.pause()
                self._stopping.wait(RETRY_DELAY)

    def _commit(self, group: Group) -> None:
        """Now and then: what is read again is known, and Kafka's heartbeats wait behind its commits."""
        if self._behind and time.monotonic() >= self._next_commit:
            self._next_commit = time.monotonic() + COMMIT
            group.commit(self._behind)
            self._behind = {}

    def _look(self, group: Group) -> None:
        """Which topics have anything for a queue? The others are passed over. Raises `QueuesUnavailable`.

        An end that was found before the subscriptions were caught up with is before whatever is published
        after one that is not among them.
        """
        if time.monotonic() >= self._next_skip:
            self._next_skip = time.monotonic() + SKIP
            ends = group.idle_ends()
            self._catch_up()
            group.skip({place: end for place, end in ends.items() if place[0] not in self._wanted})
        else:
            self._catch_up()
        group.want(self._wanted)

    def _catch_up(self) -> None:
        before = self._index.version
        self._queues.catch_up(self._index)
        if self._index.version != before:
            levels = self._index.levels
            self._wanted = frozenset(topic for level in levels for topic in self._names.of_filter(level))

    def _write(self, records: list[Record]) -> None:
        self._catch_up()
        messages = [found for record in records if (found := self._message(record)) is not None]
        groups = {group.name: group for _, _, shared in messages for group in shared}
        online = self._queues.online({name for each in groups.values() for name in each.members})
        wanted = []
        for record, message, shared in messages:
            chosen = [target for group in shared if (target := group.choose(online)) is not None]
            targets = (*self._index.match(message.topic, message.origin), *chosen)
            if targets:
                once = message.once if message.qos == 2 else ""
                place = f"{record.topic}/{record.partition}"
                wanted.append(Queued(place, record.offset, message, once, message.again, targets))
        if wanted:
            self._queues.write(wanted)

    def _message(self, record: Record) -> tuple[Record, Message, list[Wanted]] | None:
        """With the shared subscriptions whose members are to get it here; None: it is for nobody's queue.

        Who publishes at a node has it choose (`Routes.choose`); what a service sends is for all of them.
        """
        sizes = self._sizes
        try:
            message, node, named = envelope.message(
                record, sizes.packet, sizes.topic, sizes.levels, sizes.proof
            )
        except BadRecord:  # the node consumers make it a dead letter
            return None
        if not message.qos:
            return None
        if not node:
            return record, message, self._index.match_shared(message.topic)
        shared = []
        for place, _, key in (each.partition(" ") for each in named):
            group = self._index.shared(key) if place == SESSIONS else None
            if group is not None and group.members:
                shared.append(group)
            elif place == SESSIONS:
                self._unserved[message.topic] += 1
        return record, message, shared

    def _recovered(self) -> None:
        if self._trouble:
            self._trouble = ""
            logger.warning("queues are filled again")

    def _complain(self, error: QueuesUnavailable) -> None:
        if not self._trouble:
            logger.error("queues cannot be filled, Kafka keeps what is for them: %s", error)
        self._trouble = str(error)
        if isinstance(error, Full):
            try:
                self._queues.warn(str(error), 2 * RETRY_DELAY + REPORT)
            except QueuesUnavailable:
                return

    def _report(self, group: Group) -> None:
        positions = group.positions()
        ends = group.ends(positions)
        self._places = [
            {"topic": place[0], "partition": place[1], "position": at, "end": ends.get(place)}
            for place, at in sorted(positions.items())
        ]

    def status(self) -> dict[str, Any]:
        lag = sum(max(place["end"] - place["position"], 0) for place in self._places if place["end"])
        return {
            "state": "paused" if self.paused else "waiting for Redis" if self._trouble else "reading",
            "topics": self._places,
            "lag": lag,
            "read": self.read,
            "written": self._queues.written,
            "known": self._queues.known,
            "dropped": self._queues.dropped,
            "filters": len(self._index),
            "trouble": self._trouble,
        }
