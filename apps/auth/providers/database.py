"""The database from an event loop: a few threads that ask it, and a word on whether it answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import DatabaseError, InterfaceError, OperationalError, connections

from apps.auth import callers
from apps.auth.callers import Overloaded, Pace
from apps.auth.providers.base import Unavailable
from apps.common import database

logger = logging.getLogger(__name__)

AWAY: Final = 0.5  # seconds after a failure

P = ParamSpec("P")
T = TypeVar("T")

FIRST_GUESS: Final = 0.002  # seconds that one question takes, before the first was measured


class Database:
    """Runs functions that use the ORM, for no caller (`callers.asking`) longer than `patience` seconds."""

    def __init__(self, threads: int = 4, patience: float = 10.0) -> None:
        self.threads = threads
        self.patience = patience
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="auth-database")
        self._pace = Pace(threads, patience, FIRST_GUESS)
        self._running = 0
        self.down_since: float | None = None  # UNIX seconds
        self._failed_at = 0.0  # monotonic

    @property
    def away(self) -> bool:
        """It did not answer just now: who knows another answer need not wait for it to fail once more."""
        return self.down_since is not None and time.monotonic() - self._failed_at < AWAY

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`Unavailable` when the database cannot be asked, `Overloaded` when it could not answer in time;
        what `function` raises otherwise.

        Where a connection fails, `function` is called a second time on a new one.
        """
        caller = callers.current()
        if caller is not None and self._running >= self._pace.bound:
            raise Overloaded("too many questions wait for the database")

        def work() -> T:
            if caller is not None and not caller.waits(self.patience):
                raise Overloaded("nobody waits for the answer any more")
            started = time.monotonic()
            try:
                return _call_twice(function, *args, **kwargs)
            finally:
                self._pace.took(time.monotonic() - started)

        self._running += 1
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        try:
            answer = await loop.run_in_executor(self._pool, work)
        except (DatabaseError, InterfaceError) as error:
            self._failed_at = time.monotonic()
            if self.down_since is None:
                self.down_since = time.time()
                logger.error("the database does not answer: %s", error)
            raise Unavailable(f"database: {error}") from error
        finally:
            self._running -= 1
        database.observe(time.monotonic() - began)
        if self.down_since is not None:
            logger.warning("the database answers again")
            self.down_since = None
        return answer

    async def write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, for services: what they announce after the commit is sent on this loop, not from afar."""
        call = sync_to_async(_call, thread_sensitive=False, executor=self._pool)
        try:
            answer: T = await call(function, *args, **kwargs)
        except (DatabaseError, InterfaceError) as error:
            raise Unavailable(f"database: {error}") from error
        return answer

    def close(self) -> None:
        """Let running work end and the threads' connections close."""
        for _ in range(self.threads):
            self._pool.submit(connections.close_all)
        self._pool.shutdown(wait=True)


def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Connections stay open: to open one costs more than most questions. One that failed is closed."""
    try:
        return function(*args, **kwargs)
    except (DatabaseError, InterfaceError):
        connections.close_all()
        raise


def _call_twice(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `_call`; once more on a new connection, as the server may have closed the old one long ago."""
    try:
        return _call(function, *args, **kwargs)
    except (OperationalError, InterfaceError):
        return _call(function, *args, **kwargs)
