"""No queue is longer than its callers' patience, and no work is done for who has left."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from apps.auth import callers
from apps.auth.callers import Overloaded, Pace
from apps.auth.facts import ConnectFacts
from apps.auth.fair_queue import Busy
from apps.auth.providers.base import Unavailable
from apps.auth.providers.database import Database
from apps.auth.providers.registry import Registry
from apps.gateway.mqtt import reasons
from tests.apps.auth.chains import build, connect
from tests.apps.auth.services import gateway, serving

SLOW = 0.05  # seconds that a question takes
PATIENCE = 0.5
SECRET = "gmq_" + "x" * 43
NOBODY = ConnectFacts(None, (), (), (), ())


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    made = Database(1, PATIENCE)
    yield made
    await asyncio.to_thread(made.close)


@pytest.fixture
def hold() -> Iterator[threading.Event]:
    """What waits for it in a thread goes on at the end."""
    event = threading.Event()
    timer = threading.Timer(4, event.set)
    timer.start()
    yield event
    event.set()
    timer.cancel()


class Work:
    """Counts how often it was done."""

    def __init__(self, seconds: float = SLOW) -> None:
        self.done = 0
        self._seconds = seconds

    def __call__(self, *_: Any) -> Any:
        self.done += 1
        time.sleep(self._seconds)
        return NOBODY


async def asked(ask: Callable[[], Any], left: Callable[[], bool] = lambda: False) -> tuple[str, float]:
    """How it ended, and after how many seconds."""
    began = time.monotonic()
    try:
        with callers.asking(left):
            await ask()
    except (Overloaded, Busy):
        return "refused", time.monotonic() - began
    return "answered", time.monotonic() - began


def judged(answers: list[tuple[str, float]], work: Work) -> None:
    """Some were answered, all of them in time, most others at once; nothing was done for nobody."""
    answered = [seconds for how, seconds in answers if how == "answered"]
    at_once = [seconds for how, seconds in answers if how == "refused" and seconds < PATIENCE / 3]
    assert 3 <= len(answered) <= PATIENCE / SLOW * 2
    assert max(answered) < PATIENCE * 2
    assert len(at_once) >= len(answers) / 2
    assert work.done <= len(answered) + 1


async def warmed(ask: Callable[[], Any]) -> None:
    """It was measured how long a question takes."""
    for _ in range(20):
        await ask()


def test_the_bound_is_what_can_be_served_in_time() -> None:
    pace = Pace(2, 10.0, 0.001)
    assert pace.bound == 20_000
    for _ in range(60):
        pace.took(0.5)
    assert 39 <= pace.bound <= 41
    for _ in range(60):
        pace.took(10.0, 1000)
    assert 1900 <= pace.bound <= 2100


async def test_the_database_is_asked_for_who_waits(database: Database) -> None:
    work = Work()
    await warmed(lambda: database.run(work))
    work.done = 0
    judged(await asyncio.gather(*(asked(lambda: database.run(work)) for _ in range(200))), work)


async def test_the_database_is_not_asked_for_who_has_left(database: Database) -> None:
    work, first, left = Work(), Work(PATIENCE / 2), threading.Event()
    slow = asyncio.create_task(database.run(first))
    others = [asyncio.create_task(asked(lambda: database.run(work), left.is_set)) for _ in range(20)]
    gone = asyncio.create_task(database.run(work))
    await asyncio.sleep(0.05)
    left.set()
    gone.cancel()
    await slow
    assert {how for how, _ in await asyncio.gather(*others)} == {"refused"}
    assert work.done == 0


async def test_who_has_no_patience_to_lose_is_answered(database: Database) -> None:
    """Readers of changes wait for as long as it takes: they end the sessions of those who are banned."""
    work = Work(0.005)
    assert len(await asyncio.gather(*(database.run(work) for _ in range(150)))) == 150


def registry(database: Database, work: Callable[..., Any]) -> Registry:
    return Registry(database, 10_000, 60, 60, fetch=work)


async def test_clients_are_looked_up_for_who_waits(database: Database, monkeypatch: Any) -> None:
    work = Work()
    monkeypatch.setattr("apps.auth.providers.registry.BATCH_SIZE", 1)  # as slow as it is without batches
    found = registry(database, work)
    for number in range(20):
        await found.facts(f"warm-{number}")
    work.done = 0
    answers = await asyncio.gather(*(asked(lambda n=n: found.facts(f"c-{n}")) for n in range(200)))
    judged(answers, work)


async def test_clients_that_left_are_not_looked_up(database: Database) -> None:
    work, first, left = Work(), Work(PATIENCE / 2), threading.Event()
    found = registry(database, work)
    slow = asyncio.create_task(database.run(first))
    tasks = [asyncio.create_task(asked(lambda n=n: found.facts(f"c-{n}"), left.is_set)) for n in range(5)]
    gone = asyncio.create_task(asked(lambda: found.facts("gone")))
    await asyncio.sleep(0.05)
    another = asyncio.create_task(found.facts("c-0"))  # who is in no hurry
    left.set()
    gone.cancel()
    await slow
    assert await another == NOBODY
    assert (await asyncio.gather(*tasks))[0][0] == "answered"
    assert {how for how, _ in (await asyncio.gather(*tasks))[1:]} == {"refused"}
    assert work.done == 1


async def test_a_client_hears_that_the_server_is_busy(hold: threading.Event) -> None:
    chain = build("django")
    chain.bans.take([])
    chain.parts.registry._pace.took(1e9)
    threads = [asyncio.create_task(chain.parts.database.run(hold.wait)) for _ in range(8)]
    await asyncio.sleep(0.05)
    waiting = [asyncio.create_task(chain.connect(connect(f"c-{n}", password=SECRET))) for n in range(30)]
    await asyncio.sleep(0.2)
    refused = [each.result().reason for each in waiting if each.done()]
    assert len(refused) >= 20
    assert set(refused) == {reasons.SERVER_BUSY}
    hold.set()
    await asyncio.gather(*threads, *waiting, return_exceptions=True)
    await chain.close()


@pytest.mark.django_db(transaction=True)
async def test_the_auth_service_says_that_it_is_busy(hold: threading.Event) -> None:
    """Its nodes hear it at once, and do not take it for ill."""
    async with serving() as service:
        node = await gateway(service.address, rpc__timeout_ms="3000")
        assert (
            await node.connect(connect("first", password=SECRET))
        ).reason == reasons.BAD_USER_NAME_OR_PASSWORD
        database = service.chain.parts.database
        service.chain.parts.registry._pace.took(1e9)
        threads = [asyncio.create_task(database.run(hold.wait)) for _ in range(8)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        asks = [asyncio.create_task(node.connect(connect(f"c-{n}", password=SECRET))) for n in range(30)]
        done, waiting = await asyncio.wait(asks, timeout=1.5)
        assert len(done) >= 20
        assert {each.result().reason for each in done} == {reasons.SERVER_BUSY}
        assert node.parts.rpc.ok
        for each in waiting:  # they leave: nothing is looked up for them
            each.cancel()
        await asyncio.wait(waiting)
        assert time.monotonic() - began < 3
        hold.set()
        await asyncio.gather(*threads)
        await node.close()


def test_overloaded_is_unavailable() -> None:
    """So what is remembered answers meanwhile."""
    assert issubclass(Overloaded, Unavailable)
