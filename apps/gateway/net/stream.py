"""One TCP or TLS connection: asyncio's protocol on one side, the broker's `Link` on the other.

What the socket brings goes straight into `Connection.feed`; only control packets wake the ASGI
application that owns the connection (a consumer), by way of `receive`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection
    from apps.gateway.broker.ports import Peer
    from apps.gateway.net.server import MqttServer

logger = logging.getLogger(__name__)

HIGH_MARK: Final = 262_144  # bytes in the transport's buffer above which the client counts as slow
LOW_MARK: Final = 65_536
SLICE: Final = 65_536  # bytes of one client that are handled before others have their turn
CLOSE_TIMEOUT: Final = 5.0  # seconds that a client has to take what was sent before the close
LINGER: Final = 1.0  # seconds that it has to close its side, when everything was sent

CONTROL: Final = {"type": "mqtt.control"}
DISCONNECT: Final = {"type": "mqtt.disconnect"}


class _Gone:
    """In the place of a transport that is no more: the transport and its TLS state are freed at once."""

    def is_closing(self) -> bool:
        return True

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


GONE: Final = _Gone()


class Stream(asyncio.Protocol):
    """An asyncio protocol and a `ports.Link` in one object: there are very many of them."""

    __slots__ = (
        "_closer",
        "_early",
        "_events",
        "_held",
        "_rest",
        "_server",
        "_waiter",
        "connection",
        "peer",
        "secure",
        "transport",
    )

    def __init__(self, server: MqttServer, peer: Peer | None = None) -> None:
        self._server = server
        self.peer = peer  # None: to be read from the transport
        self.connection: Connection | None = None
        self.secure = False  # it has TLS
        self.transport: Any = None
        self._early: bytes | None = None  # arrived before the application attached
        self._rest: bytes | None = None  # of a long read, not fed yet
        self._held = False  # the connection does not want to be read
        self._events = 0  # 1: control packet, 2: disconnected; bits not yet received
        self._waiter: asyncio.Future[None] | None = None
        self._closer: asyncio.TimerHandle | None = None

    # asyncio ----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(HIGH_MARK, LOW_MARK)
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        if connection is None:
            self._early = data if self._early is None else self._early + data
            self.transport.pause_reading()
            return
        if len(data) > SLICE:
            self._rest = data
            self.transport.pause_reading()
            self._feed_slice()
        else:
            self._feed(connection, data)

    def _feed_slice(self) -> None:
        """One slice of a long read, and the next one in the next loop turn: others have their turn, too."""
        rest, connection = self._rest, self.connection
        if rest is None or connection is None:
            return
        piece = rest[:SLICE]
        if len(rest) > SLICE:
            self._rest = rest[SLICE:]
            self._server.loop.call_soon(self._feed_slice)
        else:
            self._rest = None
            if not self._held and not self.transport.is_closing():
                self.transport.resume_reading()
        self._feed(connection, piece)

    def _feed(self, connection: Connection, data: bytes) -> None:
        try:
            connection.feed(data, self._server.now())
        except Exception:  # a bug of ours must not take other clients down
            logger.exception("client %r: a packet could not be handled", connection.client_id)
            self.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Free what belongs to the connection here: reference counts alone must do it."""
        self._server.disconnected(self)
        if self._closer is not None:
            self._closer.cancel()
            self._closer = None
        connection, self.connection = self.connection, None
        self.transport = GONE
        self._early = self._rest = None
        if connection is not None:
            connection.lost(self._server.now())
        self._events |= 2
        self._wake()

    def pause_writing(self) -> None:
        if self.connection is not None:
            self.connection.pause()

    def resume_writing(self) -> None:
        if self.connection is not None:
            self.connection.drained(self._server.now())

    # ASGI -------------------------------------------------------------------------------------------

    def attach(self, connection: Connection) -> None:
        """The application's connection takes over; what came before it is fed to it."""
        if self.transport is GONE:  # the client was quicker
            connection.lost(self._server.now())
            return
        self.connection = connection
        if self._early is not None:
            early, self._early = self._early, None
            self.transport.resume_reading()
            self.data_received(early)

    async def receive(self) -> dict[str, str]:
        """`mqtt.control`: a packet waits for a decision. `mqtt.disconnect`: the end."""
        while not self._events:
            self._waiter = self._server.loop.create_future()
            await self._waiter
        if self._events & 1:
            self._events &= ~1
            return CONTROL
        return DISCONNECT

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    # Link -------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def close(self) -> None:
        """Send what is left and end our side, then take in and discard until the client ends its own.

        A socket closed with bytes unread is reset, and the client never reads why we closed.
        """
        transport = self.transport
        if transport.is_closing():
            return
        behind = transport.get_write_buffer_size() > LOW_MARK  # it has not been reading: why should it now
        self._closer = self._server.loop.call_later(CLOSE_TIMEOUT if behind else LINGER, transport.abort)
        if behind or not transport.can_write_eof():  # TLS has a closing handshake of its own
            transport.close()
            return
        transport.write_eof()
        transport.resume_reading()

    def abort(self) -> None:
        self.transport.abort()

    def pause_reading(self) -> None:
        self._held = True
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self._held = False
        if self._rest is None:
            self.transport.resume_reading()

    def control(self) -> None:
        self._events |= 1
        self._wake()
