"""The thread on which a session store writes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol


class Loop(Protocol):
    """What of an event loop is needed."""

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> object: ...
    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Any: ...


class Worker:
    """Runs jobs one after the other on one thread, and their answers on the loop."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._pool = ThreadPoolExecutor(1, "sessions")

    def run(self, job: Callable[[], Any], answered: Callable[[Any], None]) -> None:
        def over(future: Future[Any]) -> None:
            if not future.cancelled():
                self._loop.call_soon_threadsafe(answered, future.result())

        self._pool.submit(job).add_done_callback(over)

    def later(self, delay: float, call: Callable[[], None]) -> None:
        self._loop.call_later(delay, call)

    def stop(self) -> None:
        """When what was begun is done."""
        self._pool.shutdown(wait=True)
