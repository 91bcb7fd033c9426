"""What the database knew of clients, kept on the node's disk for a start without the database.

Only with `auth.cache_grace`. It never stands for the database's answer: that is asked each time, and this is
believed where there is none. What is kept is current while its process follows what changes; from the last
time that it could, it is believed for `cache_grace`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Final

from apps.auth.facts import BanFacts, ClientFacts, ConnectFacts, CredentialFacts, RuleFacts

logger = logging.getLogger(__name__)

NAME: Final = "auth_cache.sqlite3"
FORMAT: Final = 1  # of the file; one of another format is emptied
WAITING: Final = 16 << 20  # characters that are not written yet; beyond them nothing is taken
BATCH_SIZE: Final = 500  # rows of a transaction; the loop waits for one at most
NOTED: Final = 10.0  # seconds; so old may the note be that changes are followed
TABLES: Final = """
CREATE TABLE IF NOT EXISTS facts (client_id TEXT PRIMARY KEY, at REAL NOT NULL, facts TEXT NOT NULL)
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS facts_at ON facts (at);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class Kept:
    """To be used on the loop. A file that fails is said once in the log, and nothing is kept from then on."""

    def __init__(self, path: Path, size: int, grace: float, now: Callable[[], float] = time.time) -> None:
        """`size`: clients at most. `grace`: seconds for which what is kept is believed."""
        self._size = size
        self._grace = grace
        self._now = now
        self._lock = threading.Lock()  # of the file and of what is being written
        self._waiting: dict[str, str] = {}
        self._writing: dict[str, str] = {}
        self.memory = 0  # characters of both
        self._bans: str | None = None
        self._followed = self._noted = 0.0  # when all changes were known; and what the file says of that
        self._file: sqlite3.Connection | None = None
        try:
            self._file = _opened(path)
            self._followed = self._noted = float(self._state("followed") or 0.0)
        except (sqlite3.Error, OSError, ValueError) as error:
            self._failed(error)

    def begin(self) -> None:
        """Changes are followed from now on. What was changed before that nobody knows."""
        self.forget(None)
        self.followed()

    def followed(self) -> None:
        """All changes until now are known."""
        self._followed = self._now()

    def put(self, client_id: str, facts: ConnectFacts) -> None:
        if self._file is None or self.memory >= WAITING:
            return
        text = json.dumps(asdict(facts))
        self.memory += len(text) - len(self._waiting.get(client_id, ""))
        self._waiting[client_id] = text

    def forget(self, client_ids: Collection[str] | None) -> None:
        """At once, on the disk, too: what was taken away is not to come back with the next start."""
        if self._file is None:
            return
        with self._using() as file:
            for waits in (self._waiting, self._writing):
                for client_id in list(waits) if client_ids is None else client_ids:
                    self.memory -= len(waits.pop(client_id, ""))
            if client_ids is None:
                file.execute("DELETE FROM facts")
            else:
                file.executemany("DELETE FROM facts WHERE client_id = ?", [(each,) for each in client_ids])

    def find(self, client_id: str) -> ConnectFacts | None:
        if self._file is None or self._now() - self._followed > self._grace:
            return None
        text = self._waiting.get(client_id) or self._writing.get(client_id)
        if text is None:
            row = None
            with self._using() as file:
                row = file.execute("SELECT facts FROM facts WHERE client_id = ?", (client_id,)).fetchone()
                text = row[0] if row is not None else None
        return _facts(json.loads(text)) if text is not None else None

    def keep_bans(self, bans: Collection[BanFacts]) -> None:
        self._bans = json.dumps([asdict(ban) for ban in bans])

    def bans(self) -> list[BanFacts] | None:
        """Those that were in force; None: that is not known."""
        if self._file is None or self._now() - self._followed > self._grace:
            return None
        text = self._bans or self._state("bans")
        return [BanFacts(**ban) for ban in json.loads(text)] if text else None

    async def flush(self) -> None:
        """Write what waits; to be called every second."""
        stale = self._followed - self._noted >= NOTED
        while self._file is not None and (self._waiting or self._bans is not None or stale):
            stale = False
            self._writing = {
                each: self._waiting.pop(each) for each in list(islice(self._waiting, BATCH_SIZE))
            }
            bans, self._bans = self._bans, None
            await asyncio.to_thread(self._write, bans)

    def _write(self, bans: str | None) -> None:
        now, followed = self._now(), self._followed
        with self._using() as file:
            rows = [(client_id, now, text) for client_id, text in self._writing.items()]
            self._writing = {}
            self.memory -= sum(len(text) for _, _, text in rows)
            file.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", rows)
            values = [("followed", repr(followed))] + ([("bans", bans)] if bans is not None else [])
            file.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", values)
            [count] = file.execute("SELECT count(*) FROM facts").fetchone()
            if count > self._size:
                file.execute(
                    "DELETE FROM facts WHERE client_id IN (SELECT client_id FROM facts ORDER BY at LIMIT ?)",
                    (count - self._size,),
                )
        self._noted = followed

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _state(self, name: str) -> str:
        row = None
        with self._using() as file:
            row = file.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return row[0] if row is not None else ""

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """A transaction. An error ends the keeping, and nothing else."""
        with self._lock:
            try:
                assert self._file is not None
                with self._file:
                    yield self._file
            except sqlite3.Error as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        logger.error("what is known of clients cannot be kept on disk: %s", error)
        self._waiting = {}
        self.memory = 0
        self.close()


def _opened(path: Path) -> sqlite3.Connection:
    """It has what secrets are checked by: for the node's user alone, as the database in the same folder."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    file = sqlite3.connect(path, check_same_thread=False, timeout=1.0)
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = OFF")  # it outlives the process; after a power cut it may be lost
    [version] = file.execute("PRAGMA user_version").fetchone()
    if version != FORMAT:
        file.executescript("DROP TABLE IF EXISTS facts; DROP TABLE IF EXISTS state;")
        file.execute(f"PRAGMA user_version = {FORMAT}")
    file.executescript(TABLES)
    return file


def _facts(found: dict[str, Any]) -> ConnectFacts:
    client = found["client"]
    return ConnectFacts(
        client=ClientFacts(**client) if client is not None else None,
        credentials=tuple(CredentialFacts(**each) for each in found["credentials"]),
        groups=tuple(found["groups"]),
        rules=tuple(RuleFacts(**each) for each in found["rules"]),
        bans=tuple(BanFacts(**each) for each in found["bans"]),
        account=found["account"],
    )
