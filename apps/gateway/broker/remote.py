"""The part of a session that a cluster keeps: any node may have it next, and its queue is filled by others.

Places in the queue are given by the store, which tells when there is more of it. So what is `cold` is counted
when a page is read, and a message that this node itself has for the session goes the long way round, too.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from apps.gateway.broker import ingress
from apps.gateway.broker import stats as st
from apps.gateway.broker.completion import PUBREC, Completion, Waiter
from apps.gateway.broker.durable import STORED, Durable
from apps.gateway.broker.messages import Delivery, Message
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from apps.gateway.mqtt.errors import MqttError

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection
    from apps.gateway.broker.ports import ClusterStore
    from apps.gateway.broker.session import Session


class Remote(Durable):
    """`last_seq` is the place up to which the queue was sent."""

    def __init__(self, session: Session, store: ClusterStore, key: int) -> None:
        super().__init__(session, store, key)
        self.remote = True
        self.exact: dict[int, str] = {}  # QoS 2 identifiers whose messages are on their way, or perhaps were
        self._once: dict[int, str] = {}  # those whose messages are there, once for certain
        self._again: set[int] = set()  # those whose messages may be there more than once
        self._cluster = store
        self._outgoing = Outgoing(self)
        self.is_lost = False  # another node has the session
        self._stale = False  # there was more while a page was on its way

    # The queue ----------------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        self.session.node.router.work += STORED
        if self._cluster.full:  # no publisher waits for it whom the node could refuse
            node = self.session.node
            node.dropped(self.session.client_id, st.DROP_NODE, delivery.message.topic, 1)
        else:
            self._cluster.append(self, delivery)

    def enqueue(self, delivery: Delivery) -> None:
        self.deliver(delivery)

    def send_queued(self, connection: Connection, delivery: Delivery, seq: int) -> None:
        self.last_seq = max(self.last_seq, seq)
        super().send_queued(connection, delivery, seq)

    def forget(self, seq: int) -> None:
        self.last_seq = max(self.last_seq, seq)
        super().forget(seq)

    def _begins(self) -> int:
        return self.last_seq

    def attached(self) -> None:
        self.woken()

    def woken(self) -> None:
        """There may be more in the queue than was read of it."""
        if self.session.connection is None:
            return
        if self._loading:
            self._stale = True
            return
        if not self.cold:
            self.count(1, 0)
        self.page()

    def read(self, page: int, found: list[tuple[int, Delivery]], rest: int, rest_bytes: int) -> None:
        """The answer to `load`, and how much there is behind it."""
        if page != self._loading:
            return  # the client has gone since
        size = 0
        for _, delivery in found:
            size += delivery.size
        self.count(rest + len(found), rest_bytes + size)
        self.loaded(page, found, -1)
        if self._stale:
            self._stale = False
            self.woken()

    def count(self, cold: int, size: int) -> None:
        """So much is queued that is not in memory."""
        self.session.node.stats.queued += cold - self.cold
        self.cold = cold
        self.cold_bytes = size

    def unread(self) -> None:
        """A page could not be read."""
        self._loading = 0
        self.page()

    def purge(self) -> int:
        count = self.cold
        self._loading = 0
        self.store.purge(self, self.last_seq)
        self.count(0, 0)
        return count

    def lost(self, seq: int, delivery: Delivery) -> None:
        """It could not be appended; a publisher is told so, a retained message has none that waits."""
        if delivery.message.retain:
            self.session.node.dropped(self.session.client_id, st.DROP_CLUSTER, delivery.message.topic, 1)

    # Messages of the client, exactly once -------------------------------------------------------

    def publish(self, connection: Connection, packet_id: int, message: Message) -> None:
        """Hand on a QoS 2 message when what it is known by is stored, and then answer PUBREC.

        Whichever node gets it again after a crash hands it on under the same name, and it is queued once.
        """
        if self._outgoing.waits(packet_id, connection):
            return
        known = self.exact.get(packet_id, "")
        if known:
            message.again = True
            message.once = known
            self._again.add(packet_id)
            self._outgoing.add(connection, packet_id, message, None)
            return
        message.once = self._cluster.once(self, packet_id)
        self.exact[packet_id] = message.once
        self._outgoing.add(connection, packet_id, message, self.session.node.completion())

    def hand_on(self, connection: Connection, packet_id: int, message: Message) -> None:
        node = self.session.node
        reason = ingress.hand_on(node, message, connection.level)
        if reason == reasons.QUOTA_EXCEEDED and message.again and connection.level < pt.MQTT_5:
            if connection.session is self.session:  # it may be there: the client repeats it under its name
                connection.fail(MqttError(reason, "the message could not be taken"))
            return
        if reason == reasons.QUOTA_EXCEEDED:
            self.session.let_go(packet_id)
        else:
            HandedOn(self, packet_id, message.once, node.completion())
        if connection.session is not self.session:
            return  # its client will ask again
        try:
            ingress.answer(connection, PUBREC, packet_id, reason)
        except MqttError as error:
            connection.fail(error)

    def arrived(self, packet_id: int, once: str) -> None:
        """The message cannot be lost any more."""
        if self.exact.get(packet_id) == once:
            del self.exact[packet_id]
            self.session.incoming.add(packet_id)
            if packet_id not in self._again:
                self._once[packet_id] = once

    def is_free(self, packet_id: int) -> None:
        """The identifier may stand for another message. Nobody asks for one again that is there once."""
        self.exact.pop(packet_id, None)
        self._again.discard(packet_id)
        once = self._once.pop(packet_id, "")
        if once:
            self._cluster.forget_once(once)


class Outgoing(Waiter):
    """Messages that wait until what they are known by is stored, and for those before them."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._queue: deque[tuple[int, Message, Completion | None]] = deque()
        self._connections: dict[int, Connection] = {}  # who gets the PUBREC, by packet identifier

    def waits(self, packet_id: int, connection: Connection) -> bool:
        """Is it there already? Then `connection`, on which it came again, gets the answer."""
        if packet_id not in self._connections:
            return False
        self._connections[packet_id] = connection
        return True

    def add(
        self, connection: Connection, packet_id: int, message: Message, completion: Completion | None
    ) -> None:
        """`completion` None: it is stored."""
        self._connections[packet_id] = connection
        self._queue.append((packet_id, message, completion))
        if completion is not None:
            completion.then(self)
        elif len(self._queue) == 1:
            self.completed()

    def completed(self) -> None:
        remote = self._remote
        while self._queue:
            packet_id, message, completion = self._queue[0]
            if completion is not None and not completion.is_complete:
                return
            self._queue.popleft()
            connection = self._connections.pop(packet_id)
            if remote.is_lost:  # what its message is known by was not stored
                continue
            if completion is None or not completion.reason:
                remote.hand_on(connection, packet_id, message)
                continue
            remote.exact.pop(packet_id, None)
            if connection.session is remote.session:
                connection.not_durable(PUBREC, packet_id, completion.reason)


class HandedOn(Waiter):
    """A message is on its way to the others."""

    def __init__(self, remote: Remote, packet_id: int, once: str, completion: Completion) -> None:
        self._remote = remote
        self._packet_id = packet_id
        self._once = once
        self._completion = completion
        completion.then(self)

    def completed(self) -> None:
        if not self._completion.reason:
            self._remote.arrived(self._packet_id, self._once)
