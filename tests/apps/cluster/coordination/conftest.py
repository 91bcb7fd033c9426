from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from tests.apps.cluster.coordination.hosts import Bus, Host
from tests.apps.cluster.coordination.proxy import Proxy


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The node's own."""
    return {"uvloop": uvloop.new_event_loop}


Cluster = Callable[..., Any]


@pytest.fixture
async def cluster(redis_url: str) -> AsyncIterator[Cluster]:
    """await cluster("a", "b", url=..., fence=...): nodes that have joined, in this order."""
    bus = Bus()

    async def start(*names: str, url: str = redis_url, **options: Any) -> list[Host]:
        return [await Host(name, url, bus, **options).start() for name in names]

    yield start
    for host in bus.hosts:
        await host.stop()


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    """A way to Redis that can be cut."""
    found = await Proxy(redis_url).start()
    yield found
    await found.stop()
