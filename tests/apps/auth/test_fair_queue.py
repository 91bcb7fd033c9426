"""Whose password is checked next, and who is sent away."""

from __future__ import annotations

import asyncio
import random

import pytest

from apps.auth.fair_queue import Asker, Busy, FairQueue

HOME, AWAY = "192.0.2.1", "198.51.100.1"


class Clients:
    """They enter one after the other, and note when it is their turn."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue = queue
        self.served: list[str] = []
        self.refused: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def _enter(self, label: str, asker: Asker) -> None:
        try:
            await self.queue.enter(asker)
            self.served.append(label)
        except Busy:
            self.refused.append(label)

    async def enter(self, label: str, asker: Asker) -> None:
        self.tasks[label] = asyncio.ensure_future(self._enter(label, asker))
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_address_has_its_turn() -> None:
    clients = Clients(FairQueue(1, 100, 60))
    for number in range(20):
        await clients.enter(f"stranger-{number}", Asker(AWAY, f"name-{number}"))
    await clients.enter("owner", Asker(HOME, "owner"))
    clients.queue.leave(Asker(AWAY, "name-0"), 0.1, False)
    await settle()
    assert clients.served == ["stranger-0", "owner"]
    for task in clients.tasks.values():
        task.cancel()


async def test_who_was_wrong_comes_after_who_was_not_at_one_address() -> None:
    """As behind one NAT, or a proxy that does not say whom it stands for."""
    clients = Clients(FairQueue(1, 10, 60))
    for number in range(10):
        await clients.enter(f"first-{number}", Asker(HOME, f"name-{number}"))
    for number in range(10):
        clients.queue.leave(Asker(HOME, f"name-{number}"), 0.1, False)
        await settle()
    await clients.enter("runs", Asker(HOME, "name-0"))
    for number in range(10):
        await clients.enter(f"again-{number}", Asker(HOME, f"name-{number}"))
    await clients.enter("owner", Asker(HOME, "owner"))
    assert len(clients.refused) == 1
    clients.queue.leave(Asker(HOME, "name-0"), 0.1, False)
    await settle()
    assert clients.served[-1] == "owner"
    for task in clients.tasks.values():
        task.cancel()


async def test_an_address_whose_clients_were_wrong_comes_after_others() -> None:
    clients = Clients(FairQueue(1, 10, 60))
    await clients.enter("first", Asker(AWAY, "guess"))
    clients.queue.leave(Asker(AWAY, "guess"), 0.1, False)
    await clients.enter("runs", Asker(AWAY, "guess"))
    await clients.enter("again", Asker(AWAY, "other"))
    await clients.enter("owner", Asker(HOME, "owner"))
    clients.queue.leave(Asker(AWAY, "guess"), 0.1, False)
    await settle()
    assert clients.served[-1] == "owner"
    for task in clients.tasks.values():
        task.cancel()


async def test_a_full_queue_refuses_who_has_most_in_it() -> None:
    clients = Clients(FairQueue(1, 5, 60))
    for number in range(6):
        await clients.enter(f"stranger-{number}", Asker(AWAY, f"name-{number}"))
    await clients.enter("owner", Asker(HOME, "owner"))
    assert clients.refused == ["stranger-5"]
    await clients.enter("stranger-6", Asker(AWAY, "name-6"))
    assert clients.refused == ["stranger-5", "stranger-6"]
    for task in clients.tasks.values():
        task.cancel()


async def test_no_more_wait_than_can_be_served_in_time() -> None:
    queue = FairQueue(2, 1000, 10)
    asker = Asker(HOME, "x")
    assert queue.bound == 66  # 10 s of two threads with 0.3 s for each
    for _ in range(100):
        await queue.enter(asker)
        queue.leave(asker, 1.0, True)
    assert queue.bound == 20


async def test_no_work_for_who_has_left() -> None:
    clients, gone = Clients(FairQueue(1, 100, 60)), False
    await clients.enter("runs", Asker(HOME, "a"))
    await clients.enter("leaves", Asker(HOME, "b", lambda: gone))
    await clients.enter("stays", Asker(HOME, "c"))
    gone = True
    clients.queue.leave(Asker(HOME, "a"), 0.1, True)
    await settle()
    assert clients.served == ["runs", "stays"] and clients.refused == ["leaves"]


async def test_nobody_waits_beyond_patience() -> None:
    queue = FairQueue(1, 100, 0.01)
    await queue.enter(Asker(HOME, "a"))
    with pytest.raises(Busy):
        await queue.enter(Asker(HOME, "b"))
    assert queue.waiting == 0
    queue.leave(Asker(HOME, "a"), 0.1, True)
    assert queue.running == 0


async def test_who_gives_up_at_any_moment_leaves_no_trace() -> None:
    chance = random.Random(7)
    queue = FairQueue(2, 20, 60)

    async def work(number: int) -> None:
        asker = Asker(f"192.0.2.{number % 5}", f"name-{number % 11}")
        try:
            await queue.enter(asker)
        except Busy:
            return
        try:
            await asyncio.sleep(0)
        finally:
            queue.leave(asker, 0.1, chance.random() < 0.5)

    for _ in range(20):
        tasks = [asyncio.ensure_future(work(number)) for number in range(30)]
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)
        for task in chance.sample(tasks, 15):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (queue.running, queue.waiting) == (0, 0)
