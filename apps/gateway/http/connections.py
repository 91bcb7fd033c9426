"""HTTP connections with bounds: their number, the time in which a request must come, the bytes of bodies.

A stranger can open connections and drip bytes; MQTT clients must not want for descriptors, memory or disk
because of it. WebSockets are counted until they are open: then MQTT's own limits hold.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet import reactor, tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import Protocol
from twisted.protocols.tls import BufferingTLSTransport
from twisted.web.http import HTTPChannel, _ChunkedTransferDecoder

from apps.gateway.broker.limits import Limits
from apps.gateway.http.turns import Paced, Turns
from apps.gateway.net import proxy

logger = logging.getLogger(__name__)

TOO_LARGE: Final = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
UNAVAILABLE: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
)
TCP_INFO: Final = getattr(socket, "TCP_INFO", 0)  # Linux
TCP_CLOSE: Final = 7  # state: the connection is no more


class Gate:
    """A listener's factory that takes no more connections than it may, in all and from one address.

    A trusted proxy's connections are those of many: only the first bound is for them. With `proxy_protocol`
    they begin with a PROXY header, and count for the address that it names.
    """

    noisy = False

    def __init__(
        self,
        factory: Any,
        most: int,
        most_of_one: int,
        proxies: Sequence[proxy.Network] = (),
        proxy_protocol: bool = False,
        timeout: float = 10.0,
    ) -> None:
        self._factory = factory
        self._most = most
        self._most_of_one = most_of_one
        self._proxies = proxies
        self._proxy_protocol = proxy_protocol
        self.timeout = timeout  # seconds that a PROXY header has
        self._open: Counter[str] = Counter()  # by address
        self.refused = 0

    @property
    def count(self) -> int:
        return self._open.total()

    def buildProtocol(self, address: Any) -> Any:
        """None: Twisted closes the connection."""
        host = proxy.plain(getattr(address, "host", ""))
        is_proxy = proxy.trusted(host, self._proxies)
        if not self.take(host, is_proxy):
            return None
        if is_proxy and self._proxy_protocol:
            return Introduction(self, address)
        return self._factory.buildProtocol(address)

    def build(self, address: Any) -> Any:
        """What follows a PROXY header."""
        return self._factory.buildProtocol(address)

    def take(self, host: str, is_proxy: bool = False) -> bool:
        """Count a connection; False: it is one too many."""
        if self.count >= self._most or (not is_proxy and self._open[host] >= self._most_of_one):
            self.refused += 1
            return False
        self._open[host] += 1
        return True

    def left(self, host: str) -> None:
        """A connection has ended, or become a WebSocket."""
        self._open[host] -= 1
        if self._open[host] <= 0:
            del self._open[host]

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()


class Socket(tcp.Server):
    """An accepted socket that is read to its end.

    After an error (the peer's reset) libuv polls a socket no more and uvloop lets it be read just once:
    the end behind what is unread then would never be seen, and the descriptor never closed.
    """

    _reads = False  # as its protocol wants it
    _held = False  # is not read all the same: what came is not handled yet
    _counted = True  # by the gate of its listener
    proxied = False  # the address is what a trusted proxy says
    secure = False  # and so is that the client speaks TLS with it

    def __init__(self, sock: Any, protocol: Any, client: Any, *others: Any) -> None:
        super().__init__(sock, protocol, client, *others)
        self._name(proxy.plain(client[0]), client[1])

    def _name(self, host: str, port: int) -> None:
        if host != self.client[0] or port != self.client[1]:
            self.client = (host, port)
            self._addressType = IPv6Address if ":" in host else IPv4Address

    def introduce(self, header: proxy.Header) -> bool:
        """The proxy at the other end has said whom it speaks for. False: that one has too many."""
        if header.source is None:
            return True
        self.leave()
        gate = self.server.factory
        self._name(*header.source)
        self.proxied, self.secure = True, header.secure
        self._counted = gate.take(self.client[0])
        return bool(self._counted)

    def leave(self) -> None:
        """It counts as an HTTP connection no longer."""
        if self._counted:
            self._counted = False
            gate = getattr(self.server, "factory", None)
            if isinstance(gate, Gate):
                gate.left(self.client[0])

    def connectionLost(self, reason: Any) -> None:
        self.leave()
        super().connectionLost(reason)

    def startReading(self) -> None:
        self._reads = True
        if not self._held:
            super().startReading()

    def stopReading(self) -> None:
        self._reads = False
        super().stopReading()

    def hold(self) -> None:
        """Do not read it until `release`, whatever its protocol wants."""
        self._held = True
        super().stopReading()

    def release(self) -> None:
        self._held = False
        if self._reads and self.connected:
            super().startReading()

    def doRead(self) -> Any:
        end = super().doRead()
        while end is None and self._reads and not self._held and self._is_dead():
            end = super().doRead()
        return end

    def _is_dead(self) -> bool:
        if not TCP_INFO:
            return False
        return bool(self.socket.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1)[0] == TCP_CLOSE)


class Introduction(Protocol):
    """Takes the PROXY header off a connection; then what the connection is for takes its place."""

    def __init__(self, gate: Gate, address: Any) -> None:
        self._gate = gate
        self._address = address
        self._data = b""
        self._deadline: Any = None

    def connectionMade(self) -> None:
        self._deadline = reactor.callLater(self._gate.timeout, self._refuse, "no PROXY header in time")

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        try:
            header = proxy.parse(self._data)
        except proxy.ProxyError as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        transport, rest = self.transport, self._data[header.length :]
        self._done()
        if not transport.introduce(header):
            transport.abortConnection()
            return
        protocol = self._gate.build(self._address)
        self.transport = None
        transport.protocol = protocol
        protocol.makeConnection(transport)
        if rest:
            protocol.dataReceived(rest)

    def _refuse(self, why: str) -> None:
        self._done()
        if self._data or "time" in why:
            logger.info("HTTP connection from %s refused: %s", self._address.host, why)
        self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self._done()
        self.transport = None

    def _done(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class TlsTransport(BufferingTLSTransport):
    """Twisted's, but that the error which ended it has no traceback: its frames refer to the transport."""

    _heard = False  # did anything come?
    _failed: BaseException | None = None  # why there was no handshake

    def dataReceived(self, bytes: bytes) -> None:
        self._heard = True
        super().dataReceived(bytes)

    def _tlsShutdownFinished(self, reason: Any) -> None:
        if reason is not None:
            reason.value.__traceback__ = reason.tb = None
            if not self._handshakeDone and self._failed is None:
                self._failed = reason.value
        super()._tlsShutdownFinished(reason)

    def connectionLost(self, reason: Any) -> None:
        if self._heard and not self._handshakeDone:
            error = self._failed or getattr(reason, "value", None) or ConnectionError("closed")
            self.factory.handshakes.failed("https", self.transport.getPeer().host, error)  # type: ignore[misc]
        self._failed = None
        super().connectionLost(reason)
        self._reason = self._producer = None


class Channel(Paced, HTTPChannel):
    """One connection. Its next request has `timeOut` seconds for the headers, then `http_body_timeout`."""

    _deadline: Any = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self._expect(self.timeOut)

    def handle(self, data: bytes) -> None:
        if not self.persistent and not self.requests:  # behind the last request
            return
        if self._deadline is None and not self.requests:
            self._expect(self.timeOut)
        HTTPChannel.dataReceived(self, data)

    def at_once(self) -> int:
        decoder: Any = self._transferDecoder
        if isinstance(decoder, _ChunkedTransferDecoder):
            return int(decoder.length) if decoder.state == "BODY" else 0
        return int(getattr(decoder, "contentLength", None) or 0)

    def allHeadersReceived(self) -> None:
        self._expect(self.factory.limits.http_body_timeout)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        self._expect(None)
        super().allContentReceived()

    def connectionLost(self, reason: Any) -> None:
        self.rest = b""
        self._expect(None)
        super().connectionLost(reason)

    def _expect(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if seconds:
            self._deadline = reactor.callLater(seconds, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        logger.info("HTTP connection closed: its request did not come in time")
        self.transport.abortConnection()


class Request(WebRequest):
    """An HTTP request with an end: daphne writes the whole body to the disk before anybody sees it."""

    _size = 0
    _refused = False

    def process(self) -> Any:
        transport = self.transport
        done = super().process()
        if self.transport is None and self.channel is not None:  # a WebSocket now: this request is over
            self.channel.requests.clear()
            self.channel = None
            getattr(transport, "transport", transport).leave()
        return done

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused:
            return
        factory = self.channel.factory
        if self._size + len(data) > factory.limits.max_http_body:
            self._refuse(TOO_LARGE)
        elif factory.bodies + len(data) > factory.limits.max_http_bodies:
            self._refuse(UNAVAILABLE)
        else:
            self._size += len(data)
            factory.bodies += len(data)
            super().handleContentChunk(data)

    def _refuse(self, answer: bytes) -> None:
        self._refused = True
        self.channel.transport.write(answer)
        self.channel.loseConnection()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self._refused:
            super().requestReceived(command, path, version)

    def finish(self) -> None:
        self._forget_body()
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        self._forget_body()
        super().connectionLost(reason)

    def _forget_body(self) -> None:
        if self._size and self.channel is not None:
            self.channel.factory.bodies -= self._size
        self._size = 0


class Factory(HTTPFactory):
    protocol = Channel
    bodies = 0  # bytes of the bodies of requests that are under way

    def __init__(self, server: Any, limits: Limits, turns: Turns) -> None:
        super().__init__(server)
        self.limits = limits
        self.turns = turns

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol
