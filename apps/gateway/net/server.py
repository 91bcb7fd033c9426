"""The MQTT listeners: sockets, TLS, PROXY protocol, and an ASGI application for each connection."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from apps.gateway.broker.node import Node
from apps.gateway.broker.ports import Peer
from apps.gateway.mqtt import reasons
from apps.gateway.net import proxy, tls
from apps.gateway.net.handshakes import Handshakes
from apps.gateway.net.runner import Runner
from apps.gateway.net.stream import Stream

logger = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Any]


@dataclass
class Listener:
    """One bound and listening socket, and how connections on it begin."""

    socket: socket.socket
    context: Callable[[], ssl.SSLContext] | None = None  # for a connection that begins now; None: plain TCP
    proxy: bool = False  # connections begin with a PROXY header
    trusted: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = field(default_factory=list)


async def _send(message: Any) -> None:
    """An MQTT application answers through the link in its scope, not by messages."""
    raise ValueError("scope type mqtt takes no messages; write to scope['mqtt.link']")


class MqttServer:
    """Accepts connections and runs `application` for each, with the scope that `scope` describes."""

    def __init__(
        self,
        node: Node,
        runner: Runner,
        application: Application,
        loop: asyncio.AbstractEventLoop,
        handshakes: Handshakes | None = None,
    ) -> None:
        self.loop = loop
        self.now = runner.now
        self._node = node
        self._application = application
        self._streams: set[Stream] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.AbstractServer] = []
        self._acceptors: list[asyncio.Task[None]] = []
        self._listeners: list[Listener] = []
        self._empty: asyncio.Future[None] | None = None  # while `drain` waits
        self._handshakes = handshakes or Handshakes()

    async def listen(self, listener: Listener) -> None:
        """Begin to accept on a listening socket."""
        self._listeners.append(listener)
        if listener.proxy or listener.context is not None:
            self._acceptors.append(self.loop.create_task(self._accept(listener)))
            return
        server = await self.loop.create_server(lambda: Stream(self), sock=listener.socket)
        self._servers.append(server)

    async def _accept(self, listener: Listener) -> None:
        listener.socket.setblocking(False)
        while True:
            try:
                sock, address = await self.loop.sock_accept(listener.socket)
            except OSError as error:  # out of descriptors, for example: the listener stays
                logger.warning("accept failed: %s", error)
                await asyncio.sleep(0.1)
                continue
            task = self.loop.create_task(self._begin(listener, sock, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _begin(self, listener: Listener, sock: socket.socket, address: Any) -> None:
        """Take the PROXY header off a connection and shake hands, then it is one like any other."""
        peer = Peer(proxy.plain(address[0]), address[1], "tls" if listener.context is not None else "tcp")
        try:
            async with asyncio.timeout(self._node.limits.connect_timeout):
                # A load balancer looks whether somebody listens: it connects and closes.
                begun = await proxy.has_begun(sock, self.loop)
                if begun and listener.proxy:
                    peer = await self._introduced(listener, sock, peer)
                    begun = listener.context is None or await proxy.has_begun(sock, self.loop)
        except (proxy.ProxyError, OSError, TimeoutError) as error:
            if not isinstance(error, ConnectionResetError):
                logger.info("connection from %s refused: %s", peer.address, error or "nothing came in time")
                self._node.stats.refuse(reasons.PROTOCOL_ERROR)
            begun = False
        if not begun:
            sock.close()
            return
        try:
            await self.loop.connect_accepted_socket(
                lambda: Stream(self, peer),
                sock,
                ssl=listener.context() if listener.context is not None else None,
                ssl_handshake_timeout=self._node.limits.connect_timeout if listener.context else None,
            )
        except OSError as error:
            if listener.context is not None:
                self._handshakes.failed("tls", peer.address, error)

    async def _introduced(self, listener: Listener, sock: socket.socket, peer: Peer) -> Peer:
        """Whom the proxy speaks for; itself where it does not say."""
        if not proxy.trusted(peer.address, listener.trusted):
            raise proxy.ProxyError("not a trusted proxy")
        header = await proxy.read_header(sock, self.loop)
        if header.source is None:
            return peer
        return Peer(*header.source, "tls" if header.secure else peer.transport, proxied=True)

    # Called by Stream -------------------------------------------------------------------------------

    def connected(self, stream: Stream) -> None:
        node = self._node
        if node.closing or len(self._streams) >= node.limits.max_connections:
            node.stats.refuse(reasons.SERVER_SHUTTING_DOWN if node.closing else reasons.SERVER_BUSY)
            stream.transport.abort()
            return
        self._streams.add(stream)
        scope = {
            "type": "mqtt",
            "asgi": {"version": "3.0"},
            "mqtt.peer": self._peer(stream),
            "mqtt.link": stream,
        }
        task = self.loop.create_task(self._application(scope, stream.receive, _send))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _peer(self, stream: Stream) -> Peer:
        transport = stream.transport
        known = stream.peer
        ssl_object = transport.get_extra_info("ssl_object")
        if known is None:
            address = transport.get_extra_info("peername")
            host, port = (proxy.plain(address[0]), address[1]) if address else ("", 0)
            known = Peer(host, port, "tcp" if ssl_object is None else "tls")
        if ssl_object is not None:
            name, common_name = tls.subject(ssl_object)
            if name:
                known = replace(known, tls_subject=name, tls_common_name=common_name)
        return known

    def disconnected(self, stream: Stream) -> None:
        self._streams.discard(stream)
        if self._empty is not None and not self._streams and not self._empty.done():
            self._empty.set_result(None)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("MQTT application failed", exc_info=task.exception())

    # Shutdown ---------------------------------------------------------------------------------------

    def stop_accepting(self) -> None:
        for acceptor in self._acceptors:
            acceptor.cancel()
        for server in self._servers:
            server.close()
        for listener in self._listeners:
            listener.socket.close()

    async def drain(self) -> None:
        """Wait until the streams have closed; cancelled, cut those that have not."""
        try:
            if self._streams:
                self._empty = self.loop.create_future()
                await self._empty
        finally:
            for stream in list(self._streams):
                stream.abort()
            for task in list(self._tasks):
                task.cancel()
