"""The part of a session that a store keeps: the queue beyond its head, and what must survive the process.

Only the head of a connected client's queue is in memory (`Session.queue`, `order`); the rest is `cold`:
counted here, kept by the store, loaded a page at a time. Of a client that is away all of it is cold.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from apps.gateway.broker import limits as lim
from apps.gateway.broker import stats as st
from apps.gateway.broker.completion import Completion, Waiter
from apps.gateway.broker.messages import Delivery
from apps.gateway.mqtt import reasons

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection
    from apps.gateway.broker.ports import SessionStore
    from apps.gateway.broker.session import Session

PAGE: Final = 1000  # messages of a queue in memory at most
PAGE_BYTES: Final = 1_048_576  # the same in bytes, but for one message that is larger
LOW: Final = 250  # messages below which the next page is loaded
STORED: Final = 10  # what a message to be stored costs, in units of `Router.work`

SENT: Final = 0  # states of a stored message with a packet identifier
RELEASED: Final = 1  # PUBREC came


class Durable(Waiter):
    """Belongs to one session, which a store knows by `key`."""

    def __init__(self, session: Session, store: SessionStore, key: int) -> None:
        self.session = session
        self.store = store
        self.key = key
        self.remote = False  # a cluster fills the queue (`remote.Remote`)
        self.last_seq = 0  # the place of the newest message; they grow by one
        self.seqs: dict[int, int] = {}  # packet identifier in flight -> place
        self.order: deque[int] = deque()  # the places of what is in `Session.queue`
        self.cold = 0  # messages that only the store has
        self.cold_bytes = 0
        self.uncommitted: dict[int, None] = {}  # QoS 2 packet identifiers; sent when they are committed
        self._waiting: deque[tuple[Completion, int]] = deque()
        self._last: Completion | None = None
        self._pages = 0
        self._loading = 0  # the number of the page that is awaited, 0 = none
        self._trimming = False

    # Messages to the client ---------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        """As `Session.deliver`, for QoS 1 and 2."""
        session = self.session
        session.node.router.work += STORED
        connection = session.connection
        if connection is None or self.cold or not session.may_send(delivery):
            self.enqueue(delivery)
        elif connection.fits(delivery):
            self.last_seq += 1
            packet_id = session.take_identifier(delivery)
            self.store.put(self, self.last_seq, delivery, packet_id)
            self._send(connection, delivery, packet_id, self.last_seq)

    def send_queued(self, connection: Connection, delivery: Delivery, seq: int) -> None:
        """Send what was the first of `Session.queue`."""
        packet_id = self.session.take_identifier(delivery)
        self.store.assign(self.key, seq, packet_id, SENT)
        self._send(connection, delivery, packet_id, seq)

    def _send(self, connection: Connection, delivery: Delivery, packet_id: int, seq: int) -> None:
        self.seqs[packet_id] = seq
        if delivery.qos == 1:
            connection.send_publish(delivery, packet_id, False)
        else:  # sent before it is committed, a crash would make it another message, and the client get both
            self._wait(packet_id)

    def _wait(self, packet_id: int) -> None:
        completion = self.session.node.completion()
        self.uncommitted[packet_id] = None
        self._waiting.append((completion, packet_id))
        if completion is not self._last:
            self._last = completion
            completion.then(self)

    def completed(self) -> None:
        session = self.session
        while self._waiting and self._waiting[0][0].is_complete:
            if self._waiting[0][0].reason:
                self._wait_again()
                return
            _, packet_id = self._waiting.popleft()
            self.uncommitted.pop(packet_id, None)
            delivery = session.unacked.get(packet_id)
            if delivery is None:
                continue
            connection = session.connection
            if connection is not None and connection.congested:
                session.repeat_later(packet_id)
            elif connection is not None:
                connection.send_publish(delivery, packet_id, False)
        if not self._waiting:
            self._last = None

    def _wait_again(self) -> None:
        """The first was not committed: with those behind it, which stay there, it waits for the next try."""
        packet_ids = [packet_id for _, packet_id in self._waiting]
        self._waiting.clear()
        self._last = None
        self.store.barrier()
        for packet_id in packet_ids:
            if packet_id in self.session.unacked:
                self._wait(packet_id)
            else:
                self.uncommitted.pop(packet_id, None)

    def remove(self, packet_id: int) -> None:
        """The message in flight under `packet_id` is done with."""
        seq = self.seqs.pop(packet_id, 0)
        if seq:
            self.store.remove(self.key, seq)

    def released(self, packet_id: int) -> None:
        seq = self.seqs.get(packet_id, 0)
        if seq:
            self.store.assign(self.key, seq, packet_id, RELEASED)

    def forget(self, seq: int) -> None:
        """A queued message is dropped."""
        self.store.remove(self.key, seq)

    # The queue ----------------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        return self.cold + len(self.order)

    def enqueue(self, delivery: Delivery) -> None:
        """Queue within the limits, or drop by the configured policy, counted."""
        session = self.session
        node = session.node
        size = delivery.size
        if self._over(1, size) and not self._make_room(size):
            node.dropped(session.client_id, st.DROP_QUEUE, delivery.message.topic, 1)
            if session.connection is not None:
                node.overflows += 1
            if node.limits.queue_full_policy == lim.DISCONNECT and session.connection is not None:
                session.connection.close_later(reasons.QUOTA_EXCEEDED)
            return
        if not self.queued:
            node.observer.changed(session.client_id)
        if not delivery.queued_at:
            delivery.queued_at = node.now
        self.last_seq += 1
        self.store.put(self, self.last_seq, delivery, 0)
        if session.connection is not None and not self.cold and self._has_room(size):
            session.append(delivery)
            self.order.append(self.last_seq)
        else:
            self.cold += 1
            self.cold_bytes += size
            node.stats.queued += 1
            self.page()
        if session.connection is not None and session.fill > lim.HALF:
            node.pressure.rise(session, node.now)

    def _has_room(self, size: int) -> bool:
        """May the memory hold one message more of the queue?"""
        session = self.session
        stats = session.node.stats
        if not self.order:
            return stats.held + size <= session.node.limits.node_bytes
        return (
            len(self.order) < PAGE
            and session.queue_bytes + size <= PAGE_BYTES
            and stats.held + size <= session.node.limits.node_bytes
        )

    def _over(self, count: int, size: int) -> bool:
        """Would so much more be over the session's limits?"""
        limits = self.session.node.limits
        if self.queued + count > limits.max_queued_messages:
            return True
        return self.session.held + self.cold_bytes + size > limits.max_queued_bytes

    def _make_room(self, size: int) -> bool:
        """Drop the oldest, where that is the policy; False: the newest has to go."""
        session = self.session
        limits = session.node.limits
        if limits.queue_full_policy != lim.DROP_OLDEST:
            return False
        if session.held - session.queue_bytes + size > limits.max_queued_bytes:
            return False
        while self.order and self._over(1, size):
            self.forget(self.order.popleft())
            session.drop_first(st.DROP_QUEUE)
        if not self._over(1, size):
            return True
        if self._loading or not self.cold:
            return False
        self._trim(1, size)
        return True

    def _trim(self, count: int, size: int) -> None:
        if not self._trimming:
            self._trimming = True
            limits = self.session.node.limits
            messages = max(self.queued + count - limits.max_queued_messages, 0)
            octets = max(self.session.held + self.cold_bytes + size - limits.max_queued_bytes, 0)
            self.store.trim(self, messages, octets)

    def trimmed(self, topics: dict[str, int], count: int, size: int) -> None:
        """The store dropped the oldest: `count` messages, in all and by topic, of `size` bytes."""
        self._trimming = False
        self.shrunk(topics, count, size, st.DROP_QUEUE)
        if self.cold and self._over(0, 0) and not self._loading:
            self._trim(0, 0)
        self.page()

    def shrunk(self, topics: dict[str, int], count: int, size: int, reason: str) -> None:
        """The store dropped messages of the cold part."""
        node = self.session.node
        self.cold -= count
        self.cold_bytes -= size
        node.stats.queued -= count
        for topic, dropped in topics.items():
            node.dropped(self.session.client_id, reason, topic, dropped)

    def page(self) -> None:
        """Ask for the next part of the queue when the client is there and little of it is in memory."""
        if self.cold and self.session.connection is not None and not self._loading and not self._trimming:
            if len(self.order) >= LOW:
                return
            self._pages += 1
            self._loading = self._pages
            self.store.load(
                self, self._pages, self.order[-1] if self.order else self._begins(), PAGE, PAGE_BYTES
            )

    def _begins(self) -> int:
        """The place behind which the cold part begins when nothing of the queue is in memory."""
        return 0

    def attached(self) -> None:
        """The client is here, and that was recorded."""

    def loaded(self, page: int, found: list[tuple[int, Delivery]], newest: int) -> None:
        """The answer to `load`. `newest` was `last_seq` when it was asked."""
        if page != self._loading:
            return  # the client has gone since
        self._loading = 0
        session = self.session
        for seq, delivery in found:
            if self.order and not self._has_room(delivery.size):
                break
            self.cold -= 1
            self.cold_bytes -= delivery.size
            session.node.stats.queued -= 1  # `append` counts it again
            session.append(delivery)
            self.order.append(seq)
        if not found and newest == self.last_seq and self.cold:
            self.shrunk({}, self.cold, self.cold_bytes, "")  # what was counted was never stored
        session.pump(session.node.now)

    def go_cold(self) -> None:
        """The client has gone: its queue is the store's alone."""
        session = self.session
        self._loading = 0
        if self.order:
            self.cold += len(self.order)
            self.cold_bytes += session.queue_bytes
            session.node.stats.queued += len(self.order)
            self.order.clear()
            session.empty_queue()

    def purge(self) -> int:
        """Drop the cold part; how many messages that was."""
        count = self.cold
        self._loading = 0
        self.store.purge(self, self.last_seq)
        self.shrunk({}, count, self.cold_bytes, "")
        return count

    def purged(self, topics: dict[str, int]) -> None:
        """The store dropped so many messages of each topic."""
        for topic, count in topics.items():
            self.session.node.dropped(self.session.client_id, st.DROP_PURGED, topic, count)

    def lost(self, seq: int, delivery: Delivery) -> None:
        """A message could not be stored, and its publisher is told so."""
        session = self.session
        if seq in self.order:
            place = self.order.index(seq)
            del self.order[place]
            session.delete_at(place)
            return
        for packet_id, known in self.seqs.items():
            if known == seq:
                if delivery.qos == 2:  # it was not sent
                    session.acknowledge(packet_id, 0)
                return
        if seq <= self.last_seq and self.cold:
            self.shrunk({}, 1, delivery.size, "")

    def end(self) -> int:
        """The session ends; how many cold messages go with it."""
        count = self.cold
        self.leave()
        self.store.end(self.key)
        return count

    def leave(self) -> None:
        """Nothing of it is in memory any more."""
        self.session.node.stats.queued -= self.cold
        self.cold = 0
        self.cold_bytes = 0
        self._loading = 0
        self._waiting.clear()
        self.order.clear()
        self.seqs.clear()
