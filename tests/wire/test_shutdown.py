"""The first signal stops a node in order, the second at once."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import time

import pytest

from tests.wire.certs import Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node
from tests.wire.raw import V5, V311, VERSIONS, Raw, RawWebSocket, open_raw, publish, split_publish

SHUTTING_DOWN = 0x8B


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_clients_are_told_and_the_exit_code_is_0(
    start: Start, tls_settings: dict[str, str], certificates: Certificates, number: int
) -> None:
    node = start(**tls_settings)
    context = certificates.context()
    doors = [
        Raw(node.tcp),
        Raw(node.tls, context),
        RawWebSocket(node.ws),
        RawWebSocket(node.wss, context),
    ]
    old = Raw(node.tcp)
    old.connect(V311, "old")
    for index, client in enumerate(doors):
        client.connect(V5, f"c{index}")
        client.subscribe(V5, "t")
    node.signal(number)
    for client in doors:
        packets = client.closing()
        assert [(first, body[0]) for first, body in packets] == [(0xE0, SHUTTING_DOWN)]
        client.close()
    assert old.closing() == []  # 3.x has no DISCONNECT from the server
    old.close()
    assert node.wait(5) == 0


def test_it_takes_no_time_without_clients(start: Start) -> None:
    node = start()
    began = time.monotonic()
    node.signal()
    assert node.wait(5) == 0
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("version", VERSIONS)
def test_wills_are_published_by_the_rules_of_a_lost_connection(start: Start, version: int) -> None:
    """[MQTT-3.1.2-8]: the server closes without a DISCONNECT from the client."""
    node = start()
    with Raw(node.tcp) as client, Raw(node.tcp) as reader:
        client.connect(version, "will", will=("wills", b"gone"))
        reader.connect(V311, "reader")
        reader.subscribe(V311, "wills")
        node.signal()
        assert [split_publish(V311, *each) for each in reader.closing()] == [("wills", b"gone")]


def test_nobody_new_is_let_in(start: Start, tls_settings: dict[str, str]) -> None:
    """While one client takes its time, every door is shut already."""
    node = start(**tls_settings, NODE__SHUTDOWN_TIMEOUT="3")
    with stuck(node, "tcp"):
        node.signal()
        time.sleep(0.5)
        assert node.process.poll() is None
        assert all(refuses(port) for port in (node.tcp, node.tls, node.ws, node.wss))
        assert node.wait(6) == 0


def test_clients_that_never_read_hold_it_no_longer_than_the_timeout(
    start: Start, tls_settings: dict[str, str], certificates: Certificates
) -> None:
    node = start(**tls_settings, NODE__SHUTDOWN_TIMEOUT="2")
    with contextlib.ExitStack() as stack:
        for transport in ("tcp", "tls", "ws", "wss"):
            stack.enter_context(stuck(node, transport, certificates.context()))
        began = time.monotonic()
        node.signal()
        assert node.wait(6) == 0
        assert time.monotonic() - began < 4


@pytest.mark.parametrize("transport", ["tcp", "ws"])
def test_the_second_signal_ends_it_at_once(start: Start, transport: str) -> None:
    node = start(NODE__SHUTDOWN_TIMEOUT="60")
    with stuck(node, transport):
        node.signal()
        time.sleep(0.5)
        assert node.process.poll() is None
        began = time.monotonic()
        node.signal()
        assert node.wait(2) == 130
        assert time.monotonic() - began < 0.5


def test_a_request_without_an_end_does_not_hold_it(start: Start) -> None:
    node = start(NODE__SHUTDOWN_TIMEOUT="2")
    with Raw(node.ws) as client, Raw(node.ws) as silent:
        client.send(b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
        silent.send(b"GET")
        time.sleep(0.2)
        node.signal()
        assert node.wait(4) == 0


def stuck(node: Node, transport: str, context: ssl.SSLContext | None = None) -> Raw:
    """A client for which much waits, and which does not read."""
    client = open_raw(node, transport, context, receive_buffer=8192)
    client.connect(V5, f"stuck-{transport}")
    client.subscribe(V5, "flood")
    with Raw(node.tcp) as writer:
        writer.connect(V5, "writer")
        for _ in range(100):
            writer.send(publish(V5, "flood", bytes(100_000)))
        writer.ping()
    return client
