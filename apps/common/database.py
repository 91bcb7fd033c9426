"""The database from the event loop: one thread, so that what is written comes in its order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, connections

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


def _nobody(seconds: float) -> None:
    """Nobody counts."""


# Told how long each batch took, the wait for its turn included. Set by the composition root.
observe: Callable[[float], None] = _nobody


class DatabaseUnavailable(Exception):
    """The database does not answer."""


class DatabaseThread:
    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._name = name
        self.down_since: float | None = None  # UNIX seconds

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` answers. Raises `DatabaseUnavailable` when it failed on a new connection, too."""
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        try:
            answer = await loop.run_in_executor(self._pool, lambda: _twice(function, *args, **kwargs))
        except (DatabaseError, InterfaceError) as error:
            if self.down_since is None:
                self.down_since = time.time()
                logger.error("%s: the database does not answer: %s", self._name, error)
            raise DatabaseUnavailable(str(error)) from error
        observe(time.monotonic() - began)
        if self.down_since is not None:
            logger.warning("%s: the database answers again", self._name)
            self.down_since = None
        return answer

    def close(self) -> None:
        self._pool.submit(connections.close_all)
        self._pool.shutdown(wait=True)


def _twice(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A connection that the server closed long ago is noticed only when it is used."""
    try:
        return function(*args, **kwargs)
    except (DatabaseError, InterfaceError):
        connections.close_all()
    try:
        return function(*args, **kwargs)
    except (DatabaseError, InterfaceError):
        connections.close_all()
        raise
