"""A reader that never reads, while others publish to it: it costs at most its byte budget, what it
misses is counted, and when it reads at last every message is accounted for."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.wire.certs import Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node
from tests.wire.raw import V5, V311, Closed, Raw, open_raw, packet, publish, split_publish, sys_value

MB = 1_048_576
BUDGET = 2 * MB
SIZE = 8192  # bytes of a payload
BATCH = 128
BATCHES = 64  # 64 MB in all
SLACK = 32 * MB  # of the interpreter, the kernel's buffers not included


@pytest.fixture
def small_budget(shared: Start, tls_settings: dict[str, str]) -> Node:
    return shared(
        **tls_settings,
        LIMITS__MAX_QUEUED_BYTES=str(BUDGET),
        LIMITS__MAX_PACKET_SIZE=str(BUDGET // 4),
        LIMITS__MAX_QUEUED_MESSAGES="1000000",
        LIMITS__INFLIGHT_WINDOW="65535",
        NODE__SYS_INTERVAL="1",
    )


def dropped(node: Node) -> int:
    time.sleep(1.6)  # $SYS is behind by its interval and a tick
    return sys_value(node, "publish/messages/dropped")


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1])
def test_memory_is_bounded_and_drops_are_counted(
    small_budget: Node, certificates: Certificates, qos: int, version: int
) -> None:
    node = small_budget
    names = ("tcp", "ws", "tls", "wss")
    context = certificates.context()
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(open_raw(node, name, context, receive_buffer=8192)) for name in names]
        writer = stack.enter_context(Raw(node.tcp))
        for name, reader in zip(names, readers, strict=True):
            reader.connect(version, f"sloth-{name}", keepalive=0)
            reader.subscribe(version, "flood", qos=qos)
        writer.connect(version, "flood")
        earlier = dropped(node)
        flood(writer, version, qos, BATCHES // 8)  # buffers are as large as they get
        before = node.rss()
        node.forget_peak()
        flood(writer, version, qos, BATCHES - BATCHES // 8)
        assert node.peak() - before < len(names) * BUDGET + SLACK
        # Now they read, and acknowledge nothing.
        expected = len(names) * BATCH * BATCHES - (dropped(node) - earlier)
        assert 0 < expected < len(names) * BATCH * BATCHES
        received = sum(count_messages(reader, version) for reader in readers)
        assert received == expected
        for reader in readers:
            reader.ping()  # it is a client like any other again


def count_messages(reader: Raw, version: int) -> int:
    """Read until there is nothing for half a second."""
    count = 0
    reader.sock.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while True:
            first, body = reader.packet()
            assert first & 0xF0 == 0x30
            assert split_publish(version, first, body) == ("flood", b"x" * SIZE)
            count += 1
    reader.sock.settimeout(5)
    return count


def flood(writer: Raw, version: int, qos: int, batches: int) -> None:
    for _ in range(batches):
        writer.send(
            b"".join(
                publish(version, "flood", b"x" * SIZE, qos=qos, packet_id=number + 1)
                for number in range(BATCH)
            )
        )
        if qos:
            assert all(writer.packet()[0] == 0x40 for _ in range(BATCH))
    writer.ping()


@pytest.mark.parametrize("transport", ["tcp", "ws"])
def test_the_policy_may_be_to_disconnect(shared: Start, transport: str) -> None:
    node = shared(
        LIMITS__MAX_QUEUED_BYTES=str(MB),
        LIMITS__MAX_PACKET_SIZE=str(MB // 4),
        LIMITS__QUEUE_FULL_POLICY="disconnect",
    )
    with open_raw(node, transport, receive_buffer=8192) as reader, Raw(node.tcp) as writer:
        reader.connect(V5, "sloth", keepalive=0)
        reader.subscribe(V5, "flood", qos=1)
        writer.connect(V5, "flood")
        flood(writer, V5, 1, 8)
        with pytest.raises(Closed):
            while True:
                first, _ = reader.packet()
                assert first & 0xF0 in (0x30, 0xE0)


def test_answers_that_nobody_reads_are_bounded_too(small_budget: Node) -> None:
    """PINGREQ without end from clients that take no PINGRESP: they are closed at their budget."""
    node = small_budget
    before = node.rss()
    node.forget_peak()
    with ThreadPoolExecutor() as pool:
        assert all(pool.map(lambda transport: ping_without_end(node, transport), ("tcp", "ws")))
    assert node.peak() - before < 2 * BUDGET + SLACK
    with Raw(node.tcp) as other:
        other.connect(V5, "other")
        other.ping()


def ping_without_end(node: Node, transport: str) -> bool:
    """True: the client was reset, once it had had time to take what was for it."""
    pings = packet(0xC0) * 60_000
    with open_raw(node, transport, receive_buffer=8192, timeout=20) as client:
        client.connect(V5, f"pinger-{transport}", keepalive=0)
        end = time.monotonic() + 15
        try:
            while time.monotonic() < end:
                client.send(pings)
        except OSError:
            return True
        return False
