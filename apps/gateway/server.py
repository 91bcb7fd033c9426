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
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop
from cryptography import x509
from OpenSSL import crypto

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

from daphne.server import Server  # noqa: E402
from twisted.internet import reactor  # noqa: E402
from twisted.internet.interfaces import ISSLTransport  # noqa: E402
from twisted.internet.ssl import CertificateOptions, TLSVersion  # noqa: E402
from twisted.protocols.tls import TLSMemoryBIOFactory  # noqa: E402

from apps.gateway.broker.limits import Limits  # noqa: E402
from apps.gateway.http.admission import LEFT  # noqa: E402
from apps.gateway.http.connections import Factory, Gate, Socket, TlsTransport  # noqa: E402
from apps.gateway.http.peer import PROXIED  # noqa: E402
from apps.gateway.http.turns import Turns  # noqa: E402
from apps.gateway.http.websocket import CLOSE_TIMEOUT, Flow, FlowControlledWebSocket  # noqa: E402
from apps.gateway.net.handshakes import Handshakes  # noqa: E402
from apps.gateway.net.proxy import Network  # noqa: E402
from apps.gateway.net.tls import Tls, revocation_lists  # noqa: E402

logger = logging.getLogger(__name__)

_VERSIONS: Final = {
    "1.0": TLSVersion.TLSv1_0,
    "1.1": TLSVersion.TLSv1_1,
    "1.2": TLSVersion.TLSv1_2,
    "1.3": TLSVersion.TLSv1_3,
}


@dataclass
class HttpListener:
    """A bound and listening socket for HTTP and WebSocket; with `tls` over TLS."""

    socket: socket.socket
    tls: Tls | None = None  # clients are asked for a certificate of its CA's; they need not have one
    handshakes: Handshakes = field(default_factory=Handshakes)
    proxies: Sequence[Network] = ()  # whose connections are those of many
    proxy_protocol: bool = False  # these begin with a PROXY header
    contexts: RenewableContext | None = None  # where it listens with TLS

    def prepare(self) -> Callable[[], None]:
        """Read the certificate again; what is answered puts it to use for new connections."""
        return self.contexts.prepare() if self.contexts is not None else lambda: None


class RenewableContext:
    """Twisted asks for a context at each connection: it gets that of the files as they were last read."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._context = make()

    def getContext(self) -> Any:
        return self._context

    def prepare(self) -> Callable[[], None]:
        made = self._make()

        def put_to_use() -> None:
            self._context = made

        return put_to_use


class _Reply:
    """ASGI's `send` of one application, which lets go of the connection when the application has ended.

    Django's handler leaves its frames in reference cycles; the connection must not wait for the collector.
    """

    def __init__(self, handle: Callable[[Any, Any], Awaitable[None]], protocol: Any) -> None:
        self._handle = handle
        self._protocol = protocol

    async def __call__(self, message: Any) -> None:
        if self._protocol is not None:
            await self._handle(self._protocol, message)

    def forget(self, _: Any) -> None:
        self._protocol = None


class GatewayServer(Server):
    """Runs until SIGINT or SIGTERM, then in order; a second signal ends it at once."""

    def __init__(
        self,
        application: Callable[..., Any],
        http: list[HttpListener],
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
        limits: Limits,
        shutdown_timeout: float,
        reload: Callable[[], None] = lambda: None,
    ) -> None:
        """`start` opens the MQTT side when the loop runs; `stop` is its ordered shutdown.

        Both together, the shutdown of the MQTT side and of ours, take at most `shutdown_timeout` seconds.
        `limits.connect_timeout`: seconds that a client may be silent before and between its requests, and in
        which the headers of one must have come.
        `reload` is called at SIGHUP.
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
        self.endpoints: list[Any] = []
        self._http = http
        self._start = start
        self._stop = stop
        self._limits = limits
        self._reload = reload
        self._shutdown_timeout = shutdown_timeout
        self.failure: Exception | None = None  # why it could not start
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    def _open(self) -> None:
        self.ws_factory.protocol = FlowControlledWebSocket
        # Who breaks the WebSocket protocol gets a close frame with the reason, too.
        self.ws_factory.setProtocolOptions(closeHandshakeTimeout=CLOSE_TIMEOUT, failByDrop=False)
        self.ws_factory.turns = Turns()
        self.http_factory = Factory(self, self._limits, self.ws_factory.turns)
        self.http_factory.timeOut = self._limits.connect_timeout
        reactor.callWhenRunning(self._running)

    def _running(self) -> None:
        loop = asyncio.get_event_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        for listener in self._http:
            factory: Any = self.http_factory
            if listener.tls is not None:
                listener.contexts = RenewableContext(partial(_context, listener.tls))
                factory = TLSMemoryBIOFactory(listener.contexts, False, factory)
                factory.protocol = TlsTransport
                factory.handshakes = listener.handshakes
            limits = self._limits
            most = (limits.max_http_connections, limits.max_http_connections_per_address)
            trust = (listener.proxies, listener.proxy_protocol)
            gate = Gate(factory, *most, *trust, limits.connect_timeout)
            port = reactor.adoptStreamPort(listener.socket.fileno(), listener.socket.family, gate)
            port.transport = Socket
            self.listeners.append(port)
        self._starting = loop.create_task(self._begin())

    async def _begin(self) -> None:
        try:
            await self._start()
        except Exception as error:
            self.failure = error
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
        """As daphne's, but that WebSockets get bounded buffers and know whether they are secure.

        The queue of what the application receives; None where the connection is over already.
        """
        if protocol not in self.connections:
            return None
        scope["asgi"] = {"version": "3.0"}
        below = getattr(protocol.transport, "transport", protocol.transport)  # of TLS
        if getattr(below, "proxied", False):
            scope[PROXIED] = True
        queue: Flow | asyncio.Queue[Any] = asyncio.Queue()
        if scope["type"] == "websocket":
            self._describe(protocol, scope)
            queue = protocol.flow = Flow()
        else:
            scope[LEFT] = partial(self._has_left, weakref.ref(protocol))
        if getattr(below, "secure", False):
            scope["scheme"] = "wss" if scope["type"] == "websocket" else "https"
        reply = _Reply(self.handle_reply, protocol)
        instance = asyncio.ensure_future(self.application(scope, queue.get, reply))
        instance.add_done_callback(reply.forget)
        self.connections[protocol]["application_instance"] = instance
        return queue

    def _has_left(self, reference: weakref.ref[Any]) -> bool:
        """Has the client of a request closed its connection?"""
        details = self.connections.get(reference())
        return details is None or "disconnected" in details

    def open_connections(self) -> tuple[int, int]:
        """HTTP and WebSocket connections, and how many of them have TLS."""
        secure = sum(listener.tls is not None for listener in self._http)
        if not secure:
            return len(self.connections), 0
        found = [getattr(protocol, "transport", None) for protocol in list(self.connections)]
        return len(found), sum(isinstance(transport, TlsTransport) for transport in found)

    def _describe(self, protocol: Any, scope: dict[str, Any]) -> None:
        scope["scheme"] = "ws"
        if ISSLTransport.providedBy(protocol.transport):
            scope["scheme"] = "wss"
            certificate = protocol.transport.getPeerCertificate()
            if certificate is not None:  # the key is that of ASGI's TLS extension
                name = certificate.to_cryptography().subject.rfc4514_string()
                scope["extensions"] = {"tls": {"client_cert_name": name}}

    async def handle_reply(self, protocol: Any, message: Any) -> None:
        flow = getattr(protocol, "flow", None)
        if flow is not None and message["type"] == "websocket.send":
            await flow.writable()
        await super().handle_reply(protocol, message)


def _context(tls: Tls) -> Any:
    """A pyOpenSSL context. Without session tickets (Twisted's default): nothing of an old one is resumed."""
    asks = tls.client_ca is not None and tls.client_auth != "none"
    chain = x509.load_pem_x509_certificates(tls.cert.read_bytes())
    context = CertificateOptions(
        privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, tls.key.read_bytes()),
        certificate=crypto.X509.from_cryptography(chain[0]),
        extraCertChain=[crypto.X509.from_cryptography(each) for each in chain[1:]],
        verify=asks,
        requireCertificate=False,
        caCerts=_authorities(tls.client_ca) if asks and tls.client_ca is not None else None,
        insecurelyLowerMinimumTo=_VERSIONS[tls.min_version],
    ).getContext()  # raises for a key that is another certificate's
    context.set_cipher_list(tls.cipher_list.encode())
    if asks and tls.crl is not None:
        store = context.get_cert_store()
        for each in revocation_lists(tls.crl):
            store.add_crl(each)
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
    return context


def _authorities(client_ca: Path) -> list[crypto.X509]:
    return [
        crypto.X509.from_cryptography(each)
        for each in x509.load_pem_x509_certificates(client_ca.read_bytes())
    ]
