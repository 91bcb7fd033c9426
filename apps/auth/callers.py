"""Who waits for an answer, and how many can be answered before they give up.

A queue that is longer than its callers' patience does all its work for connections that are gone. So nothing
is done for who has left or has waited too long, and who comes too late to be served in time hears it at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from apps.auth.providers.base import Unavailable


class Overloaded(Unavailable):
    """It would not be answered in time; the caller should try again later."""


class Caller:
    """One who asks, at `since`. `left`: has the connection ended?"""

    __slots__ = ("gave_up", "left", "since")

    def __init__(self, left: Callable[[], bool]) -> None:
        self.left = left
        self.gave_up = False
        self.since = time.monotonic()

    def waits(self, patience: float) -> bool:
        return not self.gave_up and not self.left() and time.monotonic() - self.since < patience


_current: ContextVar[Caller | None] = ContextVar("caller", default=None)


def current() -> Caller | None:
    """For whom this task works; None: for nobody who would give up, such as a reader of changes."""
    return _current.get()


@contextmanager
def asking(left: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """What is asked within is for a caller with patience."""
    token = _current.set(Caller(left))
    try:
        yield
    finally:
        _current.reset(token)


class Pace:
    """How many may wait for `workers`, by what one piece of work took of late."""

    def __init__(self, workers: int, patience: float, first_guess: float) -> None:
        self._workers = workers
        self.patience = patience  # seconds
        self._seconds = first_guess

    @property
    def bound(self) -> int:
        return max(1, int(self._workers * self.patience / self._seconds))

    def took(self, seconds: float, pieces: int = 1) -> None:
        self._seconds = max(self._seconds + (seconds / pieces - self._seconds) / 8, 1e-6)
