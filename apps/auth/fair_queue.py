"""Who is next when work is dear: nobody's wrong attempts come before another's first."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAX_KEYS: Final = 20_000  # addresses, and names at an address, whose attempts are remembered
HALF_LIFE: Final = 60.0  # seconds after which half of the attempts are forgotten
FIRST_GUESS: Final = 0.3  # seconds that one piece of work takes, before the first was measured


class Busy(Exception):
    """Too many wait; the client should try again later."""


@dataclass(frozen=True)
class Asker:
    """Who wants work done. `left`: has the client gone, so that nobody waits for the answer?"""

    address: str = ""
    name: str = ""  # the user name that came, or the client id
    left: Callable[[], bool] = lambda: False


NOBODY: Final = Asker()


class _Waiting:
    def __init__(self, asker: Asker, since: float) -> None:
        self.asker = asker
        self.since = since
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class FairQueue:
    """At most `slots` work at once and `most` wait, no more than can be served within `patience` seconds.

    The next is of the address with the fewest recent failures and the fewest that wait before it; within an
    address, of the name that was tried least since it was right, so that who comes back at once after being
    refused does not push others out. Where it is full the last by this order is refused, new or not.
    """

    def __init__(
        self, slots: int, most: int, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.running = 0
        self._slots = slots
        self._most = most
        self._patience = patience
        self._clock = clock
        self._waiting: list[_Waiting] = []  # as they came
        self._tries: dict[tuple[str, ...], tuple[float, float]] = {}  # count, when it was right
        self._seconds = FIRST_GUESS  # that one piece of work takes

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def bound(self) -> int:
        """How many may wait."""
        return min(self._most, max(1, int(self._slots * self._patience / self._seconds)))

    async def enter(self, asker: Asker) -> None:
        """Returns when it is the asker's turn, who then calls `leave`. Raises `Busy`."""
        self._tried((asker.address, asker.name))
        if self.running < self._slots:
            self.running += 1
            return
        mine = _Waiting(asker, self._clock())
        self._waiting.append(mine)
        self._sweep()
        if len(self._waiting) > self.bound:
            self._refuse(self._in_order()[-1])
        try:
            async with asyncio.timeout(self._patience):
                await mine.turn
        except TimeoutError:
            self._gave_up(mine)
            raise Busy from None
        except asyncio.CancelledError:
            self._gave_up(mine)
            raise

    def leave(self, asker: Asker, seconds: float, succeeded: bool) -> None:
        """The work is done; it took so many seconds, 0.0 if there was none after all."""
        if seconds:
            self._seconds += (seconds - self._seconds) / 8
        if succeeded:
            self._tries.pop((asker.address, asker.name), None)
        else:
            self._tried((asker.address,))
        self._next()

    def _next(self) -> None:
        self.running -= 1
        self._sweep()
        if self._waiting:
            first = self._in_order()[0]
            self._waiting.remove(first)
            self.running += 1
            first.turn.set_result(None)

    def _gave_up(self, mine: _Waiting) -> None:
        if mine in self._waiting:
            self._waiting.remove(mine)
        elif mine.turn.done() and not mine.turn.cancelled() and mine.turn.exception() is None:
            self._next()  # it had its turn already, and does not take it

    def _sweep(self) -> None:
        """No work for who has left."""
        for each in [each for each in self._waiting if each.turn.done() or each.asker.left()]:
            self._refuse(each)

    def _refuse(self, waiting: _Waiting) -> None:
        self._waiting.remove(waiting)
        if not waiting.turn.done():
            waiting.turn.set_exception(Busy())

    def _in_order(self) -> list[_Waiting]:
        addresses: dict[str, list[tuple[float, int, _Waiting]]] = {}
        before: Counter[tuple[str, str]] = Counter()
        for number, each in enumerate(self._waiting):
            name = (each.asker.address, each.asker.name)
            score = before[name] + self._recent(name)
            before[name] += 1
            addresses.setdefault(each.asker.address, []).append((score, number, each))
        ranked: list[tuple[float, int, _Waiting]] = []
        for address, mine in addresses.items():
            failures = self._recent((address,))
            mine.sort(key=_place)
            ranked.extend(
                (failures + position, number, each) for position, (_, number, each) in enumerate(mine)
            )
        ranked.sort(key=_place)
        return [each for _, _, each in ranked]

    def _recent(self, key: tuple[str, ...]) -> float:
        count, then = self._tries.get(key, (0.0, 0.0))
        return float(count * 0.5 ** ((self._clock() - then) / HALF_LIFE)) if count else 0.0

    def _tried(self, key: tuple[str, ...]) -> None:
        count = self._recent(key) + 1
        self._tries.pop(key, None)
        if len(self._tries) >= MAX_KEYS:
            del self._tries[next(iter(self._tries))]
        self._tries[key] = (count, self._clock())


def _place(ranked: tuple[float, int, _Waiting]) -> tuple[float, int]:
    return ranked[:2]
