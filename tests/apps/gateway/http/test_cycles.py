"""What HTTP requests leave in reference cycles is freed by its bytes, and best between two requests."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from apps.gateway.http.cycles import BUSY, REQUEST, WORTH, CyclesFreed

BODY = 100_000  # bytes


class Page:
    """What a request leaves: it refers to itself, as Django's do."""

    def __init__(self) -> None:
        self.body = b"x" * BODY
        self.page = self


@pytest.fixture
def no_collector() -> Iterator[None]:
    """As good as that of a node, which comes after 50,000 objects."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def ask(application: Any) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"asked"}

    async def send(message: Any) -> None:
        assert message["type"].startswith("http.response")

    await application({"type": "http"}, receive, send)
    await asyncio.sleep(0)


def test_what_requests_leave_is_freed_by_its_bytes(no_collector: None) -> None:
    left: weakref.WeakSet[Page] = weakref.WeakSet()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        page = Page()
        left.add(page)
        assert await receive() == {"type": "http.request", "body": b"asked"}
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": page.body})

    async def run() -> int:
        freed = CyclesFreed(application)
        most = 0
        for _ in range(500):
            await ask(freed)
            most = max(most, len(left))
        return most

    assert asyncio.run(run()) <= WORTH // (REQUEST + BODY) + 2


def test_the_old_are_looked_through_between_requests_only() -> None:
    """Else a request in work would be among those that are looked through next to never."""
    collected: list[int] = []
    waits = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("waits"):
            await waits.wait()

    async def run() -> None:
        freed = CyclesFreed(application, collected.append)
        enough = WORTH // REQUEST + 1
        for _ in range(enough):
            await ask(freed)
        assert collected == [1]
        slow = asyncio.create_task(freed({"type": "http", "waits": True}, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        for _ in range(enough):
            await ask(freed)
        assert collected == [1]  # it waits for the moment without a request,
        for _ in range((BUSY - 1) * enough):
            await ask(freed)
        assert collected == [1, 0]  # and not for ever
        for _ in range(enough):
            await ask(freed)
        waits.set()
        await slow
        await asyncio.sleep(0)
        assert collected == [1, 0, 1]

    asyncio.run(run())


def test_an_error_is_passed_on_and_counts() -> None:
    collected: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("broken")

    async def run() -> None:
        freed = CyclesFreed(application, collected.append)
        for _ in range(WORTH // REQUEST + 1):
            with pytest.raises(ValueError, match="broken"):
                await ask(freed)
        await asyncio.sleep(0)
        assert collected == [1]

    asyncio.run(run())
