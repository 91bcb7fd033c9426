"""Peers that are slow, gone, too many or too big: closed in time, memory bounded, nobody else disturbed."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator

import pytest

from tests.wire.certs import Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node, until
from tests.wire.raw import (
    V5,
    V31,
    V311,
    VERSIONS,
    Closed,
    Raw,
    RawWebSocket,
    connect,
    open_raw,
    packet,
    publish,
    split_publish,
    subscribe,
    sys_value,
    text,
    varint,
)

MB = 1_048_576
TOO_LARGE, KEEP_ALIVE_TIMEOUT = 0x95, 0x8D


@pytest.fixture(params=["tcp", "ws"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def usable(node: Node) -> None:
    with Raw(node.tcp) as client:
        client.connect(V5, "bystander")
        client.ping()


# Slow and silent ------------------------------------------------------------------------------------


def test_a_connect_that_never_completes_is_closed(
    start: Start, tls_settings: dict[str, str], certificates: Certificates
) -> None:
    """Slow-loris: nothing at all, a byte now and then, a TLS handshake that stops."""
    node = start(**tls_settings, LIMITS__CONNECT_TIMEOUT="1")
    with contextlib.ExitStack() as stack:
        silent = [
            Raw(node.tcp),
            Raw(node.tls),
            Raw(node.tls, preamble=b"\x16\x03\x01\x02\0\x01"),
            Raw(node.tls, certificates.context()),
            RawWebSocket(node.ws),
            RawWebSocket(node.wss, certificates.context()),
        ]
        dripping = [Raw(node.tcp), RawWebSocket(node.ws)]
        for client in silent + dripping:
            stack.enter_context(client)
        begun = time.monotonic()
        for byte in connect(V311, "drip")[:-2]:
            with contextlib.suppress(OSError):  # reset
                for client in dripping:
                    client.send(bytes([byte]))
            if time.monotonic() - begun > 3:
                break
            time.sleep(0.2)
        for client in silent + dripping:
            client.sock.settimeout(max(begun + 4 - time.monotonic(), 0.1))
            assert client.closing() == []
    usable(node)


def test_half_open_peers_are_given_up_after_their_keepalive(node: Node) -> None:
    """[MQTT-3.1.2-22]; their wills are published."""
    kinds = [(transport, version) for transport in ("tcp", "ws") for version in VERSIONS]
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(Raw(node.tcp))
        reader.connect(V311, "reader-half-open")
        reader.subscribe(V311, "half-open/#")
        begun = time.monotonic()
        peers = [stack.enter_context(open_raw(node, transport)) for transport, _ in kinds]
        for peer, (transport, version) in zip(peers, kinds, strict=True):
            will = (f"half-open/{transport}/{version}", b"gone")
            peer.connect(version, f"half-open-{transport}-{version}", keepalive=1, will=will)
        for peer, (_, version) in zip(peers, kinds, strict=True):
            packets = peer.closing()
            assert 1.4 < time.monotonic() - begun < 3.5
            assert [(f, b[0]) for f, b in packets] == ([(0xE0, KEEP_ALIVE_TIMEOUT)] if version == V5 else [])
        wills = {split_publish(V311, *reader.packet()) for _ in kinds}
        assert wills == {(f"half-open/{transport}/{version}", b"gone") for transport, version in kinds}


def test_who_sends_something_in_time_stays(node: Node) -> None:
    """A ping, or a part of a big packet: keepalive counts bytes that come."""
    data = publish(V311, "slow", bytes(3000))
    with contextlib.ExitStack() as stack:
        pinging, slow = (
            [stack.enter_context(open_raw(node, transport)) for transport in ("tcp", "ws")] for _ in range(2)
        )
        for number, client in enumerate(pinging + slow):
            client.connect(V311, f"in-time-{number}", keepalive=1)
        for start in range(0, len(data), 800):
            for client in slow:
                client.send(data[start : start + 800])
            time.sleep(0.7)
            for client in pinging:
                client.ping()
        for client in slow:
            client.ping()


# Too big --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_packet_above_the_limit_is_refused_at_its_head(node: Node, transport: str, version: int) -> None:
    """The client writes all of it before it reads, and learns the reason all the same."""
    before = node.rss()
    body = text("t") + (b"\0" if version == V5 else b"")
    data = b"\x30" + varint(len(body) + 20 * MB) + body
    with open_raw(node, transport) as client:
        client.connect(version, f"big-{transport}-{version}")
        client.send(data)
        for _ in range(320):
            client.send(bytes(65_536))
        packets = client.closing()
        assert [(f, b[0]) for f, b in packets] == ([(0xE0, TOO_LARGE)] if version == V5 else [])
    assert node.rss() - before < 16 * MB


def test_unfinished_packets_are_bounded_together(shared: Start, transport: str) -> None:
    """Many clients, each with nearly a whole packet: node_bytes is the limit for all of them."""
    node = shared(LIMITS__NODE_BYTES=str(32 * MB), LIMITS__MAX_PACKET_SIZE=str(4 * MB))
    begun = publish(V5, "t", bytes(4 * MB - 64))[:-1]
    before = node.rss()
    with contextlib.ExitStack() as stack:
        refused = 0
        clients = []
        for number in range(32):
            client = stack.enter_context(open_raw(node, transport, timeout=0.3))
            client.connect(V5, f"c{number}")
            with contextlib.suppress(OSError):
                client.send(begun)
            clients.append(client)
        for client in clients:
            with contextlib.suppress(TimeoutError):
                packets = client.closing()
                refused += [(f, b[0]) for f, b in packets] == [(0xE0, 0x97)]
        assert refused >= 20
        assert node.peak() - before < 96 * MB
        usable(node)


def test_before_they_are_let_in_clients_may_announce_little(node: Node, transport: str) -> None:
    """A CONNECT of 2 MB would be in the limits for packets, but its sender is nobody yet."""
    with open_raw(node, transport) as client:
        client.send(b"\x10" + varint(2 * MB) + connect(V5, "c")[2:])
        assert client.closing() == []


# Too many -------------------------------------------------------------------------------------------


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Nodes started in this test may open 100 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_descriptors_that_run_out_do_not_close_the_doors(
    start: Start, tls_settings: dict[str, str], certificates: Certificates
) -> None:
    node = start(**tls_settings)
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (64, 64))
    node.quiet = False  # an operator should see this
    with Raw(node.tcp) as earlier:
        earlier.connect(V311, "earlier")
        for port in (node.tcp, node.tls, node.ws, node.wss):
            with contextlib.ExitStack() as stack:
                for _ in range(100):
                    with contextlib.suppress(OSError):
                        stack.enter_context(Raw(port))
                for _ in range(10):  # whoever was there before is served meanwhile
                    time.sleep(0.1)
                    earlier.ping()
    time.sleep(0.3)
    usable(node)
    for secure in (Raw(node.tls, certificates.context()), RawWebSocket(node.wss, certificates.context())):
        with secure:
            secure.connect(V311, "secure")
            secure.ping()
    with RawWebSocket(node.ws) as client:
        client.connect(V311, "web")
        client.ping()


@pytest.mark.parametrize("how", ["connect and reset", "CONNECT and reset", "CONNECT and close", "garbage"])
def test_floods_of_connects_leave_no_trace(node: Node, transport: str, how: str) -> None:
    with Raw(node.tcp) as reader:
        reader.connect(V311, f"reader-{transport}-{how}")
        connected = sys_value(node, "clients/connected")
        for number in range(150 if transport == "tcp" else 60):
            client = open_raw(node, transport)
            if how.startswith("CONNECT"):
                version = VERSIONS[number % 3]
                client.send(
                    connect(version, f"flood{number % 50}")
                    + subscribe(version, "flood")
                    + publish(version, "flood", b"x", qos=1)
                )
            elif how == "garbage":
                client.send(b"\x10\x0c\0\4MQTT" + bytes([number % 256]) * 8)
            if how.endswith("reset"):
                client.reset()
            else:
                client.close()
        reader.ping()
    until(lambda: sys_value(node, "clients/connected") <= connected, 5)


def test_connections_are_closed_under_publishers_feet(node: Node) -> None:
    """Subscribers that are reset while messages to them are on their way take nobody else along."""
    with Raw(node.tcp) as writer, Raw(node.tcp) as reader:
        reader.connect(V311, "steady")
        reader.subscribe(V311, "feet")
        writer.connect(V311, "feet")
        for number in range(100):
            victims = [open_raw(node, "ws" if number % 10 == 0 else "tcp") for _ in range(3)]
            for index, victim in enumerate(victims):
                victim.connect(V311, f"victim{index}")
                victim.subscribe(V311, "feet", qos=1)
            writer.send(publish(V311, "feet", b"x" * 5000) * 20)
            for victim in victims:
                victim.reset()
            for _ in range(20):
                assert reader.packet()[0] == 0x30


# Too fast -------------------------------------------------------------------------------------------


def test_a_publisher_that_is_not_read_is_bounded(shared: Start, transport: str) -> None:
    """A flood above the publish rate: reading stops, the client waits, nothing piles up in the node."""
    node = shared(LIMITS__PUBLISH_RATE="10")
    with open_raw(node, transport, timeout=1) as client:
        client.connect(V311, "flood")
        before = node.rss()
        data = publish(V311, "t", bytes(1000)) * 64
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                client.send(data)
        assert node.rss() - before < 16 * MB
        usable(node)


def test_a_flood_that_is_read_is_bounded(node: Node, transport: str) -> None:
    with open_raw(node, transport) as client, Raw(node.tcp) as other:
        client.connect(V31, f"flood-{transport}")
        other.connect(V5, f"other-{transport}")
        before = node.rss()
        data = publish(V31, "nobody/listens", bytes(200)) * 500
        slowest = 0.0
        for number in range(300):
            client.send(data)
            if number % 30 == 0:
                began = time.monotonic()
                other.ping()
                slowest = max(slowest, time.monotonic() - began)
        client.ping()
        assert node.rss() - before < 16 * MB
        assert slowest < 1


def test_a_flood_of_wills_and_sessions_is_bounded(start: Start) -> None:
    node = start(LIMITS__MAX_SESSIONS="20", LIMITS__NODE_BYTES=str(4 * MB), LIMITS__MAX_PACKET_SIZE=str(MB))
    refused = 0
    for number in range(40):
        with Raw(node.tcp) as client:
            client.send(connect(V5, f"c{number}", clean=False, properties=b"\x11\0\0\xff\xff"))
            first, body = client.packet()
            assert first == 0x20
            refused += body[1] == 0x97
            if body[1] == 0:
                client.send(packet(0xE0))
                with pytest.raises(Closed):
                    client.packet()
    assert refused == 20


def test_a_reset_in_the_middle_of_a_flood_is_noticed(shared: Start, transport: str) -> None:
    """The node is not reading the client at that moment, and the client has no keepalive."""
    node = shared(LIMITS__PUBLISH_RATE="1000", NODE__SYS_INTERVAL="1")
    client = open_raw(node, transport, timeout=1)
    client.connect(V311, "flood", keepalive=0, will=("wills", b"gone"))
    with Raw(node.tcp) as reader:
        reader.connect(V5, "reader")
        reader.subscribe(V5, "wills")
        client.send(publish(V311, "t", bytes(100)) * 3000)
        client.reset()
        reader.sock.settimeout(10)
        assert split_publish(V5, *reader.packet()) == ("wills", b"gone")


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /admin/ HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    ],
)
def test_resets_after_http_requests_leave_no_trace(start: Start, data: bytes) -> None:
    node = start()
    sockets = node.sockets()
    for _ in range(20):
        clients = [Raw(node.ws) for _ in range(20)]
        for client in clients:
            client.send(data)
            client.reset()
    until(lambda: node.sockets() <= sockets + 2, 15)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_http_body_without_end_is_refused(node: Node, chunked: bool) -> None:
    head = b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: 9999999999\r\n\r\n"
    chunk = b"10000\r\n" + bytes(65_536) + b"\r\n" if chunked else bytes(65_536)
    answer = b""
    before = node.rss()
    with Raw(node.ws) as client:
        client.send(head)
        sent = 0
        with contextlib.suppress(OSError):  # reset
            for _ in range(512):
                client.send(chunk)
                sent += 65_536
        with contextlib.suppress(Closed):
            while True:
                answer += client.read()
    assert answer == b"" or b" 413 " in answer
    assert sent < 32 * MB
    assert node.rss() - before < 8 * MB
