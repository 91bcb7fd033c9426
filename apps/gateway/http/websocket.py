"""WebSockets: daphne's, with bounds to what they buffer, and no reference cycles.

`server` imports this module once the reactor is there; nobody else needs it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from apps.gateway.broker.limits import NO_LIMIT
from apps.gateway.consumers import NORMAL_CLOSURE, SUBPROTOCOLS
from apps.gateway.http.frames import framed
from apps.gateway.http.turns import Paced

INBOUND_MARK: Final = 1_048_576  # bytes a WebSocket may have waiting for its consumer before we stop reading
AT_ONCE: Final = 64  # events that an application takes in one loop turn
EVENT_OVERHEAD: Final = 300  # bytes that an event costs beside its data
CLOSE_TIMEOUT: Final = 5  # seconds that a client has to take what was sent and to answer our close frame
GOING_AWAY: Final = 1001  # WebSocket close code


@implementer(IPushProducer)
class Flow:
    """What waits between one WebSocket and its consumer, both ways; daphne itself buffers without bound.

    It stands in for daphne's `asyncio.Queue`, too, which costs 3 KB a connection.
    """

    __slots__ = ("_events", "_getter", "_paused", "_resumed", "_taken", "_transport", "_waiting")

    def __init__(self) -> None:
        self._transport: Any = None
        self._events: list[dict[str, Any]] = []
        self._getter: asyncio.Future[None] | None = None
        self._resumed: asyncio.Future[None] | None = None  # while the client reads too slowly
        self._waiting = 0  # bytes the application has not received
        self._paused = False
        self._taken = 0  # events since others had their turn

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

    @property
    def is_blocked(self) -> bool:
        """True while the client reads too slowly."""
        return self._resumed is not None

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
        self._taken += 1
        if self._taken >= AT_ONCE:
            self._taken = 0
            await asyncio.sleep(0)
        while not self._events:
            self._taken = 0
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


class FlowControlledWebSocket(Paced, WebSocketProtocol):
    """Of a WebSocket that speaks MQTT the bytes are handed on as they come.

    Packets and frames have nothing to do with each other [MQTT-6.0.0-2], so no frame is put together
    here, where no budget would count it; `Connection` puts packets together.
    """

    flow: Flow | None = None
    streams = False  # speaks MQTT
    _cutting: asyncio.TimerHandle | None = None  # the time that the client has to end the connection, too

    def onOpen(self) -> None:
        self.streams = self.websocket_protocol_in_use in SUBPROTOCOLS
        if self.streams:  # a packet that is too large for us is MQTT's to refuse
            self.maxFramePayloadSize, self.maxMessagePayloadSize = NO_LIMIT, 0
        if self.flow is not None:
            self.flow.open(self.transport)
        super().onOpen()

    def handle(self, data: bytes) -> None:
        WebSocketProtocol.dataReceived(self, data)

    def at_once(self) -> int:
        frame = getattr(self, "current_frame", None)  # none before the handshake
        return int(frame.length - self.current_frame_masker.pointer()) if frame is not None else 0

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

    def serverSend(self, content: Any, binary: bool = False) -> None:
        if self.streams and binary and self.state == self.STATE_OPEN:
            self.sendData(framed(content))
        else:
            super().serverSend(content, binary)

    def serverClose(self, code: int | None = None) -> None:
        """As daphne's, but with any code: autobahn's public method lets applications use only a few."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=NORMAL_CLOSURE if code is None else code)

    def dropConnection(self, abort: bool = False) -> None:
        """Both have sent their close frames: TLS and TCP end in order, too (RFC 6455, 7.1.1).

        autobahn resets the connection, and what is on its way to the client may be lost with that. Who does
        not take it in time is cut off.
        """
        if self.wasClean and self.state != self.STATE_CLOSED:
            abort = False
            loop = asyncio.get_running_loop()
            self._cutting = loop.call_later(CLOSE_TIMEOUT, self.transport.abortConnection)
        super().dropConnection(abort)

    def connectionLost(self, reason: Any) -> None:
        """Cut the cycles through what daphne and autobahn keep: timers and Deferreds with bound methods."""
        if self._cutting is not None:
            self._cutting.cancel()
            self._cutting = None
        self.rest = b""
        super().connectionLost(reason)
        for name in _TIMERS:
            timer = getattr(self, name, None)
            if timer is not None:
                timer.cancel()
                setattr(self, name, None)
        self.application_deferred = self.handshake_deferred = self.is_closed = None

    def onPing(self, payload: bytes) -> None:
        """Answer, unless the client does not read what it was sent: then the next ping may ask again."""
        if self.flow is None or not self.flow.is_blocked:
            super().onPing(payload)

    def go_away(self) -> None:
        """The node stops; MQTT tells its clients itself."""
        if not self.streams:
            self.serverClose(GOING_AWAY)

    def check_timeouts(self) -> None:
        """No WebSocket pings to MQTT clients: one that we do not read at the moment could not answer."""
        if not self.streams:
            super().check_timeouts()
