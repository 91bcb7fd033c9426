"""What the gateway tells of its sessions, gathered on the loop and written to the database once a second.

The gateway's events are a dict entry each. What changed is read off the node when it is written, so a client
that connects a hundred times in a second is one row. A session whose queue is not empty is looked at again by
itself, as a queue changes without a word.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from apps.cluster.directory import drops, names, writer
from apps.cluster.directory.drops import DropLedger
from apps.cluster.directory.writer import Batch, Subscribed
from apps.common.database import DatabaseThread, DatabaseUnavailable
from apps.gateway.broker.ports import Peer

logger = logging.getLogger(__name__)

TICK: Final = 1.0  # seconds between writes
NODE_ROW: Final = 10.0  # seconds between writes of the node's own row
FORGET_EVERY: Final = 600.0  # seconds between looks for nodes that are gone for good
BATCH_SIZE: Final = 500  # sessions in one transaction
SLICE: Final = 100  # sessions read off the node in one turn of the loop
SUBSCRIPTIONS_BATCH_SIZE: Final = 20_000  # in one transaction, but for a session that has more alone
LOOKED_AT: Final = 10_000  # sessions with a queue, in one tick
MAX_WAITING: Final = 200_000  # client ids
MAX_BYTES: Final = 32 << 20  # of client ids

# Where sessions outlive their connections, the argument `kept` of Recorder.
IN_MEMORY: Final = 0
BY_NODE: Final = 1  # in a store of this node's own: the node knows them all
BY_CLUSTER: Final = 2  # the node knows those that are, or were last, connected to it

NEVER: Final = 0xFFFFFFFF  # an expiry interval that never ends

# What about a session has to be written.
SESSION: Final = 1
SUBSCRIPTIONS: Final = 2


class SessionState(Protocol):
    """A session of the node, as of now. Times are UNIX seconds, 0.0: not set."""

    online: bool
    username: str | None
    peer: Peer | None  # None: not connected
    level: int
    clean_start: bool
    keepalive: int
    created_at: float
    connected_at: float
    expiry_interval: int
    expires_at: float
    subscriptions: int
    inflight: int
    queued: int
    queued_bytes: int


class SessionSource(Protocol):
    """What the directory reads off the node, on its loop."""

    def client_ids(self) -> list[str]: ...

    def state(self, client_id: str) -> SessionState | None: ...

    def subscribed(self, client_id: str) -> list[Subscribed]: ...

    def load(self, client_id: str) -> tuple[int, int] | None:
        """Queued messages and bytes of a session; None: there is no such session."""


class Recorder:
    """Some methods of `ports.Observer`, and a task that writes."""

    def __init__(
        self,
        node: str,
        view: SessionSource,
        now: Callable[[], float],
        describe: Callable[[], dict[str, Any]],
        kept: int = IN_MEMORY,
        forget_after: float = 0.0,
    ) -> None:
        """`describe` answers columns of the node's own row, `kept` is where sessions are.

        Nodes that were not seen for `forget_after` seconds are forgotten; 0: none.
        """
        self._node = node
        self._view = view
        self._now = now
        self._describe = describe
        self._kept = kept
        self.epoch_of: Callable[[str], int] = lambda client_id: 0  # of the ownership in a cluster
        self._database = DatabaseThread("directory")
        self._dirty: dict[str, int] = {}
        self._bytes = 0
        self._peers: dict[
            str, tuple[str | None, Peer, int, float]
        ] = {}  # of connections since the last write
        self._ends: dict[str, tuple[int, str, float]] = {}
        self._left: dict[
            str, tuple[SessionState, list[Subscribed]]
        ] = {}  # as sessions were when they left the node's memory
        self._busy: dict[str, tuple[int, int]] = {}  # with a queue: what was written of it
        self._ledger = DropLedger()
        self._task: asyncio.Task[None] | None = None
        self._reconciled = False
        self._lost_track = False  # more changed than was remembered: everything has to be compared
        self._sweep: Iterator[str] = iter(())
        self._stale_after: str | None = None  # where the search for rows without a session goes on
        self._described = float("-inf")
        self._forget_after = forget_after
        self._forgot = float("-inf")

    # ------------------------------------------------------------ what the gateway tells

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None:
        if self._note(client_id, SESSION):
            self._peers[client_id] = (username, peer, level, self._now())

    def disconnected(self, client_id: str, reason: int, text: str) -> None:
        if self._note(client_id, SESSION):
            self._ends[client_id] = (reason, text[:256], self._now())
            if self._kept == BY_CLUSTER:
                self._remember(client_id)

    def _remember(self, client_id: str) -> None:
        """A session that goes on will be gone from the node when it is written."""
        state = self._view.state(client_id)
        if state is not None and state.expiry_interval:
            if state.expiry_interval != NEVER and not state.expires_at:
                state.expires_at = self._now() + state.expiry_interval
            changed = self._dirty[client_id] & SUBSCRIPTIONS
            self._left[client_id] = state, self._view.subscribed(client_id) if changed else []

    def changed(self, client_id: str) -> None:
        if self._left.get(client_id) is not None and self._view.state(client_id) is None:
            del self._left[client_id]  # it has ended
        self._note(client_id, SESSION | SUBSCRIPTIONS)

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None:
        self._ledger.dropped(client_id, reason, topic, count)

    def _note(self, client_id: str, what: int) -> bool:
        known = self._dirty.get(client_id)
        if known is None:
            if len(self._dirty) >= MAX_WAITING or self._bytes + len(client_id) > MAX_BYTES:
                self._lost_track = True
                return False
            self._bytes += len(client_id)
            known = 0
        self._dirty[client_id] = known | what
        return True

    # ------------------------------------------------------------ the task

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="directory")

    async def stop(self) -> None:
        """Write what there is; the node's clients are gone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self.flush()
            at = _time(self._now())
            await self._database.run(writer.stopped, self._node, at, self._kept != IN_MEMORY)
        except DatabaseUnavailable:
            logger.warning("the database is away: sessions stay recorded as they were until the next start")
        await asyncio.to_thread(self._database.close)

    def status(self) -> dict[str, Any]:
        return {
            "ok": self._database.down_since is None,
            "database_down_since": self._database.down_since,
            "waiting": len(self._dirty),
        }

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self.flush()
            except DatabaseUnavailable:
                pass
            except Exception:
                logger.exception("the directory was not written; trying again")
            await asyncio.sleep(max(TICK - (time.monotonic() - began), 0.05))

    async def flush(self) -> None:
        """`DatabaseUnavailable` leaves what is still to do where it was."""
        if not self._reconciled:
            at = _time(self._now())
            await self._database.run(writer.close, self._node, at, self._kept != IN_MEMORY)
            self._reconciled = True
            self._lost_track = True  # sessions may have come back from a store
        if time.monotonic() - self._described >= NODE_ROW:
            await self._database.run(writer.begin, self._node, self._describe())
            self._described = time.monotonic()
        if self._forget_after and time.monotonic() - self._forgot >= FORGET_EVERY:
            self._forgot = time.monotonic()
            before = _time(self._now()) - timedelta(seconds=self._forget_after)
            gone = await self._database.run(writer.forget_gone, before, self._kept == BY_CLUSTER)
            if gone:
                logger.info("forgot nodes that are gone for good: %s", ", ".join(gone))
        if self._lost_track:
            self._lost_track = False
            self._sweep = iter(self._view.client_ids())
            self._stale_after = "" if self._kept != BY_CLUSTER else None
        counted = self._ledger.take()
        if counted:
            try:
                await self._database.run(drops.write, self._node, counted, _time(self._now()))
            except DatabaseUnavailable:
                self._ledger.put_back(counted)
                raise
        self._look_at_queues()
        for _ in range(len(self._dirty) // BATCH_SIZE + 1):
            await self._write_some()
        while self._stale_after is not None:
            await self._forget_stale(self._stale_after)
        while self._fill_from_sweep():
            await self._write_some()

    async def _write_some(self) -> None:
        taken, batch = await self._gather()
        if not taken:
            return
        began = time.monotonic()
        try:
            await self._database.run(writer.write, self._node, batch)
        except BaseException:
            for client_id, (what, peer, end) in taken.items():
                self._note(client_id, what)
                if peer is not None:
                    self._peers.setdefault(client_id, peer)
                if end is not None:
                    self._ends.setdefault(client_id, end)
            raise
        # The thread took the interpreter from the loop: give it as much time again.
        await asyncio.sleep(time.monotonic() - began)

    # ------------------------------------------------------------ reading the node

    async def _gather(self) -> tuple[dict[str, Any], Batch]:
        """The next sessions to write, a slice in each turn of the loop."""
        batch = Batch()
        taken: dict[str, Any] = {}
        subscriptions = 0
        while self._dirty and len(taken) < BATCH_SIZE and subscriptions < SUBSCRIPTIONS_BATCH_SIZE:
            client_id = next(iter(self._dirty))
            what = self._dirty.pop(client_id)
            self._bytes -= len(client_id)
            peer, end = self._peers.pop(client_id, None), self._ends.pop(client_id, None)
            taken[client_id] = what, peer, end
            subscriptions += self._read(client_id, what, peer, end, batch)
            if len(taken) % SLICE == 0:
                await asyncio.sleep(0)
        return taken, batch

    def _read(self, client_id: str, what: int, peer: Any, end: Any, batch: Batch) -> int:
        """Put one session's rows into the batch; answers how many subscriptions those are."""
        key = names.client_key(client_id)
        left, subscribed = self._left.pop(client_id, (None, []))
        state = self._view.state(client_id)
        if state is None:
            state = left
        else:
            subscribed = self._view.subscribed(client_id) if what & SUBSCRIPTIONS else []
        if state is None:
            batch.gone.append(key)
            self._busy.pop(client_id, None)
            return 0
        username, address, level, connected_at = state.username, state.peer, state.level, state.connected_at
        if not state.online and peer is not None:
            username, address, level, connected_at = peer
        row = (
            key,
            self._node,
            self.epoch_of(client_id),
            state.online,
            (username or "")[:256],
            address.address[:45] if address is not None else "",
            address.port if address is not None else 0,
            address.transport if address is not None else "",
            level,
            state.clean_start,
            state.keepalive,
            _time(state.created_at),
            _time(connected_at) if connected_at else None,
            _time(end[2]) if end is not None and not state.online else None,
            end[0] if end is not None and not state.online else 0,
            end[1] if end is not None and not state.online else "",
            state.expiry_interval,
            _time(state.expires_at) if state.expires_at else None,
            state.subscriptions,
            state.inflight,
            state.queued,
            state.queued_bytes,
        )
        if state.online or peer is not None:
            batch.connected.append(row)
        elif end is not None:
            batch.ended.append(row)
        else:
            batch.counted.append(row)
        if state.queued:
            self._busy[client_id] = (state.queued, state.queued_bytes)
        else:
            self._busy.pop(client_id, None)
        if not what & SUBSCRIPTIONS:
            return 0
        batch.subscriptions[key] = subscribed
        return len(subscribed)

    def _look_at_queues(self) -> None:
        """Those that were looked at go to the end of the line."""
        for _ in range(min(LOOKED_AT, len(self._busy))):
            client_id = next(iter(self._busy))
            written = self._busy.pop(client_id)
            load = self._view.load(client_id)
            if load is None:
                continue
            self._busy[client_id] = written
            if load != written:
                self._note(client_id, SESSION)

    # ------------------------------------------------------------ comparing everything

    def _fill_from_sweep(self) -> bool:
        """Mark the next sessions of the node; False: all were."""
        found = False
        for client_id in self._sweep:
            found = True
            self._note(client_id, SESSION | SUBSCRIPTIONS)
            if len(self._dirty) >= BATCH_SIZE:
                break
        return found

    async def _forget_stale(self, after: str) -> None:
        """Rows of this node that have no session."""
        rows = await self._database.run(writer.of_node, self._node, after, BATCH_SIZE)
        gone = [key for key in rows if not self._is_here(key)]
        if gone:
            await self._database.run(writer.forget, self._node, gone)
        self._stale_after = rows[-1] if rows else None

    def _is_here(self, key: str) -> bool:
        if not names.is_shortened(key, names.CLIENT_ID):
            return self._view.load(key) is not None
        return any(names.client_key(each) == key for each in self._view.client_ids())


def _time(when: float) -> datetime:
    return datetime.fromtimestamp(when, UTC)
