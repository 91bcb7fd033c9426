"""HTTP and WebSocket connections: daphne's, with bounds to what they buffer and an end that is seen.

`server` imports this module once the reactor is there; nobody else needs it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import tcp
from twisted.internet.interfaces import IPushProducer
from twisted.protocols.tls import BufferingTLSTransport
from zope.interface import implementer

from apps.gateway.broker.limits import NO_LIMIT
from apps.gateway.consumers import NORMAL_CLOSURE, SUBPROTOCOLS

INBOUND_MARK: Final = 1_048_576  # bytes a WebSocket may have waiting for its consumer before we stop reading
EVENT_OVERHEAD: Final = 300  # bytes that an event costs beside its data
CLOSE_TIMEOUT: Final = 5  # seconds that a client has to take what was sent and to answer our close frame
GOING_AWAY: Final = 1001  # WebSocket close code
MAX_BODY: Final = 16_777_216  # bytes of an HTTP request
TOO_LARGE: Final = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TCP_INFO: Final = getattr(socket, "TCP_INFO", 0)  # Linux
TCP_CLOSE: Final = 7  # state: the connection is no more


@implementer(IPushProducer)
class Flow:
    """What waits between one WebSocket and its consumer, both ways; daphne itself buffers without bound.

    It stands in for daphne's `asyncio.Queue`, too, which costs 3 KB a connection.
    """

    __slots__ = ("_events", "_getter", "_paused", "_resumed", "_transport", "_waiting")

    def __init__(self) -> None:
        self._transport: Any = None
        self._events: list[dict[str, Any]] = []
        self._getter: asyncio.Future[None] | None = None
        self._resumed: asyncio.Future[None] | None = None  # while the client reads too slowly
        self._waiting = 0  # bytes the application has not received
        self._paused = False

    def open(self, transport: Any) -> None:
        """The handshake is done: watch the transport."""
        self._transport = transport
        transport.unregisterProducer()  # the HTTP channel's, which stops reading when writing stalls
        transport.registerProducer(self, True)

    def pauseProducing(self) -> None:
        if self._resumed is None:
            self._resumed = asyncio.get_running_loop().create_future()

    def resumeProducing(self) -> None:
        if self._resumed is not None:
            self._resumed.set_result(None)
            self._resumed = None

    def stopProducing(self) -> None:
        self.resumeProducing()

    async def writable(self) -> None:
        while self._resumed is not None:
            await asyncio.shield(self._resumed)

    def put_nowait(self, event: dict[str, Any]) -> None:
        """An event for the application; above INBOUND_MARK bytes of them the client is not read."""
        self._events.append(event)
        self._waiting += _size(event)
        if self._waiting > INBOUND_MARK and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pauseProducing()
        if self._getter is not None and not self._getter.done():
            self._getter.set_result(None)

    async def get(self) -> dict[str, Any]:
        while not self._events:
            self._getter = asyncio.get_running_loop().create_future()
            await self._getter
        event = self._events.pop(0)
        self._waiting -= _size(event)
        if self._paused and self._waiting <= INBOUND_MARK // 2:
            self._paused = False
            self._transport.resumeProducing()
        return event


def _size(event: dict[str, Any]) -> int:
    return EVENT_OVERHEAD + len(event.get("bytes") or event.get("text") or b"")


# Attributes of autobahn's protocol.
_TIMERS: Final = (
    "openHandshakeTimeoutCall",
    "closeHandshakeTimeoutCall",
    "serverConnectionDropTimeoutCall",
    "autoPingPendingCall",
    "autoPingTimeoutCall",
)


class FlowControlledWebSocket(WebSocketProtocol):  # type: ignore[misc]
    """Of a WebSocket that speaks MQTT the bytes are handed on as they come.

    Packets and frames have nothing to do with each other [MQTT-6.0.0-2], so no frame is put together
    here, where no budget would count it; `Connection` puts packets together.
    """

    flow: Flow | None = None
    streams = False  # speaks MQTT

    def onOpen(self) -> None:
        self.streams = self.websocket_protocol_in_use in SUBPROTOCOLS
        if self.streams:  # a packet that is too large for us is MQTT's to refuse
            self.maxFramePayloadSize, self.maxMessagePayloadSize = NO_LIMIT, 0
        if self.flow is not None:
            self.flow.open(self.transport)
        super().onOpen()

    def onMessageFrameData(self, payload: bytes) -> None:
        if not self.streams:
            super().onMessageFrameData(payload)
        elif payload and not self.failedByMe:
            self.onMessage(payload, self.message_is_binary)

    def onMessageFrameEnd(self) -> None:
        if not self.streams:
            super().onMessageFrameEnd()

    def onMessageEnd(self) -> None:
        if not self.streams:
            super().onMessageEnd()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.streams and not isBinary:  # a part of a text need not be UTF-8, and nobody will read it
            payload = b""
        super().onMessage(payload, isBinary)

    def serverClose(self, code: int | None = None) -> None:
        """As daphne's, but with any code: autobahn's public method lets applications use only a few."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=NORMAL_CLOSURE if code is None else code)

    def connectionLost(self, reason: Any) -> None:
        """Cut the cycles through what daphne and autobahn keep: timers and Deferreds with bound methods."""
        super().connectionLost(reason)
        for name in _TIMERS:
            timer = getattr(self, name, None)
            if timer is not None:
                timer.cancel()
                setattr(self, name, None)
        self.application_deferred = self.handshake_deferred = self.is_closed = None

    def go_away(self) -> None:
        """The node stops; MQTT tells its clients itself."""
        if not self.streams:
            self.serverClose(GOING_AWAY)

    def check_timeouts(self) -> None:
        """No WebSocket pings to MQTT clients: one that we do not read at the moment could not answer."""
        if not self.streams:
            super().check_timeouts()


class Socket(tcp.Server):  # type: ignore[misc]
    """An accepted socket that is read to its end.

    After an error (the peer's reset) libuv polls a socket no more and uvloop lets it be read just once:
    the end behind what is unread then would never be seen, and the descriptor never closed.
    """

    _reads = False

    def startReading(self) -> None:
        self._reads = True
        super().startReading()

    def stopReading(self) -> None:
        self._reads = False
        super().stopReading()

    def doRead(self) -> Any:
        end = super().doRead()
        while end is None and self._reads and self._is_dead():
            end = super().doRead()
        return end

    def _is_dead(self) -> bool:
        if not TCP_INFO:
            return False
        return bool(self.socket.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1)[0] == TCP_CLOSE)


class TlsTransport(BufferingTLSTransport):  # type: ignore[misc]
    """Twisted's, but that the error which ended it has no traceback: its frames refer to the transport."""

    def _tlsShutdownFinished(self, reason: Any) -> None:
        if reason is not None:
            reason.value.__traceback__ = reason.tb = None
        super()._tlsShutdownFinished(reason)

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self._reason = self._producer = None


class Request(WebRequest):  # type: ignore[misc]
    """An HTTP request with an end: daphne writes the whole body to the disk before anybody sees it."""

    _size = 0

    def process(self) -> Any:
        done = super().process()
        if self.transport is None and self.channel is not None:  # a WebSocket now: this request is over
            self.channel.requests.clear()
            self.channel = None
        return done

    def handleContentChunk(self, data: bytes) -> None:
        allowed = self._size <= MAX_BODY
        self._size += len(data)
        if self._size <= MAX_BODY:
            super().handleContentChunk(data)
        elif allowed:
            self.channel.transport.write(TOO_LARGE)
            self.channel.loseConnection()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._size <= MAX_BODY:
            super().requestReceived(command, path, version)


class Factory(HTTPFactory):  # type: ignore[misc]
    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol
