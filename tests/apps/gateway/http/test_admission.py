"""Requests wait no longer than their clients do, and nothing is done for those that have left."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from apps.gateway.http.admission import LEFT, Admission

SLOW, PATIENCE = 0.05, 0.5


class Site:
    """An application whose answers take SLOW seconds; `done` of them were begun."""

    def __init__(self) -> None:
        self.done = self.at_once = self.most = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.done += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(SLOW)
        finally:
            self.at_once -= 1
        if scope["path"] == "/broken":
            raise ValueError("broken")
        await send({"type": "http.response.start", "status": 200})
        if scope["path"] == "/stream":
            await asyncio.sleep(5 * SLOW)
        await send({"type": "http.response.body"})


async def ask(site: Admission, path: str = "/", left: bool = False) -> tuple[int, float]:
    """The status, 0 for none, and the seconds until it."""
    began, status, at = time.monotonic(), 0, 0.0

    async def send(message: Any) -> None:
        nonlocal status, at
        if message["type"] == "http.response.start":
            status, at = message["status"], time.monotonic() - began

    await site({"type": "http", "path": path, LEFT: lambda: left}, None, send)
    return status, at


async def test_the_line_is_as_long_as_can_be_served_in_time() -> None:
    site = Site()
    door = Admission(site, at_once=2, patience=PATIENCE)
    for _ in range(20):
        await ask(door)
    site.done = 0
    answers = await asyncio.gather(*(ask(door) for _ in range(200)))
    served = [at for status, at in answers if status == 200]
    at_once = [at for status, at in answers if status == 503 and at < PATIENCE / 3]
    assert 5 <= len(served) <= 2 * PATIENCE / SLOW + 2
    assert max(served) < PATIENCE + 3 * SLOW
    assert len(at_once) > 150
    assert site.done == len(served)
    assert site.most == 2


async def test_those_at_the_end_are_told_when_it_takes_longer_than_it_did() -> None:
    door = Admission(Site(), at_once=1, patience=PATIENCE)
    door._seconds = SLOW / 100
    answers = await asyncio.gather(*(ask(door) for _ in range(200)))
    early = [at for status, at in answers if status == 503 and at < PATIENCE * 0.8]
    assert len(early) > 150


async def test_no_work_for_who_has_left() -> None:
    site = Site()
    door = Admission(site, at_once=1, patience=PATIENCE)
    first = asyncio.create_task(ask(door))
    gone = [asyncio.create_task(ask(door, left=True)) for _ in range(5)]
    cancelled = [asyncio.create_task(ask(door)) for _ in range(3)]
    last = asyncio.create_task(ask(door))
    await asyncio.sleep(SLOW / 2)
    for each in cancelled:
        each.cancel()
    assert (await first)[0] == (await last)[0] == 200
    assert {status for status, _ in await asyncio.gather(*gone)} == {0}
    assert site.done == 2
    assert (await ask(door))[0] == 200  # no place was lost


async def test_an_answer_that_is_sent_keeps_no_place_and_an_error_neither() -> None:
    door = Admission(Site(), at_once=1, patience=PATIENCE)
    stream = asyncio.create_task(ask(door, "/stream"))
    await asyncio.sleep(0)
    assert (await ask(door))[1] < 4 * SLOW
    await stream
    broken = await asyncio.gather(*(ask(door, "/broken") for _ in range(3)), return_exceptions=True)
    assert all(isinstance(each, ValueError) for each in broken)
    assert (await ask(door))[0] == 200


async def test_health_does_not_wait() -> None:
    site = Site()
    door = Admission(site, at_once=1, patience=PATIENCE)
    line = [asyncio.create_task(ask(door)) for _ in range(5)]
    await asyncio.sleep(0)
    assert (await ask(door, "/healthz"))[1] < 2 * SLOW
    await asyncio.gather(*line)
