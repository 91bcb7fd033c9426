"""The SQLite file of a node's sessions. Used by one thread at a time; knows no loop."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from apps.gateway.broker.durable import Durable
from apps.gateway.broker.messages import Delivery, Message
from apps.gateway.sessions.batch import PLACE_BITS, Batch, Load, Outcome

APPLICATION: Final = 0x676D7174  # "gmqt", in the file's header
VERSION: Final = 1
PLACES: Final = (1 << PLACE_BITS) - 1

# A message for one session stands in its row of the queue; one for several is stored once, in `messages`,
# and goes with its last row.
SCHEMA: Final = """
CREATE TABLE sessions (key INTEGER PRIMARY KEY, client_id TEXT NOT NULL, username TEXT, created REAL NOT NULL,
    expiry INTEGER NOT NULL, expires_at REAL NOT NULL, online INTEGER NOT NULL);
CREATE UNIQUE INDEX sessions_client ON sessions (client_id);
CREATE TABLE subscriptions (session INTEGER, name TEXT, filter TEXT NOT NULL, share TEXT NOT NULL,
    qos INTEGER NOT NULL, no_local INTEGER NOT NULL, retain_as_published INTEGER NOT NULL,
    identifier INTEGER NOT NULL, PRIMARY KEY (session, name)) WITHOUT ROWID;
CREATE TABLE incoming (session INTEGER, packet_id INTEGER, PRIMARY KEY (session, packet_id)) WITHOUT ROWID;
CREATE TABLE messages (id INTEGER PRIMARY KEY, refs INTEGER NOT NULL, topic TEXT NOT NULL,
    payload BLOB NOT NULL, properties BLOB NOT NULL, origin TEXT NOT NULL);
CREATE TABLE queue (session INTEGER, seq INTEGER, packet_id INTEGER NOT NULL, state INTEGER NOT NULL,
    flags INTEGER NOT NULL, size INTEGER NOT NULL, expires REAL NOT NULL, queued_at REAL NOT NULL,
    identifiers BLOB, message INTEGER NOT NULL, topic TEXT, payload BLOB, properties BLOB, origin TEXT,
    PRIMARY KEY (session, seq)) WITHOUT ROWID;
CREATE INDEX queue_expires ON queue (expires) WHERE expires > 0;
CREATE TRIGGER unreferenced AFTER DELETE ON queue WHEN old.message <> 0 BEGIN
    UPDATE messages SET refs = refs - 1 WHERE id = old.message;
    DELETE FROM messages WHERE id = old.message AND refs <= 0;
END;
CREATE TABLE wills (client_id TEXT PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL,
    flags INTEGER NOT NULL, properties BLOB NOT NULL, lifetime REAL NOT NULL, delay INTEGER NOT NULL,
    at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL, qos INTEGER NOT NULL,
    properties BLOB NOT NULL, expires REAL NOT NULL, origin TEXT NOT NULL) WITHOUT ROWID;
"""
ROW: Final = (
    "SELECT q.seq, q.packet_id, q.state, q.flags, q.expires, q.queued_at, q.identifiers,"
    " coalesce(q.topic, m.topic), coalesce(q.payload, m.payload), coalesce(q.properties, m.properties),"
    " coalesce(q.origin, m.origin), q.session FROM queue q LEFT JOIN messages m ON m.id = q.message"
)


class StoreError(Exception):
    """The file cannot be used; the text says why, for the operator."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is queued for one session and not in flight."""

    count: int
    size: int


class Database:
    def __init__(self, path: Path, fsync: bool, max_bytes: int) -> None:
        """`fsync`: each transaction outlives a power cut, not only the process."""
        self._lock = -1
        try:
            self._lock = lock(path)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
            self._prepare(fsync, max_bytes)
        except OSError as error:
            self._unlock()
            raise StoreError(error.strerror or str(error)) from None
        except sqlite3.Error as error:
            self._unlock()
            locked = "locked" in str(error)
            raise StoreError("another process has it open" if locked else str(error)) from None
        except StoreError:
            self._unlock()
            raise
        self._next_message = self._one("SELECT coalesce(max(id), 0) FROM messages") + 1

    def _prepare(self, fsync: bool, max_bytes: int) -> None:
        run = self._db.execute
        # Not EXCLUSIVE, so that a backup can read a snapshot beside the node; one node to a file by `lock`.
        run("PRAGMA journal_mode = WAL")
        run(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
        run("PRAGMA cache_size = -16384")
        run("PRAGMA wal_autocheckpoint = 4000")
        run("PRAGMA journal_size_limit = 67108864")
        run("BEGIN IMMEDIATE")
        if not self._one("SELECT count(*) FROM sqlite_master"):
            for statement in SCHEMA.split(";\nC"):
                run(("" if statement.startswith("\nC") else "C") + statement.strip().rstrip(";"))
            run(f"PRAGMA application_id = {APPLICATION}")
            run(f"PRAGMA user_version = {VERSION}")
        elif self._one("PRAGMA application_id") != APPLICATION:
            raise StoreError("it is not a session store of this program")
        elif self._one("PRAGMA user_version") != VERSION:
            raise StoreError(f"its version is {self._one('PRAGMA user_version')}, this program's {VERSION}")
        run("COMMIT")
        self.limit(max_bytes)

    def limit(self, max_bytes: int) -> None:
        """The size that the file may grow to."""
        self._db.execute(f"PRAGMA max_page_count = {max(max_bytes // self._one('PRAGMA page_size'), 16)}")

    def shrink(self) -> None:
        """Give up the pages that are kept in memory."""
        self._db.execute("PRAGMA shrink_memory")

    def _one(self, statement: str, *values: Any) -> int:
        found = self._db.execute(statement, values).fetchone()
        return int(found[0])

    def close(self) -> None:
        self._db.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def connection(self) -> sqlite3.Connection:
        """For what fills or reads a store that no node uses."""
        return self._db

    def row_of(
        self, key: int, seq: int, delivery: Delivery, packet_id: int, state: int, number: int
    ) -> tuple[Any, ...]:
        """A row of the queue; `number`: its message stands in `messages` under it, 0: in the row."""
        return _row(key, seq, delivery, packet_id, state, number)

    # Writing ------------------------------------------------------------------------------------

    def write(self, batch: Batch) -> Outcome:
        """One transaction; then the pages that were asked for."""
        outcome = Outcome()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._apply(batch, outcome)
            self._db.execute("COMMIT")
            outcome.loads = [(load, self._page(load), 0, 0) for load in batch.loads]
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            return Outcome(error=str(error) or type(error).__name__)
        return outcome

    def _apply(self, batch: Batch, outcome: Outcome) -> None:
        many = self._db.executemany
        ends = [(key,) for key in batch.ends]
        if ends:
            many("DELETE FROM sessions WHERE key = ?", ends)
        if batch.saves:
            many("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)", batch.saves.values())
        for (key, name), row in batch.subscriptions.items():
            if row is None:
                self._db.execute("DELETE FROM subscriptions WHERE session = ? AND name = ?", (key, name))
            else:
                self._db.execute("INSERT OR REPLACE INTO subscriptions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        if batch.incoming:
            known = [each for each, is_known in batch.incoming.items() if is_known]
            free = [each for each, is_known in batch.incoming.items() if not is_known]
            many("INSERT OR IGNORE INTO incoming VALUES (?, ?)", known)
            many("DELETE FROM incoming WHERE session = ? AND packet_id = ?", free)
        self._put(batch)
        if batch.assigns:
            rows = [(*found, row >> PLACE_BITS, row & PLACES) for row, found in batch.assigns.items()]
            many("UPDATE queue SET packet_id = ?, state = ? WHERE session = ? AND seq = ?", rows)
        if batch.removes:
            many("DELETE FROM queue WHERE session = ? AND seq BETWEEN ? AND ?", _runs(batch.removes))
        outcome.purges = [(durable, self._purge(durable.key, newest)) for durable, newest in batch.purges]
        outcome.trims = [(durable, *self._trim(durable, *over)) for durable, *over in batch.trims]
        for table in ("queue", "subscriptions", "incoming") if ends else ():
            many(f"DELETE FROM {table} WHERE session = ?", ends)
        self._keep(batch)

    def _put(self, batch: Batch) -> None:
        if not batch.puts:
            return
        times: dict[int, int] = {}
        for put in batch.puts.values():
            message = put.delivery.message
            times[id(message)] = times.get(id(message), 0) + 1
        stored: dict[int, int] = {}
        messages: list[tuple[Any, ...]] = []
        rows: list[tuple[Any, ...]] = []
        for put in batch.puts.values():
            delivery = put.delivery
            message = delivery.message
            refs = times[id(message)]
            number = 0
            if refs > 1:
                number = stored.get(id(message), 0)
                if not number:
                    number = self._next_message
                    self._next_message += 1
                    stored[id(message)] = number
                    body = (message.topic, message.payload, message.properties, message.origin)
                    messages.append((number, refs, *body))
            rows.append(_row(put.durable.key, put.seq, delivery, put.packet_id, put.state, number))
        self._db.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)", messages)
        marks = ", ".join("?" * 14)
        self._db.executemany(f"INSERT OR REPLACE INTO queue VALUES ({marks})", rows)

    def _keep(self, batch: Batch) -> None:
        """Wills and retained messages."""
        for client_id, found in batch.wills.items():
            if found is None:
                self._db.execute("DELETE FROM wills WHERE client_id = ?", (client_id,))
                continue
            will, delay, at = found
            row = (client_id, will.topic, will.payload, will.qos | will.retain << 2, will.properties)
            self._db.execute(
                "INSERT OR REPLACE INTO wills VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, will.expires, delay, at),
            )
        for topic, message in batch.retained.items():
            if message is None:
                self._db.execute("DELETE FROM retained WHERE topic = ?", (topic,))
                continue
            self._db.execute(
                "INSERT OR REPLACE INTO retained VALUES (?, ?, ?, ?, ?, ?)",
                (topic, message.payload, message.qos, message.properties, message.expires, message.origin),
            )

    def _trim(self, durable: Durable, count: int, size: int) -> tuple[dict[str, int], int, int]:
        topics: Counter[str] = Counter()
        taken = freed = last = 0
        found = self._db.execute(
            "SELECT q.seq, q.size, coalesce(q.topic, m.topic) FROM queue q LEFT JOIN messages m"
            " ON m.id = q.message WHERE q.session = ? AND q.packet_id = 0 ORDER BY q.seq",
            (durable.key,),
        )
        for seq, octets, topic in found:
            if taken >= count and freed >= size:
                break
            taken += 1
            freed += octets
            last = seq
            topics[topic] += 1
        found.close()
        values = (durable.key, last)
        self._db.execute("DELETE FROM queue WHERE session = ? AND packet_id = 0 AND seq <= ?", values)
        return dict(topics), taken, freed

    def _purge(self, key: int, newest: int) -> dict[str, int]:
        """How many messages went, by topic."""
        which = "session = ? AND packet_id = 0 AND seq <= ?"
        found = self._db.execute(
            "SELECT coalesce(q.topic, m.topic), count(*) FROM queue q"
            f" LEFT JOIN messages m ON m.id = q.message WHERE {which} GROUP BY 1",
            (key, newest),
        ).fetchall()
        self._db.execute(f"DELETE FROM queue WHERE {which}", (key, newest))
        return dict(found)

    # Reading ------------------------------------------------------------------------------------

    def _page(self, load: Load) -> list[tuple[int, Delivery]]:
        return self.page(load.durable.key, load.after, load.count, load.size)

    def page(self, key: int, after: int, count: int, size: int) -> list[tuple[int, Delivery]]:
        """What is queued behind the place `after`, the first in any case."""
        found: list[tuple[int, Delivery]] = []
        rows = self._db.execute(
            f"{ROW} WHERE q.session = ? AND q.seq > ? AND q.packet_id = 0 ORDER BY q.seq LIMIT ?",
            (key, after, count),
        )
        for row in rows:
            delivery = delivery_of(row)
            size -= delivery.size
            if size < 0 and found:
                break
            found.append((row[0], delivery))
        rows.close()
        return found

    def sessions(self) -> list[tuple[Any, ...]]:
        return self._db.execute("SELECT * FROM sessions ORDER BY key").fetchall()

    def subscriptions(self, key: int) -> list[tuple[Any, ...]]:
        """Name, filter, share, QoS, no local, retain as published, identifier."""
        found = self._db.execute(
            "SELECT name, filter, share, qos, no_local, retain_as_published, identifier"
            " FROM subscriptions WHERE session = ?",
            (key,),
        )
        return found.fetchall()

    def incoming(self, key: int) -> list[int]:
        found = self._db.execute("SELECT packet_id FROM incoming WHERE session = ?", (key,))
        return [row[0] for row in found]

    def in_flight(self) -> list[tuple[int, int, int, int, Delivery]]:
        """Session key, place, packet identifier, state and message, in order."""
        rows = self._db.execute(f"{ROW} WHERE q.packet_id <> 0 ORDER BY q.session, q.seq")
        return [(row[11], row[0], row[1], row[2], delivery_of(row)) for row in rows]

    def waiting(self) -> dict[int, Waiting]:
        rows = self._db.execute(
            "SELECT session, count(*), sum(size) FROM queue WHERE packet_id = 0 GROUP BY session"
        )
        return {key: Waiting(count, size) for key, count, size in rows}

    def newest(self) -> dict[int, int]:
        """The last place of each session's queue."""
        return dict(self._db.execute("SELECT session, max(seq) FROM queue GROUP BY session"))

    def last_key(self) -> int:
        return self._one("SELECT coalesce(max(key), 0) FROM sessions")

    def wills(self) -> list[tuple[str, Message, int, float]]:
        """Client, will, delay in seconds, when it is due (0.0: the client was connected)."""
        found = []
        for client_id, topic, payload, flags, properties, lifetime, delay, at in self._db.execute(
            "SELECT * FROM wills"
        ):
            retain = bool(flags & 4)
            will = Message(topic, payload, flags & 3, retain, properties, lifetime, client_id)
            found.append((client_id, will, delay, at))
        return found

    def retained(self, now: float) -> list[Message]:
        self._db.execute("DELETE FROM retained WHERE expires > 0 AND expires <= ?", (now,))
        return [
            Message(topic, payload, qos, True, properties, expires, origin)
            for topic, payload, qos, properties, expires, origin in self._db.execute("SELECT * FROM retained")
        ]

    def expire(self, now: float) -> list[tuple[int, str, int, int]]:
        """Drop what expired in the queues of clients that are away: session, topic, messages, bytes."""
        which = (
            "q.expires > 0 AND q.expires <= ? AND q.packet_id = 0"
            " AND q.session IN (SELECT key FROM sessions WHERE online = 0)"
        )
        try:
            self._db.execute("BEGIN IMMEDIATE")
            found = self._db.execute(
                "SELECT q.session, coalesce(q.topic, m.topic), count(*), sum(q.size) FROM queue q"
                f" LEFT JOIN messages m ON m.id = q.message WHERE {which} GROUP BY 1, 2",
                (now,),
            ).fetchall()
            if found:
                self._db.execute(f"DELETE FROM queue AS q WHERE {which}", (now,))
            self._db.execute("DELETE FROM retained WHERE expires > 0 AND expires <= ?", (now,))
            self._db.execute("COMMIT")
        except sqlite3.Error:  # later, then
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            return []
        return found


def lock(path: Path) -> int:
    """The open lock file beside the store: whoever has it locked uses the store, until it is closed."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreError("another process has it open") from None
    return descriptor


def _runs(rows: list[int]) -> list[tuple[int, int, int]]:
    """Rows of the queue as runs of places (session, first, last): each step hands the interpreter over."""
    rows.sort()
    found: list[tuple[int, int, int]] = []
    first = last = rows[0]
    for row in rows:
        if row > last + 1:
            found.append((first >> PLACE_BITS, first & PLACES, last & PLACES))
            first = row
        last = row
    found.append((first >> PLACE_BITS, first & PLACES, last & PLACES))
    return found


def _row(key: int, seq: int, delivery: Delivery, packet_id: int, state: int, number: int) -> tuple[Any, ...]:
    message = delivery.message
    flags = delivery.qos | delivery.retain << 2 | message.qos << 3 | message.retain << 5
    identifiers = delivery.identifiers or None
    return (
        key,
        seq,
        packet_id,
        state,
        flags,
        delivery.size,
        message.expires,
        delivery.queued_at,
        identifiers,
        number,
        None if number else message.topic,
        None if number else message.payload,
        None if number else message.properties,
        None if number else message.origin,
    )


def delivery_of(row: tuple[Any, ...]) -> Delivery:
    flags, expires, queued_at, identifiers, topic, payload, properties, origin = row[3:11]
    message = Message(topic, payload, flags >> 3 & 3, bool(flags & 32), properties, expires, origin)
    delivery = Delivery(message, flags & 3, bool(flags & 4), identifiers or b"")
    delivery.queued_at = queued_at
    return delivery
