"""aiomqtt, in every version, over TCP, TLS, WebSocket and secure WebSocket."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import aiomqtt
import pytest
from aiomqtt import Client, ProtocolVersion, Will

from tests.wire.certs import Certificates
from tests.wire.nodes import Node

TIMEOUT = 5.0  # seconds
count = itertools.count()

Make = Callable[..., Client]


@pytest.fixture(params=[ProtocolVersion.V31, ProtocolVersion.V311, ProtocolVersion.V5])
def version(request: pytest.FixtureRequest) -> ProtocolVersion:
    return ProtocolVersion(request.param)


@pytest.fixture(params=["tcp", "tls", "ws", "wss"])
def make(
    request: pytest.FixtureRequest, node: Node, certificates: Certificates, version: ProtocolVersion
) -> Make:
    """make("name", ...): a client that is not connected yet."""
    door = request.param
    prefix = f"aiomqtt{next(count)}"

    def client(name: str, **options: object) -> Client:
        return Client(
            "127.0.0.1",
            {"tcp": node.tcp, "tls": node.tls, "ws": node.ws, "wss": node.wss}[door],
            identifier=prefix + name,
            protocol=version,
            transport="websockets" if door in ("ws", "wss") else "tcp",
            tls_context=certificates.context() if door in ("tls", "wss") else None,
            timeout=TIMEOUT,
            **options,  # type: ignore[arg-type]
        )

    return client


async def take(client: Client, number: int) -> list[tuple[bytes, int, bool]]:
    async with asyncio.timeout(TIMEOUT):
        got = []
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            got.append((message.payload, int(message.qos), message.retain))
            if len(got) == number:
                break
        return got


async def test_messages_retained_and_wills(make: Make) -> None:
    topic = f"aiomqtt/{next(count)}"
    async with make("reader") as reader, make("writer") as writer:
        await reader.subscribe(f"{topic}/+", qos=2)
        for qos in (0, 1, 2):
            await writer.publish(f"{topic}/a", b"%d" % qos, qos=qos)
            assert await take(reader, 1) == [(b"%d" % qos, qos, False)]
        await writer.publish(f"{topic}/kept", b"kept", qos=1, retain=True)
        async with make("late") as late:
            await late.subscribe(f"{topic}/kept", qos=1)
            assert await take(late, 1) == [(b"kept", 1, True)]
        await writer.publish(f"{topic}/kept", b"", qos=1, retain=True)
        assert await take(reader, 2) == [(b"kept", 1, False), (b"", 1, False)]
        # The same client identifier again: the first is disconnected and its will is published.
        dying = make("dying", will=Will(f"{topic}/will", b"gone", qos=1))
        with pytest.raises(aiomqtt.MqttError):
            async with dying, make("dying"):
                await take(dying, 1)
        assert await take(reader, 1) == [(b"gone", 1, False)]


async def test_many_at_once(make: Make) -> None:
    topic = f"aiomqtt/{next(count)}"
    async with make("reader") as reader, make("writer") as writer:
        await reader.subscribe(topic, qos=1)
        await asyncio.gather(*(writer.publish(topic, b"%d" % number, qos=1) for number in range(200)))
        got = await take(reader, 200)
        assert sorted(int(payload) for payload, _, _ in got) == list(range(200))
