"""HTTP requests wait in a line that is no longer than their clients' patience.

Django works on each request in a thread, so many at once make all of them late. Thus a few are worked on at a
time, nothing is done for who has left, and who could not be answered in time hears 503 at once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

AT_ONCE: Final = 16  # requests that are worked on
PATIENCE: Final = 10.0  # seconds that a client waits for its turn
FIRST_GUESS: Final = 0.05  # seconds that a request takes, before the first was measured
LEFT: Final = "gmqtt.left"  # key of the scope: a function that says whether the client has gone
# What tells whether the node is well has to be answered just when it is not.
ALWAYS: Final = ("/healthz", "/readyz", "/metrics")

App = Callable[..., Awaitable[None]]
Send = Callable[[Any], Awaitable[None]]


class Admission:
    """ASGI middleware. A request has its place until its answer begins."""

    def __init__(self, app: App, at_once: int = AT_ONCE, patience: float = PATIENCE) -> None:
        self._app = app
        self._at_once = at_once
        self._patience = patience
        self._seconds = FIRST_GUESS  # that a request takes
        self._running = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()  # has it its turn, or is it refused?
        self.refused = 0

    @property
    def bound(self) -> int:
        """How many may wait."""
        return max(1, int(self._at_once * self._patience / self._seconds))

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(ALWAYS):
            await self._app(scope, receive, send)
            return
        if not await self._admitted():
            self.refused += 1
            await _refuse(send)
            return
        began = time.monotonic()
        done = False

        def leave() -> None:
            nonlocal done
            if not done:
                done = True
                took = min(time.monotonic() - began, self._patience)
                self._seconds += (took - self._seconds) / 8
                self._next()

        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                leave()
            await send(message)

        try:
            if not scope.get(LEFT, _stays)():
                await self._app(scope, receive, watched)
            else:
                began = time.monotonic()
        finally:
            leave()

    async def _admitted(self) -> bool:
        if self._running < self._at_once:
            self._running += 1
            return True
        if len(self._waiting) >= self.bound:
            return False
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._patience):
                return await turn
        except TimeoutError:
            return self._has_turn(turn)
        except asyncio.CancelledError:
            if self._has_turn(turn):
                self._next()
            raise

    def _has_turn(self, turn: asyncio.Future[bool]) -> bool:
        if turn in self._waiting:
            self._waiting.remove(turn)
            return False
        return turn.done() and not turn.cancelled() and turn.result()

    def _next(self) -> None:
        while len(self._waiting) > self.bound:  # it takes longer than it did when they came
            _tell(self._waiting.pop(), False)
        while self._waiting:
            if _tell(self._waiting.popleft(), True):
                return
        self._running -= 1


def _tell(turn: asyncio.Future[bool], admitted: bool) -> bool:
    """False: it does not wait any more."""
    if turn.done():
        return False
    turn.set_result(admitted)
    return True


def _stays() -> bool:
    return False


async def _refuse(send: Send) -> None:
    body = json.dumps(
        {
            "type": "urn:gmqtt:problem:busy",
            "title": "Service Unavailable",
            "status": 503,
            "code": "busy",
            "detail": "More requests wait than can be answered in time.",
        }
    ).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"retry-after", b"5"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
