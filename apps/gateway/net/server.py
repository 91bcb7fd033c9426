"""The MQTT listeners: sockets, TLS, PROXY protocol, and an ASGI application for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from apps.gateway.broker.limits import DROP_QOS_0
from apps.gateway.broker.node import Node
from apps.gateway.broker.ports import Peer
from apps.gateway.mqtt import reasons
from apps.gateway.net import proxy, tls
from apps.gateway.net.runner import Runner
from apps.gateway.net.stream import Stream

logger = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Any]


@dataclass
class Listener:
    """One bound and listening socket, and how connections on it begin."""

    socket: socket.socket
    context: ssl.SSLContext | None = None  # None: plain TCP
    proxy: bool = False  # connections begin with a PROXY header
    trusted: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = field(default_factory=list)


async def _send(message: Any) -> None:
    """An MQTT application answers through the link in its scope, not by messages."""
    raise ValueError("scope type mqtt takes no messages; write to scope['mqtt.link']")


class MqttServer:
    """Accepts connections and runs `application` for each, with the scope that `scope` describes."""

    def __init__(
        self, node: Node, runner: Runner, application: Application, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.loop = loop
        self.now = runner.now
        self._node = node
        self._application = application
        self._streams: set[Stream] = set()
        self.secure = 0  # those with TLS
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.AbstractServer] = []
        self._acceptors: list[asyncio.Task[None]] = []
        self._listeners: list[Listener] = []
        self._empty: asyncio.Future[None] | None = None  # while `drain` waits

    async def listen(self, listener: Listener) -> None:
        """Begin to accept on a listening socket."""
        self._listeners.append(listener)
        if listener.proxy:
            self._acceptors.append(self.loop.create_task(self._accept(listener)))
            return
        server = await self.loop.create_server(
            lambda: Stream(self),
            sock=listener.socket,
            ssl=listener.context,
            ssl_handshake_timeout=self._handshake_timeout(listener),
        )
        self._servers.append(server)

    def _handshake_timeout(self, listener: Listener) -> float | None:
        return self._node.limits.connect_timeout if listener.context is not None else None

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
        """Take the PROXY header off a connection, then make it one like any other."""
        try:
            if not proxy.trusted(address[0], listener.trusted):
                raise proxy.ProxyError("not a trusted proxy")
            async with asyncio.timeout(self._node.limits.connect_timeout):
                source = await proxy.read_header(sock, self.loop)
        except (proxy.ProxyError, OSError, TimeoutError) as error:
            logger.info("connection from %s refused: %s", address[0], error or "no PROXY header in time")
            self._node.stats.refuse(reasons.PROTOCOL_ERROR)
            sock.close()
            return
        host, port = source if source is not None else address[:2]
        peer = Peer(host, port, "tls" if listener.context is not None else "tcp")
        with contextlib.suppress(OSError):  # of the TLS handshake, mostly
            await self.loop.connect_accepted_socket(
                lambda: Stream(self, peer),
                sock,
                ssl=listener.context,
                ssl_handshake_timeout=self._handshake_timeout(listener),
            )

    @property
    def count(self) -> int:
        """Connections over TCP and TLS."""
        return len(self._streams)

    # Called by Stream -------------------------------------------------------------------------------

    def connected(self, stream: Stream) -> None:
        node = self._node
        refused = reasons.SERVER_SHUTTING_DOWN if node.closing else 0
        if len(self._streams) >= node.limits.max_connections:
            refused = reasons.SERVER_BUSY
        if node.strain >= DROP_QOS_0:  # not even for the reason why
            refused = reasons.QUOTA_EXCEEDED
        if refused:
            node.stats.refuse(refused)
            stream.transport.abort()
            return
        self._streams.add(stream)
        stream.secure = stream.transport.get_extra_info("ssl_object") is not None
        self.secure += stream.secure
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
            host, port = (address[0], address[1]) if address else ("", 0)
            known = Peer(host, port, "tcp" if ssl_object is None else "tls")
        if ssl_object is not None:
            name, common_name = tls.subject(ssl_object)
            if name:
                known = Peer(known.address, known.port, known.transport, name, common_name)
        return known

    def disconnected(self, stream: Stream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
            self.secure -= stream.secure
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
