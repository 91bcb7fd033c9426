"""The session store of a node in a cluster: every session belongs to all, and is here while its client is."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from apps.gateway.broker import closing
from apps.gateway.broker import limits as lim
from apps.gateway.broker.durable import RELEASED, Durable
from apps.gateway.broker.messages import Delivery, Message
from apps.gateway.broker.node import Node
from apps.gateway.broker.remote import Remote
from apps.gateway.broker.session import Session, Subscription
from apps.gateway.broker.stats import DROP_SESSION
from apps.gateway.mqtt import reasons
from apps.gateway.sessions.batch import PLACE_BITS, Batch, Load, Outcome, Put
from apps.gateway.sessions.batch_store import PENDING, Backend, BatchStore, Jobs

logger = logging.getLogger(__name__)

DONE: Final = 100_000  # QoS 2 messages to be forgotten; above that their names go by themselves, later
APPENDED: Final = 1 << (PLACE_BITS - 1)  # places that stand for "at the end", until they are given


@dataclass(frozen=True)
class Stored:
    """A session as a cluster keeps it."""

    client_id: str
    username: str | None
    created: float
    expiry: int
    expires_at: float  # 0.0: its client was connected when it was last heard of
    # Name, filter, share, QoS, no local, retain as published, identifier.
    subscriptions: list[tuple[str, str, str, int, bool, bool, int]]
    incoming: dict[int, str]  # QoS 2 identifiers, and what their messages are known by
    in_flight: list[tuple[int, int, int, Delivery]]  # place, packet identifier, state; in their order
    queued: int  # messages behind those
    queued_bytes: int


class RemoteStore(BatchStore):
    """`ports.ClusterStore`."""

    def __init__(
        self, backend: Backend, node: Node, worker: Jobs, names: dict[int, str], incarnation: str
    ) -> None:
        """`names`: session key -> client id, for the backend. `incarnation` names this run of the process."""
        super().__init__(backend, node, worker, 0)
        self.own = False
        self.version = 0  # of the subscriptions, after the last change by this node
        self.nodes: frozenset[str] = frozenset()  # that there were then
        self._names = names
        self._durables: dict[int, Remote] = {}
        self._done: deque[tuple[float, str]] = deque(maxlen=DONE)  # since when, and what it is known by
        self._strays: set[str] = set()  # clients whose sessions are ended without having been here
        self._left: list[int] = []  # keys of sessions that are not here any more
        self._incarnation = incarnation
        self._count = 0

    # Sessions -----------------------------------------------------------------------------------

    def begin(self, session: Session) -> Durable:
        self._key += 1
        remote = Remote(session, self, self._key)
        self._names[self._key] = session.client_id
        self._durables[self._key] = remote
        return remote

    def restore(self, stored: Stored) -> None:
        """A session that no other node has any more is this node's, its client away as yet."""
        node = self._node
        session = Session(node, stored.client_id, stored.created)
        session.username = stored.username
        session.weight = len(stored.client_id) + len(stored.username or "")
        session.expiry_interval = stored.expiry
        session.expires_at = stored.expires_at
        node.stats.held += session.weight
        remote = self.begin(session)
        session.durable = remote
        node.sessions[stored.client_id] = session
        if session.expires_at:
            node.timers.at(session.expires_at, session)
        for name, filter, share, qos, no_local, as_published, identifier in stored.subscriptions:
            subscription = Subscription(session, filter, share, qos, no_local, as_published, identifier)
            node.stats.held += subscription.size
            session.add(name, subscription)
            node.router.subscribe(subscription)
        if isinstance(remote, Remote):
            remote.exact.update(stored.incoming)
            remote.count(stored.queued, stored.queued_bytes)
        for place, packet_id, state, delivery in stored.in_flight:
            remote.seqs[packet_id] = place
            remote.last_seq = max(remote.last_seq, place)
            session.last_id = packet_id
            if state == RELEASED:
                session.released[packet_id] = None
            else:
                session.put_in_flight(packet_id, delivery)

    def forget(self, client_id: str) -> None:
        """A session that no node has, and that nobody wants to go on with."""
        self._key += 1
        self._names[self._key] = client_id
        self._strays.add(client_id)
        self.end(self._key)

    def park(self, durable: Durable, force: bool) -> None:
        self._batch.parks.append((durable, force))
        self._record()

    def after(self, call: Callable[[], None]) -> None:
        """Call when all that was recorded before is stored."""
        if not self._batch.is_empty:
            self._batch.told.append(call)
        elif self._writing is not None:
            self._writing.told.append(call)
        else:
            call()

    def woken(self, client_ids: Iterable[str]) -> None:
        """There is something new in the queues of these clients."""
        sessions = self._node.sessions
        for client_id in client_ids:
            session = sessions.get(client_id)
            if session is not None and isinstance(session.durable, Remote):
                session.durable.woken()

    def online(self) -> list[str]:
        """Clients with a session that are connected."""
        return [
            each.session.client_id for each in self._durables.values() if each.session.connection is not None
        ]

    # Recording ----------------------------------------------------------------------------------

    def append(self, durable: Durable, delivery: Delivery) -> None:
        batch = self._batch
        self._count += 1
        place = APPENDED | self._count % APPENDED
        if not delivery.queued_at:
            delivery.queued_at = self._node.now
        batch.put(durable.key << PLACE_BITS | place, Put(durable, place, delivery, 0))
        if batch.size > PENDING:
            self.full = True
        self._expect()

    def once(self, durable: Durable, packet_id: int) -> str:
        self._count += 1
        made = f"{self._incarnation}-{self._count}"
        self._batch.onces[durable.key, packet_id] = made
        self._batch.incoming[durable.key, packet_id] = True
        self._batch.senders[durable.key] = durable
        self._expect()
        return made

    def forget_once(self, once: str) -> None:
        self._done.append((self._node.now, once))

    def done(self, age: float) -> list[str]:
        """What messages are known by that have been over for `age` seconds; each is answered once."""
        found = []
        until = self._node.now - age
        while self._done and self._done[0][0] <= until:
            found.append(self._done.popleft()[1])
        return found

    def will(self, client_id: str, will: Message | None, delay: int, at: float) -> None:
        """The cluster's members keep wills."""

    def retain(self, message: Message) -> None:
        """And retained messages."""

    def _begin(self, batch: Batch) -> None:
        # What was sent since a page was asked for is in flight by this batch, and no longer beside the page.
        batch.loads = [replace(load, known=len(load.durable.order)) for load in batch.loads]
        super()._begin(batch)

    # What came of it ----------------------------------------------------------------------------

    def _taken(self, outcome: Outcome) -> None:
        for client_id, count in outcome.ended:
            if client_id in self._strays:  # whoever had a session has counted it
                self._node.dropped(client_id, DROP_SESSION, "", count)
        if outcome.version:
            self.version = outcome.version
            self.nodes = outcome.nodes
        for key in outcome.lost:
            durable = self._durables.get(key)
            if durable is not None:
                self._let_go(durable)
        for key, reason, topic, count in outcome.drops:
            self._node.dropped(self._names.get(key, ""), reason, topic, count)
            durable = self._durables.get(key)
            connection = durable.session.connection if durable is not None else None
            if connection is not None and self._node.limits.queue_full_policy == lim.DISCONNECT:
                connection.close_later(reasons.QUOTA_EXCEEDED)

    def _let_go(self, durable: Remote) -> None:
        """Another node has the session."""
        session = durable.session
        durable.is_lost = True
        if session.connection is not None:
            text = "another connection has taken over this client identifier"
            closing.close(session.connection, reasons.SESSION_TAKEN_OVER, text, self._node.now)
        self._node.park(session, True)
        self._forget(durable)

    def _forget(self, durable: Durable) -> None:
        if self._node.sessions.get(durable.session.client_id) is not durable.session:
            self._durables.pop(durable.key, None)
            self._left.append(durable.key)

    def _loaded(self, outcome: Outcome) -> None:
        for load, found, rest, size in outcome.loads:
            if isinstance(load.durable, Remote):
                load.durable.read(load.page, found, rest, size)
        for key in outcome.grown:
            durable = self._durables.get(key)
            if durable is not None:
                durable.woken()

    def _unread(self, load: Load) -> None:
        if isinstance(load.durable, Remote):
            load.durable.unread()

    def _completed(self, batch: Batch) -> None:
        for key in self._left:  # what was recorded before they left was written with this batch
            self._names.pop(key, None)
        self._left = []
        for key in batch.ends:
            self._durables.pop(key, None)
            self._strays.discard(self._names.pop(key, ""))
        for durable, force in batch.parks:
            self._node.park(durable.session, force)
            self._forget(durable)
        for call in batch.told:
            call()
