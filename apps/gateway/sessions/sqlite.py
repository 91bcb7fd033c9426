"""The session store of a node that stands alone: a file, and one transaction for each batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from apps.gateway.broker.durable import Durable
from apps.gateway.broker.node import Node
from apps.gateway.broker.session import Session
from apps.gateway.sessions import restore
from apps.gateway.sessions.batch_store import BatchStore, Jobs
from apps.gateway.sessions.database import Database
from apps.gateway.sessions.worker import Worker

CACHE: Final = 16 << 20  # bytes, as `PRAGMA cache_size` in `database`
UPKEEP: Final = 10.0  # seconds between looks for what has expired


class SqliteStore(BatchStore):
    """`ports.SessionStore` over one file."""

    def __init__(
        self, path: Path, node: Node, worker: Jobs, fsync: bool = False, max_bytes: int = 2**40
    ) -> None:
        """Raises `StoreError`."""
        self.database = Database(path, fsync, max_bytes)
        self._path = path
        super().__init__(self.database, node, worker, self.database.last_key())

    def restore(self, now: float) -> None:
        """Bring back what the last process left; then the store is the node's."""
        self._node.store = self
        restore.everything(self.database, self._node, now)
        self._worker.later(UPKEEP, self._upkeep)

    def begin(self, session: Session) -> Durable:
        self._key += 1
        return Durable(session, self, self._key)

    def _pages(self) -> int:
        """SQLite's cache, as far as the file can fill it."""
        return min(self._path.stat().st_size, CACHE)

    def shrink(self, done: Callable[[None], None]) -> None:
        """Empty SQLite's cache, where memory is short."""
        if not self._closed:
            self._worker.run(self.database.shrink, done)

    def _upkeep(self) -> None:
        if self._closed:
            return
        now = self._node.now
        self._worker.run(lambda: self.database.expire(now), self._expired)
        self._worker.later(UPKEEP, self._upkeep)

    def _expired(self, found: list[tuple[int, str, int, int]]) -> None:
        restore.expired(self._node, found)


def build(
    path: Path, node: Node, loop: asyncio.AbstractEventLoop, fsync: bool, max_bytes: int
) -> SqliteStore:
    """With the sessions that the last process left. `StoreError`, `sqlite3.Error`."""
    store = SqliteStore(path, node, Worker(loop), fsync, max_bytes)
    store.restore(node.now)
    return store
