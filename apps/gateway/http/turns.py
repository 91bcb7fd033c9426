"""Loop turns for what HTTP and WebSocket clients send: all of them together get a few milliseconds of each.

Twisted hands a protocol 64 KB at once. Of WebSocket frames without content, or of chunks of one byte, that is
a tenth of a second of work and more, and anybody can send them. So it is taken apart: small pieces as long as
there is time, the rest in later turns, one client after the other; who has a rest is not read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import Any, Final, Protocol

logger = logging.getLogger(__name__)

SHARE: Final = 0.004  # seconds of a loop turn for all
PIECE: Final = 512  # bytes, of the kind that costs most, that take well below a share


class Transport(Protocol):
    """What `connections.Socket` is: it can be kept from being read, whatever its protocol wants."""

    def hold(self) -> None: ...

    def release(self) -> None: ...


class Paced:
    """A Twisted protocol that handles its input by `handle`, a piece at a time."""

    factory: Any
    transport: Any
    rest = b""  # received, and not handled yet

    def dataReceived(self, data: bytes) -> None:
        self.factory.turns.take(self, data)

    def handle(self, data: bytes) -> None:
        raise NotImplementedError

    def at_once(self) -> int:
        """Bytes that belong together, so that more of them cost hardly more: of a frame, of a body."""
        return 0


class Turns:
    def __init__(self) -> None:
        self._waiting: deque[Paced] = deque()
        self._until = 0.0  # when this turn's share is used up
        self._counting = False  # this turn's share has begun

    def take(self, client: Paced, data: bytes) -> None:
        if client.rest:
            client.rest += data
            return
        if not self._counting:
            self._begin()
        client.rest = data
        if self._handle(client):
            return
        socket = _socket(client)
        if socket is not None:
            socket.hold()
        self._waiting.append(client)

    def _begin(self) -> None:
        self._counting = True
        self._until = time.perf_counter() + SHARE
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """The turn that follows one in which something came."""
        self._counting = False
        if not self._waiting:
            return
        self._begin()
        while self._waiting and time.perf_counter() < self._until:
            client = self._waiting.popleft()
            socket = _socket(client)
            try:
                done = self._handle(client)
            except Exception:  # as Twisted does where it reads
                logger.exception("what an HTTP or WebSocket client sent could not be handled")
                client.transport.abortConnection()
                continue
            if not done:
                self._waiting.append(client)
            elif socket is not None and not getattr(_protocol(client), "rest", b""):
                socket.release()

    def _handle(self, client: Paced) -> bool:
        """Handle what there is time for. True: that was all."""
        place = 0
        data, client.rest = client.rest, b""
        while place < len(data):
            if time.perf_counter() >= self._until:
                client.rest = data[place:]
                return False
            end = place + max(PIECE, client.at_once())
            client.handle(data[place:end] if place or end < len(data) else data)
            place = end
            follower = _protocol(client)
            if follower is not client:  # it has become a WebSocket, or is no more
                if isinstance(follower, Paced) and place < len(data):
                    self.take(follower, data[place:])
                return True
        return True


def _protocol(client: Paced) -> Any:
    """The protocol that its transport has now."""
    transport = client.transport
    return getattr(transport, "wrappedProtocol", None) or getattr(transport, "protocol", None)


def _socket(client: Paced) -> Transport | None:
    transport = client.transport
    below = getattr(transport, "transport", transport)  # of TLS
    return below if hasattr(below, "hold") else None
