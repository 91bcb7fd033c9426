"""The database from an event loop: a few threads that ask it, and a word on whether it answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import DatabaseError, InterfaceError, OperationalError, connections

from apps.auth.providers.base import Unavailable
from apps.common import database

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """Runs functions that use the ORM. Where `waiting` of them wait already, the answer is Unavailable."""

    def __init__(self, threads: int = 4, waiting: int = 20_000) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="auth-database")
        self._waiting = waiting
        self._running = 0
        self.down_since: float | None = None  # UNIX seconds

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`Unavailable` when the database cannot be asked; what `function` raises otherwise.

        Where a connection fails, `function` is called a second time on a new one.
        """
        if self._running >= self._waiting:
            raise Unavailable("too many questions wait for the database")
        self._running += 1
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        try:
            answer = await loop.run_in_executor(self._pool, lambda: _call_twice(function, *args, **kwargs))
        except (DatabaseError, InterfaceError) as error:
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
