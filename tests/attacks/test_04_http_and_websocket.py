"""Point 4: strangers who only have an address: WebSocket pings without end, dripping HTTP, large bodies."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.support import MEGABYTE, Scale, undisturbed
from tests.wire import nodes
from tests.wire.nodes import Node
from tests.wire.raw import PING, V5, Closed, Raw, RawWebSocket, connect, frame

CHUNKED = b"POST /api/v1/clients/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def node(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("http")
    settings = {
        "LIMITS__CONNECT_TIMEOUT": "2",
        "LIMITS__MAX_HTTP_CONNECTIONS": "60",
        "LIMITS__MAX_HTTP_CONNECTIONS_PER_ADDRESS": "50",
        "LIMITS__HTTP_BODY_TIMEOUT": "3",
        "LIMITS__MAX_HTTP_BODY": "1000000",
        "LIMITS__MAX_HTTP_BODIES": "4000000",
    }
    with Node(directory / "node", template, **settings) as started:
        yield started


@pytest.mark.parametrize("logged_in", [False, True])
def test_pings_whose_pongs_are_not_read(node: Node, logged_in: bool) -> None:
    client = RawWebSocket(node.ws, receive_buffer=4096, timeout=2)
    if logged_in:
        client.send(connect(V5, "pinger"))
    pings = frame(b"x" * 125, PING) * 8000

    def attack() -> None:
        with contextlib.suppress(OSError):
            for _ in range(60):  # 60 MB of pings
                client.sock.sendall(pings)

    with Scale(node) as scale:
        undisturbed(node, attack)
    client.close()
    assert scale.most < 30 * MEGABYTE, scale.most


MANY = {  # what costs much by the byte -> what opens it, and 64 KB of it
    "empty frames": (b"", frame(b"", 2) * 10_000),
    "continuations": (frame(b"", 2, fin=False), frame(b"", 0, fin=False) * 10_000),
    "pongs": (b"", frame(b"", 10) * 10_000),
    "chunks": (CHUNKED, b"1\r\nx\r\n" * 10_000),
    "requests": (b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1500),
}


@pytest.mark.parametrize("kind", MANY)
def test_many_small_things_at_once(node: Node, kind: str) -> None:
    """Twisted hands a protocol 64 KB at once: of such pieces that was more than a second of work."""
    opening, pieces = MANY[kind]

    def attack() -> None:
        with contextlib.ExitStack() as stack:
            if kind in ("chunks", "requests"):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", node.ws)))
                sock.settimeout(2)
            else:
                client = RawWebSocket(node.ws, timeout=2)
                stack.callback(client.close)
                sock = client.sock
            with contextlib.suppress(OSError):
                sock.sendall(opening)
                for _ in range(10):
                    sock.sendall(pieces)

    undisturbed(node, attack)


def drip(client: socket.socket, seconds: float) -> bool:
    """Send a byte of a header now and then. Is the connection alive in the end?"""
    end = time.monotonic() + seconds
    with contextlib.suppress(OSError):
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        while time.monotonic() < end:
            client.sendall(b"x")
            time.sleep(0.2)
        client.settimeout(0.2)
        try:
            return client.recv(1) != b""
        except TimeoutError:
            return True
    return False


def test_a_request_that_drips_ends(node: Node) -> None:
    with socket.create_connection(("127.0.0.1", node.ws)) as client:
        assert not drip(client, 4.0)


def test_http_connections_have_a_limit(node: Node) -> None:
    """MQTT is let in all the same, and so is HTTP, when they have gone."""
    some = [socket.create_connection(("127.0.0.1", node.ws)) for _ in range(80)]
    try:
        refused = 0
        for client in some:
            client.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                refused += closed(client)
            if refused >= 30:
                break
        assert refused >= 30
        with Raw(node.tcp) as mqtt:
            mqtt.connect(V5, "device")
    finally:
        for client in some:
            client.close()
    nodes.until(lambda: answers(node), what="HTTP is not served again")


def closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def answers(node: Node) -> bool:
    with contextlib.suppress(Closed, OSError), Raw(node.ws) as client:
        client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return client.read().startswith(b"HTTP/1.1 200")
    return False


def test_websockets_that_are_open_do_not_count(node: Node) -> None:
    some = [RawWebSocket(node.ws) for _ in range(70)]
    for client in some:
        client.close()


def post(node: Node, length: int, sent: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", node.ws), 3)
    head = f"POST /api/v1/clients/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    with contextlib.suppress(OSError):
        client.sendall(head.encode() + b"x" * sent)
    return client


def answered(client: socket.socket, code: bytes) -> bool:
    with contextlib.suppress(OSError):
        return code in client.recv(100)
    return False


def test_a_body_that_is_too_large(node: Node) -> None:
    with post(node, 1_100_000, 1_100_000) as client:
        assert answered(client, b"413")


def test_a_body_that_does_not_come_ends(node: Node) -> None:
    with post(node, 1000, 500) as client:
        client.settimeout(6)
        assert closed(client)


def test_bodies_of_many_requests_are_bounded(node: Node) -> None:
    """Together, too: what is beyond is answered with 503, and nothing is written to the disk for it."""

    def attack() -> None:
        clients = [post(node, 990_000, 980_000) for _ in range(12)]
        assert sum(answered(client, b"503") for client in clients[-6:]) >= 3
        for client in clients:
            client.close()
        nodes.until(lambda: answers(node), what="HTTP is not served again")

    with Scale(node) as scale:
        undisturbed(node, attack)
    assert scale.most < 50 * MEGABYTE, scale.most
