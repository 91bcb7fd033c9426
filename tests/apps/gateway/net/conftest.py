from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop

from apps.gateway.broker.limits import Limits
from apps.gateway.broker.node import Node
from apps.gateway.broker.ports import Authenticator, Peer
from apps.gateway.consumers import MqttConsumer
from apps.gateway.net.handshakes import Handshakes
from apps.gateway.net.runner import Runner
from apps.gateway.net.server import Listener, MqttServer
from apps.gateway.runtime import Runtime
from tests.apps.gateway.support.doors import Door
from tests.apps.gateway.support.world import Events
from tests.wire import certs
from tests.wire.certs import Certificates


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The node's own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certs.make(Path(tmp_path_factory.mktemp("certificates")))


@dataclass
class Served:
    """A server on the test's own loop."""

    server: MqttServer
    node: Node
    port: int
    peers: list[Peer]  # of its connections, as the application saw them
    handshakes: Handshakes


Serve = Callable[..., Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """await serve(authenticator, context, proxy, <limit>=...): an MqttServer with the real consumer."""
    started: list[tuple[MqttServer, Runner]] = []

    async def start(
        authenticator: Authenticator | None = None,
        context: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
        proxy: bool = False,
        trusted: tuple[Any, ...] = (),
        **limits: Any,
    ) -> Served:
        loop = asyncio.get_running_loop()
        runner = Runner(loop)
        node = Node(
            name="test",
            version="0",
            limits=Limits(**limits),
            observer=Events(),
            wake=runner.wake,
            assign=lambda: "assigned",
            now=runner.now(),
            sys_interval=0.0,
        )
        runner.start(node)
        consumer = MqttConsumer.as_asgi(runtime=Runtime(node, runner, authenticator or Door()))
        peers: list[Peer] = []

        async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
            peers.append(scope["mqtt.peer"])
            await consumer(scope, receive, send)

        handshakes = Handshakes()
        server = MqttServer(node, runner, application, loop, handshakes)
        listening = socket.create_server(("127.0.0.1", 0))
        begin = (lambda: context) if isinstance(context, ssl.SSLContext) else context
        await server.listen(Listener(listening, begin, proxy, trusted))
        started.append((server, runner))
        return Served(server, node, listening.getsockname()[1], peers, handshakes)

    yield start
    for server, runner in started:
        server.stop_accepting()
        runner.stop()
        for stream in list(server._streams):
            stream.abort()
        await asyncio.sleep(0.01)
