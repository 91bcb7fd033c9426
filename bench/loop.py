"""The epoll loop of the load generator, flat out or paced."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Final

from .actors import Actor, Gate, Publisher

STALL: Final = 5.0  # seconds of silence after which what is missing counts as lost


class DeadlineExceeded(Exception):
    """A run took longer than its scenario allows."""


class Loop:
    def __init__(self, actors: Sequence[Actor], deadline: float, gate: Gate | None = None) -> None:
        """``deadline``: a time of `time.monotonic`."""
        self._actors = {actor.link.fileno: actor for actor in actors}
        self._pending = len(actors)
        self._deadline = deadline
        self._gate = gate
        self._epoll = select.epoll()
        self._watched: set[int] = set()  # connections that wait for room to write
        for fileno in self._actors:
            self._epoll.register(fileno, select.EPOLLIN)

    def close(self) -> None:
        self._epoll.close()

    def drive(self) -> bool:
        """Start the actors, run until each has what it waits for; False when the broker fell silent."""
        for actor in self._actors.values():
            actor.start()
            self._watch(actor)
        while self._pending:
            if not self._turn(STALL):
                return False
            if time.monotonic() > self._deadline:
                raise DeadlineExceeded(f"{self._pending} of {len(self._actors)} connections not done")
        return True

    def pace(self, publishers: Sequence[Publisher], rate: float) -> list[int]:
        """Send ``rate`` messages a second in all, evenly, the publishers in turn; then wait for the rest.

        Returns how late each message left, in ns: what is due while the loop works leaves after it.
        """
        late: list[int] = []
        interval = 1e9 / rate
        total = sum(publisher.count for publisher in publishers)
        start = time.perf_counter_ns()
        for number in range(total):
            due = start + int(number * interval)
            while (wait := due - time.perf_counter_ns()) > 0:
                # select(2) on the epoll descriptor waits microseconds, epoll_wait(2) only milliseconds
                if select.select([self._epoll], [], [], wait / 1e9)[0]:
                    self._turn(0)
            late.append(-wait)
            publisher = publishers[number % len(publishers)]
            publisher.send_next()
            self._watch(publisher)
            if time.monotonic() > self._deadline:
                raise DeadlineExceeded(f"{number} of {total} messages sent")
        while self._pending and self._turn(STALL):
            pass
        return late

    def linger(self, seconds: float) -> None:
        """Take what still comes: nothing, from a correct broker."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._turn(left)

    def _turn(self, timeout: float) -> bool:
        events = self._epoll.poll(timeout)
        for fileno, mask in events:
            actor = self._actors[fileno]
            if mask & select.EPOLLOUT:
                actor.writable()
            if mask & ~select.EPOLLOUT and actor.readable():
                self._pending -= 1
            if actor.link.blocked or fileno in self._watched:
                self._watch(actor)
        if self._gate is not None:
            self._gate.turn()
        return bool(events)

    def _watch(self, actor: Actor) -> None:
        fileno = actor.link.fileno
        if actor.link.blocked == (fileno in self._watched):
            return
        if actor.link.blocked:
            self._watched.add(fileno)
            self._epoll.modify(fileno, select.EPOLLIN | select.EPOLLOUT)
        else:
            self._watched.discard(fileno)
            self._epoll.modify(fileno, select.EPOLLIN)
