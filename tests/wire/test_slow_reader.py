"""A reader that never reads, while others publish to it: it costs at most its byte budget, what it
misses is counted, and when it reads at last every message is accounted for."""

from __future__ import annotations

import time

import pytest

from tests.wire.conftest import Start
from tests.wire.nodes import Node, until
from tests.wire.raw import V5, V311, Closed, Raw, open_raw, packet, publish, split_publish, sys_value

MB = 1_048_576
BUDGET = 2 * MB
SIZE = 8192  # bytes of a payload
BATCH = 128
BATCHES = 64  # 64 MB in all
SLACK = 32 * MB  # of the interpreter, the kernel's buffers not included


@pytest.fixture
def small_budget(start: Start) -> Node:
    return start(
        LIMITS__MAX_QUEUED_BYTES=str(BUDGET),
        LIMITS__MAX_QUEUED_MESSAGES="1000000",
        LIMITS__INFLIGHT_WINDOW="65535",
        NODE__SYS_INTERVAL="1",
    )


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("transport", ["tcp", "ws"])
def test_memory_is_bounded_and_drops_are_counted(
    small_budget: Node, transport: str, qos: int, version: int
) -> None:
    node = small_budget
    total = BATCH * BATCHES
    with open_raw(node, transport, receive_buffer=8192) as reader, Raw(node.tcp) as writer:
        reader.connect(version, "sloth", keepalive=0)
        reader.subscribe(version, "flood", qos=qos)
        writer.connect(version, "flood")
        flood(writer, version, qos, BATCHES // 8)  # buffers are as large as they get
        before = node.rss()
        flood(writer, version, qos, BATCHES - BATCHES // 8)
        assert node.peak() - before < BUDGET + SLACK
        dropped = 0

        def settled() -> bool:
            nonlocal dropped
            last, dropped = dropped, sys_value(node, "publish/messages/dropped")
            return 0 < dropped == last

        until(settled, 10)
        # Now it reads, and it acknowledges nothing.
        received = 0
        while received + dropped < total:
            first, body = reader.packet()
            assert first & 0xF0 == 0x30
            assert split_publish(version, first, body) == ("flood", b"x" * SIZE)
            received += 1
        assert received < total
        reader.ping()  # nothing came twice, and it is a client like any other again


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
def test_the_policy_may_be_to_disconnect(start: Start, transport: str) -> None:
    node = start(LIMITS__MAX_QUEUED_BYTES=str(MB), LIMITS__QUEUE_FULL_POLICY="disconnect")
    with open_raw(node, transport, receive_buffer=8192) as reader, Raw(node.tcp) as writer:
        reader.connect(V5, "sloth", keepalive=0)
        reader.subscribe(V5, "flood", qos=1)
        writer.connect(V5, "flood")
        flood(writer, V5, 1, 8)
        with pytest.raises(Closed):
            while True:
                first, _ = reader.packet()
                assert first & 0xF0 in (0x30, 0xE0)


@pytest.mark.parametrize("transport", ["tcp", "ws"])
def test_answers_that_nobody_reads_are_bounded_too(small_budget: Node, transport: str) -> None:
    """PINGREQ without end from a client that takes no PINGRESP: it is closed at its budget."""
    node = small_budget
    with open_raw(node, transport, receive_buffer=8192, timeout=20) as client:
        client.connect(V5, "pinger", keepalive=0)
        before = node.rss()
        pings = packet(0xC0) * 60_000
        end = time.monotonic() + 15
        with pytest.raises(OSError):  # reset, once it had time to take what was for it
            while time.monotonic() < end:
                client.send(pings)
        assert node.peak() - before < BUDGET + SLACK
    with Raw(node.tcp) as other:
        other.connect(V5, "other")
        other.ping()
