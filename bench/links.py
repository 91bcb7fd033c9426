"""Non-blocking client connections over TCP or WebSocket, and the opening of many at once."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence

from . import wire

READ = 1 << 18  # bytes per read
CONCURRENT = 64  # handshakes under way at once; mosquitto's listen backlog is 100
SOURCES = 16  # loopback source addresses; each has its own range of ports
_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; the port is chosen at connect, so it is shared between peers


class Closed(Exception):
    """The broker closed a connection, or refused it."""


_scratch = bytearray(READ)
_window = memoryview(_scratch)


class Link:
    """One connection; ``receive`` yields MQTT bytes, ``send`` takes bytes framed for the transport."""

    __slots__ = ("_backlog", "_frames", "blocked", "early", "fileno", "sock")

    def __init__(self, sock: socket.socket, *, websocket: bool) -> None:
        self.sock = sock
        self.fileno = sock.fileno()
        self._frames = wire.FrameReader() if websocket else None
        self._backlog = b""
        self.early = b""  # what came with the CONNACK: a session that was resumed
        self.blocked = False  # something waits for room in the socket

    @property
    def websocket(self) -> bool:
        return self._frames is not None

    def frame(self, packet: bytes) -> bytes:
        return wire.ws_frame(packet) if self._frames else packet

    def receive(self) -> bytes | memoryview:
        """What has arrived, valid until the next call on any link; empty when there is nothing whole."""
        try:
            count = self.sock.recv_into(_window)
        except BlockingIOError:
            return b""
        if not count:
            raise Closed(f"the broker closed the connection of {self.sock.getsockname()}")
        if self._frames is None:
            return _window[:count]
        return self._frames.feed(bytes(_window[:count]))

    def send_some(self, data: bytes | memoryview) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send now; what the socket does not take is kept for ``flush``, and the link is ``blocked``."""
        if self._backlog:
            self._backlog += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._backlog = bytes(data[sent:])
            self.blocked = True

    def flush(self) -> None:
        data, self._backlog, self.blocked = self._backlog, b"", False
        self.send(data)

    def request(self, packet: bytes, answer_size: int, timeout: float = 30.0) -> bytes:
        """Send one packet and wait for an answer of ``answer_size`` bytes; only while the link is idle."""
        self.send(self.frame(packet))
        poller = select.poll()
        deadline = time.monotonic() + timeout
        got = b""
        while len(got) < answer_size:
            poller.register(self.sock, select.POLLIN | (select.POLLOUT if self.blocked else 0))
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise Closed(f"no answer within {timeout:.0f} s to a packet of type 0x{packet[0]:02x}")
            if self.blocked:
                self.flush()
            got += self.receive()
        return got

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.send(self.frame(wire.DISCONNECT))
        self.sock.close()


class _Opening:
    """A connection on its way: connecting -> (upgrade ->) CONNECT -> CONNACK."""

    def __init__(self, link: Link, client_id: str, peer: Endpoint, clean: bool) -> None:
        self.link = link
        password = peer.password(client_id)
        self._connect = link.frame(wire.connect(client_id, peer.username, password, clean))
        self._accepted = (wire.CONNACK_ACCEPTED,) if clean else (wire.CONNACK_ACCEPTED, wire.CONNACK_PRESENT)
        self._first = (
            wire.ws_upgrade(peer.path, f"{peer.host}:{peer.port}") if link.websocket else self._connect
        )
        self._upgrading = link.websocket
        self._got = b""

    def writable(self) -> None:
        error = self.link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise Closed(f"connect failed: errno {error}")
        self.link.send(self._first)

    def readable(self) -> bool:
        """True when the connection is established."""
        if self._upgrading:
            count = self.link.sock.recv_into(_window)
            self._got += _scratch[:count]
            if not count or not self._got.startswith(b"HTTP/1.1 101"[: len(self._got)]):
                raise Closed(f"WebSocket refused: {self._got[:80]!r}")
            if self._got.endswith(b"\r\n\r\n"):
                self._upgrading, self._got = False, b""
                self.link.send(self._connect)
            return False
        self._got += self.link.receive()
        if len(self._got) < 4:
            return False
        if self._got[:4] not in self._accepted:
            raise Closed(f"CONNECT refused: {self._got[:16].hex()}")
        self.link.early = self._got[4:]
        return True


class Endpoint:
    """Where and as whom to connect."""

    def __init__(self, port: int, username: str, password: Callable[[str], str], *, path: str = "") -> None:
        self.host = "127.0.0.1"
        self.port = port
        self.path = path  # "" = plain TCP
        self.username = username
        self.password = password  # of a client id

    def socket(self, number: int) -> Link:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.0.{2 + number % SOURCES}", 0))
        return Link(sock, websocket=bool(self.path))


def open_links(
    endpoint: Endpoint, client_ids: Sequence[str], timeout: float = 60.0, clean: bool = True
) -> list[Link]:
    """Connect every client id, ``CONCURRENT`` at a time; raises Closed if the broker refuses one."""
    waiting = deque(enumerate(client_ids))
    opening: dict[int, _Opening] = {}
    links: list[Link] = []
    deadline = time.monotonic() + timeout
    poller = select.epoll()
    try:
        while waiting or opening:
            while waiting and len(opening) < CONCURRENT:
                number, client_id = waiting.popleft()
                link = endpoint.socket(number)
                links.append(link)
                opening[link.fileno] = _Opening(link, client_id, endpoint, clean)
                with contextlib.suppress(BlockingIOError):
                    link.sock.connect((endpoint.host, endpoint.port))
                poller.register(link.fileno, select.EPOLLOUT)
            events = poller.poll(max(0.0, deadline - time.monotonic()))
            if not events:
                raise Closed(f"{len(opening) + len(waiting)} connections not established in {timeout:.0f} s")
            for fileno, mask in events:
                if mask & select.EPOLLOUT:
                    opening[fileno].writable()
                    poller.modify(fileno, select.EPOLLIN)
                elif opening[fileno].readable():
                    poller.unregister(fileno)
                    del opening[fileno]
    except BaseException:
        for link in links:
            link.sock.close()
        raise
    finally:
        poller.close()
    return links


def close_links(links: Sequence[Link]) -> None:
    for link in links:
        link.close()
