"""Freeing what HTTP requests leave: Django, REST framework and the templates tie each in reference cycles.

The cyclic collector counts objects, not bytes: it comes after 50,000 new ones (`rungateway`), when some
hundred requests have left all that they read and answered. What was in work at that moment then waits twenty
times as long. So the young objects are looked through as soon as what was left is worth it, best between
requests.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any, Final

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

REQUEST: Final = 49_152  # bytes that a request of the console or the API leaves, beside the bodies
WORTH: Final = 2 << 20  # bytes; some 40 requests, which are freed in 3 to 5 ms
BUSY: Final = 4  # times that, where there is no moment without a request


class CyclesFreed:
    """An ASGI application for HTTP, behind which no more than a few MB wait for the collector."""

    def __init__(self, application: Application, collect: Callable[[int], Any] = gc.collect) -> None:
        self._application = application
        self._collect = collect
        self._open = 0  # requests in work
        self._left = 0  # bytes that those done may have left

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        bodies = _Bodies(receive, send)
        self._open += 1
        try:
            await self._application(scope, bodies.receive, bodies.send)
        finally:
            self._open -= 1
            self._left += REQUEST + bodies.size
            if self._left >= WORTH:  # in the next turn, when nobody refers to this request
                asyncio.get_running_loop().call_soon(self._free)

    def _free(self) -> None:
        """While a request is in work only the youngest objects are looked through: what is alive grows older
        by it, and the oldest are looked through next to never."""
        if self._left < (BUSY * WORTH if self._open else WORTH):
            return
        self._left = 0
        self._collect(0 if self._open else 1)


class _Bodies:
    """Passes everything on and adds up the bodies."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.size = 0

    async def receive(self) -> Any:
        message = await self._receive()
        self.size += len(message.get("body", b""))
        return message

    async def send(self, message: Any) -> None:
        self.size += len(message.get("body", b""))
        await self._send(message)
