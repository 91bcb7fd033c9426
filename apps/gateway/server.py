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
from twisted.internet import reactor, tcp  # noqa: E402
from twisted.internet.interfaces import IPushProducer, ISSLTransport  # noqa: E402
from twisted.internet.ssl import CertificateOptions  # noqa: E402
from twisted.protocols.tls import TLSMemoryBIOFactory  # noqa: E402
from zope.interface import implementer  # noqa: E402

from apps.gateway.broker.limits import NO_LIMIT  # noqa: E402
from apps.gateway.consumers import NORMAL_CLOSURE, SUBPROTOCOLS  # noqa: E402

logger = logging.getLogger(__name__)

INBOUND_MARK: Final = 1_048_576  # bytes a WebSocket may have waiting for its consumer before we stop reading
EVENT_OVERHEAD: Final = 300  # bytes that an event costs beside its data
CLOSE_TIMEOUT: Final = 5  # seconds that a client has to take what was sent and to answer our close frame
GOING_AWAY: Final = 1001  # WebSocket close code
TCP_INFO: Final = getattr(socket, "TCP_INFO", 0)  # Linux
TCP_CLOSE: Final = 7  # state: the connection is no more


@implementer(IPushProducer)
class _Flow:
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


class FlowControlledWebSocket(WebSocketProtocol):  # type: ignore[misc]
    """Of a WebSocket that speaks MQTT the bytes are handed on as they come.

    Packets and frames have nothing to do with each other [MQTT-6.0.0-2], so no frame is put together
    here, where no budget would count it; `Connection` puts packets together.
    """

    flow: _Flow | None = None
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

    def go_away(self) -> None:
        """The node stops; MQTT tells its clients itself."""
        if not self.streams:
            self.serverClose(GOING_AWAY)

    def check_timeouts(self) -> None:
        """No WebSocket pings to MQTT clients: one that we do not read at the moment could not answer."""
        if not self.streams:
            super().check_timeouts()


class _Socket(tcp.Server):  # type: ignore[misc]
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


@dataclass
class HttpListener:
    """A bound and listening socket for HTTP and WebSocket; with `cert` and `key` (PEM) over TLS."""

    socket: socket.socket
    cert: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None  # clients are asked for a certificate of this CA's; they need not have one


class GatewayServer(Server):  # type: ignore[misc]
    """Runs until SIGINT or SIGTERM, then in order; a second signal ends it at once."""

    def __init__(
        self,
        application: Callable[..., Any],
        http: list[HttpListener],
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
        connect_timeout: float,
        shutdown_timeout: float,
    ) -> None:
        """`start` opens the MQTT side when the loop runs; `stop` is its ordered shutdown.

        Both together, the shutdown of the MQTT side and of ours, take at most `shutdown_timeout` seconds.
        `connect_timeout`: seconds that a client may be silent before and between its requests.
        """
        super().__init__(
            application,
            endpoints=["sockets opened by us"],  # daphne insists on one; `_open` below opens them
            signal_handlers=False,
            ping_interval=30,
            ping_timeout=30,
            websocket_timeout=-1,  # MQTT's keepalive decides
            ready_callable=self._open,
            server_name="gmqtt",
        )
        self.endpoints = []
        self._http = http
        self._start = start
        self._stop = stop
        self._connect_timeout = connect_timeout
        self._shutdown_timeout = shutdown_timeout
        self.failed = False  # it could not start
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    def _open(self) -> None:
        self.ws_factory.protocol = FlowControlledWebSocket
        # Who breaks the WebSocket protocol gets a close frame with the reason, too.
        self.ws_factory.setProtocolOptions(closeHandshakeTimeout=CLOSE_TIMEOUT, failByDrop=False)
        self.http_factory.timeOut = self._connect_timeout
        reactor.callWhenRunning(self._running)

    def _running(self) -> None:
        loop = asyncio.get_event_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        for listener in self._http:
            factory: Any = self.http_factory
            if listener.cert is not None and listener.key is not None:
                options = _certificate_options(listener.cert, listener.key, listener.client_ca)
                factory = TLSMemoryBIOFactory(options, False, factory)
            port = reactor.adoptStreamPort(listener.socket.fileno(), listener.socket.family, factory)
            port.transport = _Socket
            self.listeners.append(port)
        self._starting = loop.create_task(self._begin())

    async def _begin(self) -> None:
        try:
            await self._start()
        except Exception:
            logger.exception("the node could not start")
            self.failed = True
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
        try:
            async with asyncio.timeout(self._shutdown_timeout):
                for port in self.listeners:
                    port.stopListening()
                for listener in self._http:  # the port had a descriptor of its own
                    listener.socket.close()
                await self._stop()
                await self._finish_applications()
        except TimeoutError:
            logger.warning("some clients were cut off: they did not go in time")
        except Exception:
            logger.exception("the shutdown was not in order")
        self.stop()

    async def _finish_applications(self) -> None:
        """Let WebSockets close and requests end; MQTT has told its WebSockets to close already."""
        running = set()
        for protocol, details in self.connections.items():
            if isinstance(protocol, FlowControlledWebSocket):
                protocol.go_away()
            if "application_instance" in details:
                running.add(details["application_instance"])
        if running:
            await asyncio.wait(running)

    def kill_all_applications(self) -> None:
        """Cancel what runs; daphne's own expects every connection to have an application still."""
        for details in self.connections.values():
            if "application_instance" in details:
                details["application_instance"].cancel()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """As daphne's, but that WebSockets get bounded buffers and know whether they are secure."""
        if scope["type"] != "websocket":
            return super().create_application(protocol, scope)
        scope["scheme"] = "ws"
        if ISSLTransport.providedBy(protocol.transport):
            scope["scheme"] = "wss"
            certificate = protocol.transport.getPeerCertificate()
            if certificate is not None:  # the key is that of ASGI's TLS extension
                name = certificate.to_cryptography().subject.rfc4514_string()
                scope["extensions"] = {"tls": {"client_cert_name": name}}
        scope["asgi"] = {"version": "3.0"}
        protocol.flow = _Flow()
        instance = self.application(scope, protocol.flow.get, partial(self.handle_reply, protocol))
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(instance)
        return protocol.flow

    async def handle_reply(self, protocol: Any, message: Any) -> None:
        flow = getattr(protocol, "flow", None)
        if flow is not None and message["type"] == "websocket.send":
            await flow.writable()
        await super().handle_reply(protocol, message)


def _certificate_options(cert: Path, key: Path, client_ca: Path | None) -> CertificateOptions:
    """TLS 1.2 or newer (Twisted's default), with the chain that stands in `cert`."""
    chain = x509.load_pem_x509_certificates(cert.read_bytes())
    return CertificateOptions(
        privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, key.read_bytes()),
        certificate=crypto.X509.from_cryptography(chain[0]),
        extraCertChain=[crypto.X509.from_cryptography(each) for each in chain[1:]],
        verify=client_ca is not None,
        requireCertificate=False,
        caCerts=_authorities(client_ca) if client_ca is not None else None,
    )


def _authorities(client_ca: Path) -> list[crypto.X509]:
    return [
        crypto.X509.from_cryptography(each)
        for each in x509.load_pem_x509_certificates(client_ca.read_bytes())
    ]
