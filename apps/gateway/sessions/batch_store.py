"""What the session stores have in common: they record on the loop, and write on a thread of its own.

While one batch is written the next gathers; it begins when the one before it is done. So a busy node writes
large batches, an idle one writes at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from apps.gateway.broker.durable import Durable
from apps.gateway.broker.messages import Delivery, Message
from apps.gateway.broker.node import Node
from apps.gateway.broker.session import Session, Subscription
from apps.gateway.mqtt import reasons
from apps.gateway.sessions.batch import PLACE_BITS, Batch, Load, Outcome, Put

logger = logging.getLogger(__name__)

PENDING: Final = 67_108_864  # bytes that may wait to be written; above it publishers are refused
RETRY: Final = 1.0  # seconds after a batch that failed


class Jobs(Protocol):
    """Where it writes; `worker.Worker` is a thread of its own."""

    def run(self, job: Callable[[], Any], answered: Callable[[Any], None]) -> None:
        """Do `job` after those before it; its answer comes on the loop."""

    def later(self, delay: float, call: Callable[[], None]) -> None: ...

    def stop(self) -> None:
        """When what was begun is done."""


class Backend(Protocol):
    """Where batches are written, by one thread at a time."""

    def write(self, batch: Batch) -> Outcome:
        """All of it or nothing; then the pages that were asked for. Never raises."""

    def page(self, key: int, after: int, count: int, size: int) -> list[tuple[int, Delivery]]:
        """What is queued behind the place `after`."""

    def close(self) -> None: ...


class BatchStore:
    """`ports.SessionStore`, but for `begin`."""

    def __init__(self, backend: Backend, node: Node, worker: Jobs, last_key: int) -> None:
        self.own = True
        self.full = False
        self.error = ""  # why nothing can be written
        self.written = 0  # batches
        self._backend = backend
        self._node = node
        self._worker = worker
        self._batch = Batch()
        self._writing: Batch | None = None
        self._holding = False  # this turn's completion is held
        self._waits = False  # for the time to try again
        self._closed = False
        self._key = last_key

    @property
    def memory(self) -> int:
        """Bytes of what waits to be written, and of the pages that the backend keeps."""
        return self._batch.size + (self._writing.size if self._writing is not None else 0) + self._pages()

    def _pages(self) -> int:
        return 0

    def status(self) -> dict[str, Any]:
        """For health checks."""
        return {"ok": not self.error, "error": self.error}

    # Recording ----------------------------------------------------------------------------------

    def _expect(self) -> None:
        if not self._holding:
            self._holding = True
            completion = self._node.completion()
            completion.expect()
            self._batch.completions.append(completion)

    def _record(self) -> None:
        """Something is to be written that nobody waits for: the flush must come all the same."""
        self._node.rouse()

    def save(self, session: Session) -> None:
        durable = session.durable
        if durable is not None:
            online = session.connection is not None
            row = (durable.key, session.client_id, session.username, session.created)
            self._batch.saves[durable.key] = (*row, session.expiry_interval, session.expires_at, online)
            self._record()

    def end(self, key: int) -> None:
        self._batch.end(key)
        self._record()

    def subscribe(self, key: int, subscription: Subscription) -> None:
        share, filter = subscription.share, subscription.filter
        name = f"$share/{share}/{filter}" if share else filter
        options = (subscription.no_local, subscription.retain_as_published, subscription.identifier)
        self._batch.subscriptions[key, name] = (key, name, filter, share, subscription.qos, *options)
        self._expect()

    def unsubscribe(self, key: int, name: str) -> None:
        self._batch.subscriptions[key, name] = None
        self._expect()

    def put(self, durable: Durable, seq: int, delivery: Delivery, packet_id: int) -> None:
        batch = self._batch
        batch.put(durable.key << PLACE_BITS | seq, Put(durable, seq, delivery, packet_id))
        if batch.size > PENDING:
            self.full = True
        if not self._holding:
            self._expect()

    def assign(self, key: int, seq: int, packet_id: int, state: int) -> None:
        self._batch.assign(key << PLACE_BITS | seq, packet_id, state)
        self._expect()

    def remove(self, key: int, seq: int) -> None:
        self._batch.remove(key << PLACE_BITS | seq)
        self._record()

    def incoming(self, durable: Durable, packet_id: int, known: bool) -> None:
        self._batch.incoming[durable.key, packet_id] = known
        self._batch.senders[durable.key] = durable
        self._expect()

    def barrier(self) -> None:
        if self._writing is not None or not self._batch.is_empty:
            self._batch.barrier = True
            self._expect()

    def will(self, client_id: str, will: Message | None, delay: int, at: float) -> None:
        self._batch.wills[client_id] = (will, delay, at) if will is not None else None
        self._record()

    def retain(self, message: Message) -> None:
        batch = self._batch
        batch.retained[message.topic] = message if message.payload else None
        batch.size += message.size
        if message.qos:
            self._expect()
        else:
            self._record()

    def load(self, durable: Durable, page: int, after: int, count: int, size: int) -> None:
        held = durable.session.held
        known = len(durable.order)
        self._batch.loads.append(Load(durable, page, after, count, size, durable.last_seq, known, held))
        self._record()

    def trim(self, durable: Durable, count: int, size: int) -> None:
        self._batch.trims.append((durable, count, size))
        self._record()

    def purge(self, durable: Durable, newest: int) -> None:
        self._batch.purges.append((durable, newest))
        self._record()

    def peek(self, key: int, count: int, answered: Callable[[list[tuple[int, Delivery]]], None]) -> None:
        """The first messages that wait for a session, as far as they are written."""
        self._worker.run(lambda: self._backend.page(key, 0, count, 1_048_576), answered)

    # Writing ------------------------------------------------------------------------------------

    def flush(self) -> None:
        self._holding = False
        self._next()

    def _next(self) -> None:
        """Write what has gathered, unless a batch is being written."""
        batch = self._batch
        if self._writing is not None or self._waits:
            return
        if not batch.is_empty:
            self._begin(batch)
        elif batch.completions:  # what was recorded has come and gone
            self._batch = Batch()
            self._holding = False
            for completion in batch.completions:
                completion.done()

    def _begin(self, batch: Batch) -> None:
        self._batch = Batch()
        self._holding = False
        self._writing = batch
        if not self.error:
            self.full = False
        self._worker.run(lambda: self._backend.write(batch), self._written)

    def _written(self, outcome: Outcome) -> None:
        batch = self._writing
        if batch is None:
            return
        self._writing = None
        if outcome.error:
            self._failed(batch, outcome.error)
            return
        self.written += 1
        if self.error:
            logger.warning("sessions are stored again")
            self.error = ""
            self.full = self._batch.size > PENDING
        self._taken(outcome)
        for completion in batch.completions:
            completion.done()
        for durable, topics, count, size in outcome.trims:
            durable.trimmed(topics, count, size)
        for durable, topics in outcome.purges:
            durable.purged(topics)
        self._loaded(outcome)
        self._completed(batch)
        self._next()

    def _taken(self, outcome: Outcome) -> None:
        """Before acknowledgements go out."""

    def _loaded(self, outcome: Outcome) -> None:
        for load, found, _, _ in outcome.loads:
            load.durable.loaded(load.page, found, load.newest)

    def _unread(self, load: Load) -> None:
        load.durable.loaded(load.page, [], -1)

    def _completed(self, batch: Batch) -> None:
        """At the end of what a batch that was written brings about."""

    def _failed(self, batch: Batch, error: str) -> None:
        """Refuse the publishers; what else it held comes before all that follows, when there is room."""
        if not self.error:
            logger.error("sessions cannot be stored, publishers to them are refused: %s", error)
        self.error = error
        self.full = True
        completions = batch.completions
        loads = batch.loads
        for put in batch.refuse():
            put.durable.lost(put.seq, put.delivery)
        following = self._batch
        if following.barrier or following.incoming:
            completions = completions + following.completions
            loads = loads + following.loads
            for put in following.refuse():
                put.durable.lost(put.seq, put.delivery)
            self._holding = False
            following.barrier = False
        following.follow(batch)
        for load in loads:  # they are asked for again
            self._unread(load)
        self._waits = True
        self._worker.later(RETRY, self._retry)
        for completion in completions:
            completion.done(reasons.QUOTA_EXCEEDED)

    def _retry(self) -> None:
        self._waits = False
        if not self._closed and self._writing is None:
            self._begin(self._batch)

    def close(self) -> None:
        """Write what was recorded, and let the file go. Nothing may be recorded any more."""
        self._closed = True
        self._worker.stop()
        last = self._batch
        if self._writing is not None and self.error:
            last.follow(self._writing)
        if not last.is_empty:
            outcome = self._backend.write(last)
            if outcome.error:
                logger.error("the last changes of sessions could not be stored: %s", outcome.error)
        self._backend.close()
