"""The Channels consumers that speak MQTT: raw TCP and TLS (scope type "mqtt") and WebSocket.

Both keep to a plain `receive` loop: Channels' own dispatch makes a task and visits the database
connections for every event. A consumer sleeps while its client is connected and silent; on TCP even
while data flows, because the protocol server feeds `Connection` directly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from channels.consumer import AsyncConsumer

from apps.gateway.broker.connection import Connection
from apps.gateway.broker.ports import Peer
from apps.gateway.http.origins import OriginCheck
from apps.gateway.http.peer import PROXIED
from apps.gateway.net.decisions import decide
from apps.gateway.net.stream import SLICE
from apps.gateway.net.tls import common_name
from apps.gateway.runtime import Runtime

logger = logging.getLogger(__name__)

SUBPROTOCOLS: Final = ("mqtt", "mqttv3.1")
HIGH_MARK: Final = 262_144  # bytes on their way through `send` above which the client counts as slow
UNSUPPORTED_DATA: Final = 1003  # WebSocket close code: text where MQTT is binary [MQTT-6.0.0-1]
NORMAL_CLOSURE: Final = 1000
CLOSE_TIMEOUT: Final = 5.0  # seconds that a client has to take what was sent before the close
INTERNAL_ERROR: Final = 1011

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class MqttConsumer(AsyncConsumer):
    """One MQTT client on a byte stream. `scope["mqtt.link"]` is its transport (`net.stream.Stream`)."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        runtime = self.runtime
        link = scope["mqtt.link"]
        connection = Connection(runtime.node, link, scope["mqtt.peer"], runtime.now())
        runtime.node.opened(connection)
        link.attach(connection)
        while (await receive())["type"] != "mqtt.disconnect":
            try:
                await decide(connection, runtime.authenticator, runtime.now)
            except Exception:  # a bug of ours must not leave the client waiting
                logger.exception("client %r: no decision on its packet", connection.client_id)
                link.abort()


class WebSocketConsumer(AsyncConsumer):
    """One MQTT client on a WebSocket (section 6)."""

    def __init__(self, runtime: Runtime, origins: OriginCheck, certificate_required: bool = False) -> None:
        self.runtime = runtime
        self.origins = origins
        self.certificate_required = certificate_required  # on secure WebSockets

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        offered = scope.get("subprotocols", [])
        chosen = next((name for name in offered if name in SUBPROTOCOLS), None)
        peer = _peer(scope)
        uncertified = self.certificate_required and peer.transport == "wss" and not peer.tls_subject
        foreign = not self.origins.permits(scope.get("headers", ()))
        if foreign:
            logger.info("a page of another site was refused a WebSocket (listeners.websocket_origins)")
        if chosen is None or uncertified or foreign:  # [MQTT-6.0.0-3]
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept", "subprotocol": chosen})
        runtime = self.runtime
        link = _WebSocketLink(send, runtime.now)
        connection = Connection(runtime.node, link, peer, runtime.now())
        link.connection = connection
        runtime.node.opened(connection)
        try:
            await self._serve(connection, link, receive)
        finally:
            connection.lost(runtime.now())
            link.abort()

    async def _serve(self, connection: Connection, link: _WebSocketLink, receive: Receive) -> None:
        runtime = self.runtime
        while True:
            event = await receive()
            if event["type"] != "websocket.receive":
                return
            data = event.get("bytes")
            if data is None:
                link.close_with(UNSUPPORTED_DATA)
                return
            try:
                for start in range(0, len(data), SLICE):
                    if start:
                        await asyncio.sleep(0)  # others have their turn
                    connection.feed(data[start : start + SLICE], runtime.now())
                    if connection.pending is not None:
                        await decide(connection, runtime.authenticator, runtime.now)
            except Exception:  # a bug of ours must not take other clients down
                logger.exception("client %r: a packet could not be handled", connection.client_id)
                link.close_with(INTERNAL_ERROR)
                return
            await link.reading_resumed()


def _peer(scope: dict[str, Any]) -> Peer:
    client = scope.get("client") or ("", 0)
    subject = scope.get("extensions", {}).get("tls", {}).get("client_cert_name") or ""
    scheme = "wss" if scope.get("scheme") == "wss" else "ws"
    return Peer(client[0], client[1], scheme, subject, common_name(subject), scope.get(PROXIED, False))


class _WebSocketLink:
    """`ports.Link` over ASGI: output is gathered and sent by a task that ends when there is no more."""

    def __init__(self, send: Send, now: Callable[[], float]) -> None:
        self.connection: Connection | None = None
        self._send = send
        self._now = now
        self._chunks: list[bytes] = []
        self._size = 0
        self._sender: asyncio.Task[None] | None = None
        self._patience: asyncio.Timeout | None = None  # of the sender; without end until we close
        self._close_code = 0  # 0: open
        self._release: asyncio.Event | None = None

    def write(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_MARK and self.connection is not None:
            self.connection.pause()
        self._start()

    def _start(self) -> None:
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT if self._close_code else None) as self._patience:
                    await self._send_chunks()
            except TimeoutError:
                self.abort()
            self._patience = None
            if self._close_code:
                await self._send({"type": "websocket.close", "code": self._close_code})
        except (OSError, RuntimeError) as error:  # the peer vanished; uvloop says so with a RuntimeError
            logger.debug("WebSocket output lost: %s", error)
            self.abort()
        finally:
            self._sender = None

    async def _send_chunks(self) -> None:
        while self._chunks:
            chunks, self._chunks = self._chunks, []
            await self._send({"type": "websocket.send", "bytes": b"".join(chunks)})
            if not self._chunks:
                self._size = 0
                if self.connection is not None:
                    self.connection.drained(self._now())
            else:
                self._size = sum(map(len, self._chunks))

    def close(self) -> None:
        self.close_with(NORMAL_CLOSURE)

    def close_with(self, code: int) -> None:
        if not self._close_code:
            self._close_code = code
            if self._patience is not None:
                self._patience.reschedule(asyncio.get_running_loop().time() + CLOSE_TIMEOUT)
            self._start()
        if self._release is not None:
            self._release.set()

    def abort(self) -> None:
        """The peer is gone: whatever was not sent has nowhere to go."""
        self._chunks.clear()

    def pause_reading(self) -> None:
        if self._release is None:
            self._release = asyncio.Event()

    def resume_reading(self) -> None:
        if self._release is not None:
            self._release.set()
            self._release = None

    async def reading_resumed(self) -> None:
        """Wait while the connection does not want to read."""
        if self._release is not None:
            await self._release.wait()

    def control(self) -> None:
        """Nobody to wake: the consumer looks at `pending` after each message."""


async def refuse_websocket(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """ASGI application for paths where no WebSocket is served: 403."""
    await receive()
    await send({"type": "websocket.close"})
