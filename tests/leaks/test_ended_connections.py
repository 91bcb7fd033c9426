"""What has ended is gone: each way for a connection to end, many times, with the cyclic collector off.

`LEAK_COUNT=20000 pytest -s tests/leaks` is the long form, which also asks for the resident memory, and prints
how much of it each connection left.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.gateway.operator.events import OF_CLIENT
from tests.wire import certs, nodes
from tests.wire.certs import Certificates
from tests.wire.nodes import Node
from tests.wire.raw import V5, V311, Closed, Raw, RawWebSocket, connect, open_raw, publish

COUNT = int(os.environ.get("LEAK_COUNT", "200"))
LONG = COUNT >= 5000
AT_A_TIME = min(COUNT, 1000)  # connections that are open together
SETTLED = 15.0  # seconds after the last connection in which all of it has to be gone, and given back
NOISE = COUNT / (20 if LONG else 2)  # objects of one type that other work may have made meanwhile
BOUNDED = ("apps.gateway.broker.ports.Peer",)  # the recent events of clients keep some: bounded in bytes
# What belongs to an HTTP connection; Django's handler leaves its own frames to the cyclic collector.
OF_HTTP = ("http.websocket.Socket", "http.websocket.Request", "HTTPChannel")
DISCONNECT = b"\xe0\0"
GARBAGE = b"\xf0\xff\xff\xff\xff"


class Inspected(Node):
    """A node that counts its objects, without the cyclic collector."""

    def __init__(self, data_dir: Path, template: Path, **settings: str) -> None:
        self._inspect = data_dir.parent / f"{data_dir.name}.sock"
        command = ("-m", "tests.leaks.inspected", str(self._inspect))
        super().__init__(data_dir, template, command, **settings)

    def ask(self, word: str) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as asker:
            asker.connect(str(self._inspect))
            asker.sendall(word.encode())
            return dict(json.loads(b"".join(iter(lambda: asker.recv(65_536), b""))))

    def objects(self) -> dict[str, int]:
        return self.ask("count")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certs.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Inspected]:
    directory = tmp_path_factory.mktemp("leaks")
    nodes.migrate(directory / "template")
    started = Inspected(
        directory / "node",
        directory / "template",
        LISTENERS__TLS="mqtts://127.0.0.1:0",
        LISTENERS__HTTPS="127.0.0.1:0",
        LISTENERS__TLS_CERT=str(certificates.server),
        LISTENERS__TLS_KEY=str(certificates.server_key),
        LIMITS__CONNECT_TIMEOUT="2",
        LIMITS__CONNECT_RATE="0",
    )
    # In the long form until as many recent events of these clients are remembered as there may be.
    times = OF_CLIENT if LONG else 1
    run(started, "tcp", certificates.context(), connect(V5, "NAME"), each(Raw.close), times * AT_A_TIME)
    time.sleep(3)  # the first rows of its directory are written
    yield started
    assert started.stop() == 0, started.log()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inspected]:
    directory = tmp_path_factory.mktemp("proxied")
    nodes.migrate(directory / "template")
    settings = {"LISTENERS__PROXY_PROTOCOL": "true", "LIMITS__CONNECT_TIMEOUT": "2"}
    started = Inspected(directory / "node", directory / "template", **settings)
    yield started
    assert started.stop() == 0, started.log()


End = Callable[[list[Raw]], None]


def each(act: Callable[[Raw], object]) -> End:
    def end(clients: list[Raw]) -> None:
        for client in clients:
            with contextlib.suppress(Closed, OSError):
                act(client)
            client.close()

    return end


def answered(clients: list[Raw]) -> None:
    """Wait until the node has closed them all."""
    for client in clients:
        client.closing()
        client.close()


def half_closed(clients: list[Raw]) -> None:
    for client in clients:
        client.sock.shutdown(socket.SHUT_WR)
    answered(clients)


def said(data: bytes) -> End:
    """The clients send `data`, then the node closes."""

    def end(clients: list[Raw]) -> None:
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(data)
        answered(clients)

    return end


def silent(clients: list[Raw]) -> None:
    """Longer than the keepalive of a second, or than the CONNECT timeout."""
    for client in clients:
        client.sock.settimeout(10)
    answered(clients)


# name -> (transports, CONNECT or None: nothing is sent, what ends it)
WAYS: dict[str, tuple[tuple[str, ...], bytes | None, End]] = {
    "disconnect": (("tcp", "tls", "ws", "wss"), connect(V311, "NAME"), each(lambda c: c.send(DISCONNECT))),
    "close": (("tcp", "tls", "ws", "wss"), connect(V5, "NAME"), each(Raw.close)),
    "reset": (("tcp", "ws"), connect(V5, "NAME"), each(Raw.reset)),
    "half close": (("tcp",), connect(V311, "NAME"), half_closed),
    "keepalive timeout": (("tcp", "tls", "ws"), connect(V5, "NAME", keepalive=1), silent),
    "protocol error": (("tcp", "tls", "ws"), connect(V5, "NAME"), said(GARBAGE)),
    "refused": (("tcp", "tls", "ws"), None, said(connect(V311, "", clean=False))),
    "unknown version": (("tcp",), None, said(b"\x10\x0e\x00\x04MQTT\x63\x02\x00\x3c\x00\x02ab")),
    "no CONNECT": (("tcp", "tls", "ws"), None, silent),
    "with a session": (
        ("tcp",),
        connect(V5, "NAME", clean=True, properties=b"\x11\0\0\0\x01"),  # it expires after a second
        each(lambda c: c.subscribe(V5, "kept/#", qos=1)),
    ),
    "a close frame": (
        ("ws",),
        connect(V311, "NAME"),
        each(lambda c: isinstance(c, RawWebSocket) and c.frame(b"\x03\xe8", 8)),
    ),
}


def run(
    node: Inspected, transport: str, context: ssl.SSLContext, hello: bytes | None, end: End, n: int
) -> None:
    for start in range(0, n, AT_A_TIME):
        clients = []
        for number in range(start, min(start + AT_A_TIME, n)):
            client = open_raw(node, transport, context)
            if hello is not None:
                client.send(hello.replace(b"NAME", f"{number % AT_A_TIME:04}".encode()))
                assert client.packet()[0] == 0x20
            clients.append(client)
        end(clients)


def grown(before: dict[str, int], after: dict[str, int], kinds: tuple[str, ...]) -> dict[str, int]:
    """What there is more of, among the types whose names end with one of `kinds`."""
    return {
        kind: number - before.get(kind, 0)
        for kind, number in after.items()
        if number - before.get(kind, 0) > NOISE and kind not in BOUNDED and kind.endswith(kinds)
    }


def assert_nothing_stays(node: Inspected, act: Callable[[int], None], kinds: tuple[str, ...] = ("",)) -> None:
    act(AT_A_TIME)  # what is made once is there
    time.sleep(SETTLED if LONG else 0.5)  # what is free has been given back
    before, memory = node.objects(), node.rss()
    act(COUNT)
    most = memory * 1.05 + 4e6 if LONG and kinds == ("",) else float("inf")
    deadline = time.monotonic() + SETTLED
    while time.monotonic() < deadline:
        left = grown(before, node.objects(), kinds)
        if not left and node.rss() < most:
            break
        time.sleep(0.25)
    if LONG:
        stays = node.rss() - memory
        print(
            f"\n{memory / 1e6:.1f} MB {stays / 1e6:+.1f} MB, {stays / COUNT:.0f} bytes a connection",
            flush=True,
        )
    assert not left, left
    assert node.rss() < most


@pytest.mark.parametrize(
    ("way", "transport"), [(way, transport) for way, row in WAYS.items() for transport in row[0]]
)
def test_nothing_stays(node: Inspected, certificates: Certificates, way: str, transport: str) -> None:
    _, hello, end = WAYS[way]
    context = certificates.context()
    assert_nothing_stays(node, lambda n: run(node, transport, context, hello, end, n))


@pytest.mark.parametrize("transport", ["tcp", "tls", "ws"])
def test_taken_over(node: Inspected, certificates: Certificates, transport: str) -> None:
    context = certificates.context()

    def act(count: int) -> None:
        last: Raw | None = None
        for _ in range(count):
            client = open_raw(node, transport, context)
            client.connect(V5, "taken")
            if last is not None:
                last.closing()
                last.close()
            last = client
        assert last is not None
        last.close()

    assert_nothing_stays(node, act)


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"no TLS at all\r\n\r\n"])
def test_a_tls_handshake_given_up(node: Inspected, hello: bytes) -> None:
    def act(count: int) -> None:
        for _ in range(count):
            client = Raw(node.tls)
            with contextlib.suppress(OSError):
                client.send(hello)
            client.close()

    assert_nothing_stays(node, act)


@pytest.mark.parametrize("transport", ["tcp", "tls", "ws"])
def test_drained(node: Inspected, certificates: Certificates, transport: str) -> None:
    """An operator empties the node: all that are connected are told to go, and go."""

    def drained(clients: list[Raw]) -> None:
        node.ask('drain {"rate": 100000}')
        answered(clients)
        assert not node.ask("cancel_drain")["draining"]

    context = certificates.context()
    assert_nothing_stays(node, lambda n: run(node, transport, context, connect(V5, "NAME"), drained, n))


def test_http(node: Inspected) -> None:
    def act(count: int) -> None:
        for number in range(count):
            client = Raw(node.ws)
            if number % 3:
                client.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                with contextlib.suppress(Closed):
                    while True:
                        client.read()
            elif number % 2:
                client.send(b"GET /healthz HTTP/1.1\r\nHo")
            client.close()

    assert_nothing_stays(node, act, OF_HTTP)


def test_no_proxy_header(proxied: Inspected) -> None:
    def act(count: int) -> None:
        for start in range(0, count, AT_A_TIME):
            some = [Raw(proxied.tcp) for _ in range(min(AT_A_TIME, count - start))]
            for number, client in enumerate(some):
                with contextlib.suppress(OSError):
                    client.send((connect(V311, "x"), b"PROXY TCP4 1.1", b"")[number % 3])
                if number % 2:
                    client.close()
            for client in some[::2]:
                client.closing()
                client.close()

    assert_nothing_stays(proxied, act)


def test_cut_while_a_backlog_is_paged(node: Inspected) -> None:
    """A persistent session with a queue that its client begins to read, and does not finish."""
    an_hour = b"\x11\0\0\x0e\x10"

    def act(count: int) -> None:
        for _ in range(max(count // 20, 5)):
            with Raw(node.tcp, receive_buffer=4096) as away:
                away.connect(V5, "away", properties=an_hour)
                away.subscribe(V5, "backlog", qos=1)
            with Raw(node.tcp) as publisher:
                publisher.connect(V5, "publisher")
                for packet_id in range(1, 1500):
                    publisher.send(publish(V5, "backlog", b"x" * 200, 1, packet_id))
                for _ in range(1, 1500):
                    assert publisher.packet()[0] == 0x40
            with Raw(node.tcp, receive_buffer=4096) as back:
                back.send(connect(V5, "away", clean=False, properties=an_hour))
                back.packet()
                back.reset()
        with Raw(node.tcp) as last:  # its session goes, too
            last.connect(V5, "away", clean=True)

    assert_nothing_stays(node, act)
