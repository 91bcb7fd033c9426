"""The custom protocol server: daphne's HTTP and WebSocket server and the MQTT listeners, on one loop.

Import this module before anything that imports Twisted: daphne installs its reactor, on uvloop, when
it is first imported.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop
from cryptography import x509
from OpenSSL import crypto

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

from daphne.server import Server  # noqa: E402
from daphne.ws_protocol import WebSocketProtocol  # noqa: E402
from twisted.internet import reactor  # noqa: E402
from twisted.internet.interfaces import IPushProducer, ISSLTransport  # noqa: E402
from twisted.internet.ssl import CertificateOptions  # noqa: E402
from twisted.protocols.tls import TLSMemoryBIOFactory  # noqa: E402
from zope.interface import implementer  # noqa: E402

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[Any]]

INBOUND_MARK: Final = 1_048_576  # bytes a WebSocket may have waiting for its consumer before we stop reading


@implementer(IPushProducer)
class _Flow:
    """Backpressure of one WebSocket, both ways: daphne itself buffers without bound."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting = 0  # bytes the application has not received
        self._paused = False
        transport.unregisterProducer()  # the HTTP channel's, which stops reading when writing stalls
        transport.registerProducer(self, True)

    def pauseProducing(self) -> None:
        self._writable.clear()

    def resumeProducing(self) -> None:
        self._writable.set()

    def stopProducing(self) -> None:
        self._writable.set()

    async def writable(self) -> None:
        await self._writable.wait()

    def arrived(self, size: int) -> None:
        self._waiting += size
        if self._waiting > INBOUND_MARK and not self._paused:
            self._paused = True
            self._transport.pauseProducing()

    def taken(self, size: int) -> None:
        self._waiting -= size
        if self._paused and self._waiting <= INBOUND_MARK // 2:
            self._paused = False
            self._transport.resumeProducing()


class FlowControlledWebSocket(WebSocketProtocol):  # type: ignore[misc]
    flow: _Flow | None = None

    def onOpen(self) -> None:
        self.flow = _Flow(self.transport)
        super().onOpen()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.flow is not None:
            self.flow.arrived(len(payload))
        super().onMessage(payload, isBinary)


async def _metered(protocol: FlowControlledWebSocket, receive: Receive) -> Any:
    """`receive`, telling the WebSocket how much the application has taken."""
    event = await receive()
    if event["type"] == "websocket.receive" and protocol.flow is not None:
        data = event.get("bytes")
        protocol.flow.taken(len(data if data is not None else event["text"].encode()))
    return event


@dataclass
class HttpListener:
    """A bound and listening socket for HTTP and WebSocket; with `cert` and `key` (PEM) over TLS."""

    socket: socket.socket
    cert: Path | None = None
    key: Path | None = None


class GatewayServer(Server):  # type: ignore[misc]
    """Runs until SIGINT or SIGTERM, then in order; a second signal ends it at once."""

    def __init__(
        self,
        application: Callable[..., Any],
        http: list[HttpListener],
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
        max_message_size: int,
    ) -> None:
        """`start` opens the MQTT side when the loop runs; `stop` is its ordered shutdown."""
        self._asgi = application
        super().__init__(
            self._application,
            endpoints=["sockets opened by us"],  # daphne insists on one; `_open` below opens them
            signal_handlers=False,
            ping_interval=30,
            ping_timeout=30,
            websocket_timeout=-1,  # MQTT's keepalive decides
            websocket_max_message_size=max_message_size,
            websocket_max_frame_size=max_message_size,
            ready_callable=self._open,
            server_name="gmqtt",
        )
        self.endpoints = []
        self._http = http
        self._start = start
        self._stop = stop
        self._stopping: asyncio.Task[None] | None = None

    def _open(self) -> None:
        self.ws_factory.protocol = FlowControlledWebSocket
        reactor.callWhenRunning(self._running)

    def _running(self) -> None:
        loop = asyncio.get_event_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        for listener in self._http:
            factory: Any = self.http_factory
            if listener.cert is not None and listener.key is not None:
                factory = TLSMemoryBIOFactory(_context_factory(listener.cert, listener.key), False, factory)
            port = reactor.adoptStreamPort(listener.socket.fileno(), listener.socket.family, factory)
            self.listeners.append(port)
        loop.create_task(self._begin())

    async def _begin(self) -> None:
        try:
            await self._start()
        except Exception:
            logger.exception("the node could not start")
            self.stop()

    def _signalled(self) -> None:
        if self._stopping is not None:  # the second one
            logger.warning("stopping at once")
            self.kill_now()
            return
        self._stopping = asyncio.get_event_loop().create_task(self._shut_down())

    def kill_now(self) -> None:
        """No goodbyes: the process ends as it stands."""
        logging.shutdown()
        os._exit(130)

    async def _shut_down(self) -> None:
        for port in self.listeners:
            port.stopListening()
        try:
            await self._stop()
        except Exception:
            logger.exception("the shutdown was not in order")
        self.stop()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if scope["type"] == "websocket":
            scope["scheme"] = "wss" if ISSLTransport.providedBy(protocol.transport) else "ws"
            scope["gmqtt.protocol"] = protocol
        return super().create_application(protocol, scope)

    async def _application(self, scope: dict[str, Any], receive: Receive, send: Any) -> None:
        protocol = scope.pop("gmqtt.protocol", None)
        if protocol is not None:
            receive = partial(_metered, protocol, receive)
        await self._asgi(scope, receive, send)

    async def handle_reply(self, protocol: Any, message: Any) -> None:
        flow = getattr(protocol, "flow", None)
        if flow is not None:
            await flow.writable()
        await super().handle_reply(protocol, message)


def _context_factory(cert: Path, key: Path) -> CertificateOptions:
    """TLS 1.2 or newer (Twisted's default), with the chain that stands in `cert`."""
    chain = x509.load_pem_x509_certificates(cert.read_bytes())
    return CertificateOptions(
        privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, key.read_bytes()),
        certificate=crypto.X509.from_cryptography(chain[0]),
        extraCertChain=[crypto.X509.from_cryptography(each) for each in chain[1:]],
    )
