"""A listener hears its group, only what is signed, and goes on when the layer was away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from apps.common import listening
from apps.common.listening import Listener
from apps.common.signed import Reader, sign
from tests.support.waiting import until

GROUP = "gmqtt.test"
PURPOSE = "test"


class Layer(InMemoryChannelLayer):
    """`away`: it fails. It forgets its groups as a Redis does that was emptied."""

    away = False

    async def receive(self, channel: str) -> Any:
        while not self.away:
            try:
                async with asyncio.timeout(0.01):
                    return await super().receive(channel)
            except TimeoutError:
                continue
        raise ConnectionError("gone")

    async def group_add(self, group: str, channel: str) -> None:
        if self.away:
            raise ConnectionError("gone")
        await super().group_add(group, channel)

    async def say(self, **body: Any) -> None:
        await self.group_send(GROUP, {"type": "said", "body": sign(PURPOSE, body)})


@asynccontextmanager
async def listening_to(layer: Layer) -> AsyncIterator[tuple[Listener, list[Any], list[bool]]]:
    heard: list[Any] = []
    joined: list[bool] = []
    listener = Listener(layer, GROUP, Reader(PURPOSE), heard.append, joined.append)
    task = asyncio.create_task(listener.run())
    try:
        await until(lambda: joined == [False])
        yield listener, heard, joined
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_hears_what_is_signed_for_it() -> None:
    layer = Layer()
    async with listening_to(layer) as (_, heard, _joined):
        await layer.group_send(GROUP, {"type": "said", "body": sign("another", {"number": 0})})
        await layer.group_send(GROUP, {"type": "said", "body": {"number": 1}})
        await layer.say(number=2)
        await until(lambda: heard)
        assert heard == [{"number": 2}]


async def test_it_comes_back_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "RETRY", 0.01)
    layer = Layer()
    async with listening_to(layer) as (listener, heard, joined):
        layer.away = True
        await until(lambda: listener.deaf_since is not None)
        layer.groups.clear()
        layer.away = False
        await until(lambda: joined == [False, True])
        assert listener.deaf_since is None
        await layer.say(number=1)
        await until(lambda: heard == [{"number": 1}])


async def test_its_place_in_the_group_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer forgets members of a group after a day."""
    monkeypatch.setattr(listening, "RENEW", 0.05)
    layer = Layer()
    async with listening_to(layer) as (listener, heard, joined):
        layer.groups.clear()
        await until(lambda: layer.groups.get(GROUP))
        await layer.say(number=1)
        await until(lambda: heard)
        assert joined == [False] and listener.deaf_since is None
