"""Authenticators that are slow, silent or broken, behind a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from apps.gateway.broker.ports import ConnectRequest, Exchange, Verdict
from tests.apps.gateway.net.conftest import Serve
from tests.apps.gateway.support.doors import Open
from tests.wire.raw import V5, V311, connect, packet, publish, subscribe


class Slow:
    """Lets everybody in, after a while; `answer` in place of that."""

    def __init__(self, delay: float, answer: Any = None) -> None:
        self._delay = delay
        self._answer = answer if answer is not None else Verdict(0, Open())

    async def connect(self, request: ConnectRequest) -> Verdict:
        await asyncio.sleep(self._delay)
        if isinstance(self._answer, Exception):
            raise self._answer
        verdict: Verdict = self._answer
        return verdict

    def exchange(self, request: ConnectRequest) -> Exchange | None:
        return None


async def talk(port: int, data: bytes, end: bool = False) -> bytes:
    """Everything that is answered until the close; `end`: the client says at once that it has no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if end:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


@pytest.mark.parametrize("end", [False, True])
async def test_what_comes_before_the_decision_waits_for_it(serve: Serve, end: bool) -> None:
    """A device that sends everything in one piece and leaves."""
    served = await serve(Slow(0.1))
    data = (
        connect(V311, "c") + subscribe(V311, "t") + publish(V311, "t", b"x", qos=1) + b"\xc0\0" + packet(0xE0)
    )
    answers = await talk(served.port, data, end)
    assert answers == b"\x20\2\0\0" + b"\x90\3\0\1\0" + b"\x30\4\0\1tx" + b"\x40\2\0\1" + b"\xd0\0" or (
        answers == b"\x20\2\0\0" + b"\x90\3\0\1\0" + b"\x40\2\0\1" + b"\x30\4\0\1tx" + b"\xd0\0"
    )


async def test_a_flood_before_the_decision_is_held_back(serve: Serve) -> None:
    served = await serve(Slow(0.5))
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(connect(V311, "c"))
    data = publish(V311, "t", bytes(10_000)) * 2000
    writer.write(data)
    await asyncio.sleep(0.3)
    assert served.node.stats.inbound < 10_000_000
    writer.write(b"\xc0\0")
    assert await asyncio.wait_for(reader.readexactly(6), 5) == b"\x20\2\0\0\xd0\0"
    assert served.node.stats.publishes_in == 2000
    assert served.node.stats.inbound == 0
    writer.close()


async def test_a_client_that_does_not_wait(serve: Serve) -> None:
    """It is gone before the decision on it: no session, no trace."""
    served = await serve(Slow(0.2))
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(connect(V311, "c", will=("t", b"x")))
    await asyncio.sleep(0.05)
    writer.transport.abort()
    await asyncio.sleep(0.4)
    assert served.node.sessions == {}
    assert served.node.stats.held == 0


async def test_no_decision_at_all(serve: Serve) -> None:
    """The CONNECT timeout is for both sides."""
    served = await serve(Slow(60), connect_timeout=1)
    assert await talk(served.port, connect(V5, "c")) != b""
    assert served.node.sessions == {}


@pytest.mark.parametrize(
    ("version", "answer"), [(V311, b"\x20\2\0\3"), (V5, b"\x20\3\0\x88\0")], ids=["3.1.1", "5.0"]
)
async def test_an_authenticator_that_fails(
    serve: Serve, version: int, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    served = await serve(Slow(0, ConnectionError("the database is away")))
    assert await talk(served.port, connect(version, "c")) == answer
    assert "the database is away" in caplog.text


async def test_an_authenticator_that_answers_nonsense(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A bug of ours: the client is let go, and others are served."""
    served = await serve(Slow(0, "yes"))
    with contextlib.suppress(ConnectionError):  # reset
        assert await talk(served.port, connect(V5, "c")) == b""
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert served.node.sessions == {}
