"""What a session store keeps, apart from how it keeps it: read from one, written into another.

`Contents` and `Filling` are what a store has to offer for that; here are those of a node's SQLite file.
Wills are no part of it: they are of connections, and those end.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from apps.gateway.broker.messages import Delivery, Message
from apps.gateway.broker.node import NEVER
from apps.gateway.mqtt import topics
from apps.gateway.sessions.database import APPLICATION, ROW, VERSION, Database, StoreError, delivery_of, lock

PAGE: Final = 500  # rows

# Name, QoS, no local, retain as published, identifier.
SavedSubscription = tuple[str, int, bool, bool, int]


@dataclass(frozen=True)
class SavedSession:
    client_id: str
    username: str  # "": none
    created: float  # UNIX seconds
    expiry: int  # seconds; NEVER: it does not end
    expires_at: int  # UNIX seconds; 0: it does not end
    subscriptions: list[SavedSubscription]  # by name
    # QoS 2 identifiers of the client's that are not free, and whether the message is where it has to go.
    incoming: list[tuple[int, bool]]


@dataclass(frozen=True)
class SavedMessage:
    """A message in a queue, in order; in flight where it has a packet identifier."""

    delivery: Delivery
    packet_id: int
    state: int
    shared: str  # messages of several queues that are one have the same; "": it is in this queue alone


class Contents(Protocol):
    def close(self) -> None: ...

    def sessions(self) -> Iterator[SavedSession]:
        """By client id."""

    def queue(self, client_id: str) -> Iterator[SavedMessage]:
        """Of the session that came last."""

    def retained(self) -> Iterator[Message]:
        """By topic."""


class Filling(Protocol):
    def session(self, session: SavedSession) -> None: ...

    def message(self, client_id: str, saved: SavedMessage) -> None:
        """At the end of the queue of the session that came last."""

    def retain(self, message: Message) -> None: ...

    def finish(self) -> None:
        """Everything is there: from now on it is the store's."""

    def undo(self) -> None:
        """Take out what is there already."""


def ends(expiry: int, expires_at: float, online: bool, now: float) -> int:
    """When the session ends if its client does not come back: one that is here counts as lost at `now`."""
    if expiry == NEVER:
        return 0
    return math.ceil(now + expiry if online or not expires_at else expires_at)


class SqliteContents:
    """Of a file that a node may be using: one read transaction, so all as it was at one instant."""

    def __init__(self, path: Path, now: float) -> None:
        """Raises `StoreError`."""
        self._now = now
        self._key = 0
        try:
            self._db = sqlite3.connect(
                f"{path.as_uri()}?mode=rw", uri=True, timeout=5.0, isolation_level=None
            )
            self._db.execute("PRAGMA query_only = 1")
            self._db.execute("BEGIN")
            if self._db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
                raise StoreError("it is not a session store of this program")
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found != VERSION:
                raise StoreError(f"its version is {found}, this program's {VERSION}")
        except sqlite3.Error as error:
            raise StoreError(str(error)) from None

    def close(self) -> None:
        self._db.close()

    def sessions(self) -> Iterator[SavedSession]:
        rows = self._db.execute(
            "SELECT key, client_id, username, created, expiry, expires_at, online FROM sessions"
            " WHERE expiry > 0 ORDER BY client_id"
        )
        for key, client_id, username, created, expiry, expires_at, online in rows:
            self._key = key
            end = ends(expiry, expires_at, bool(online), self._now)
            yield SavedSession(
                client_id, username or "", created, expiry, end, self._subscriptions(key), self._incoming(key)
            )

    def _subscriptions(self, key: int) -> list[SavedSubscription]:
        rows = self._db.execute(
            "SELECT name, qos, no_local, retain_as_published, identifier FROM subscriptions"
            " WHERE session = ? ORDER BY name",
            (key,),
        )
        return [(row[0], row[1], bool(row[2]), bool(row[3]), row[4]) for row in rows]

    def _incoming(self, key: int) -> list[tuple[int, bool]]:
        rows = self._db.execute("SELECT packet_id FROM incoming WHERE session = ? ORDER BY packet_id", (key,))
        return [(row[0], True) for row in rows]

    def queue(self, client_id: str) -> Iterator[SavedMessage]:
        start = ROW.replace("SELECT ", "SELECT q.message, ", 1)
        for row in self._db.execute(f"{start} WHERE q.session = ? ORDER BY q.seq", (self._key,)):
            yield SavedMessage(delivery_of(row[1:]), row[2], row[3], str(row[0]) if row[0] else "")

    def retained(self) -> Iterator[Message]:
        for topic, payload, qos, properties, expires, origin in self._db.execute(
            "SELECT topic, payload, qos, properties, expires, origin FROM retained ORDER BY topic"
        ):
            yield Message(topic, payload, qos, True, properties, expires, origin)


class SqliteFilling:
    """A new file beside the place of the store, which becomes the store when all is there."""

    def __init__(self, path: Path) -> None:
        """Raises `StoreError`."""
        self._path = path
        self._new = path.with_name(f"{path.name}.restoring")
        self._lock = lock(path)  # no node starts meanwhile
        try:
            if not is_empty(path):
                raise StoreError("it has sessions or retained messages already")
            self._remove()
            self._store = Database(self._new, True, 2**40)
        except StoreError:
            os.close(self._lock)
            raise
        self._db = self._store.connection
        self._db.execute("BEGIN IMMEDIATE")
        self._key = self._place = 0
        self._shared: dict[str, int] = {}
        self._is_finished = False

    def session(self, session: SavedSession) -> None:
        self._key += 1
        self._place = 0
        row = (self._key, session.client_id, session.username or None, session.created)
        self._db.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, 0)", (*row, session.expiry, session.expires_at)
        )
        for name, qos, no_local, as_published, identifier in session.subscriptions:
            share, filter = topics.split_share(name)
            values = (self._key, name, filter, share, qos, no_local, as_published, identifier)
            self._db.execute("INSERT INTO subscriptions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        arrived = [(self._key, packet_id) for packet_id, there in session.incoming if there]
        self._db.executemany("INSERT INTO incoming VALUES (?, ?)", arrived)

    def message(self, client_id: str, saved: SavedMessage) -> None:
        self._place += 1
        number = self._number(saved) if saved.shared else 0
        row = self._store.row_of(self._key, self._place, saved.delivery, saved.packet_id, saved.state, number)
        self._db.execute(f"INSERT INTO queue VALUES ({', '.join('?' * len(row))})", row)

    def _number(self, saved: SavedMessage) -> int:
        number = self._shared.get(saved.shared, 0)
        if not number:
            number = self._shared[saved.shared] = len(self._shared) + 1
            message = saved.delivery.message
            body = (message.topic, message.payload, message.properties, message.origin)
            self._db.execute("INSERT INTO messages VALUES (?, 0, ?, ?, ?, ?)", (number, *body))
        self._db.execute("UPDATE messages SET refs = refs + 1 WHERE id = ?", (number,))
        return number

    def retain(self, message: Message) -> None:
        values = (message.topic, message.payload, message.qos, message.properties, message.expires)
        self._db.execute("INSERT INTO retained VALUES (?, ?, ?, ?, ?, ?)", (*values, message.origin))

    def finish(self) -> None:
        self._db.execute("COMMIT")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._store.close()
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        os.replace(self._new, self._path)
        self._is_finished = True
        self._remove()
        os.close(self._lock)

    def undo(self) -> None:
        if self._is_finished:
            self._path.unlink(missing_ok=True)
            return
        self._store.close()
        self._remove()
        os.close(self._lock)

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm", ".lock"):
            self._new.with_name(self._new.name + suffix).unlink(missing_ok=True)


def is_empty(path: Path) -> bool:
    """Has the store neither sessions nor retained messages? Raises `StoreError` where it cannot be read."""
    if not path.exists():
        return True
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=1.0)) as db:
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                return True
            rows: list[Any] = [
                db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in ("sessions", "retained")
            ]
    except sqlite3.Error as error:
        raise StoreError(str(error)) from None
    return rows == [None, None]
