"""What is kept on disk of clients lets them in at a start without the database, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from apps.auth.facts import BanFacts, ClientFacts, ConnectFacts, CredentialFacts, RuleFacts
from apps.auth.kept import NAME, WAITING, Kept
from apps.auth.providers import chain as chains
from apps.auth.providers.chain import Chain
from apps.auth.services import bans, rules
from apps.common.actors import SYSTEM
from apps.gateway.mqtt import reasons
from gmqtt_platform.config.loader import load
from tests.apps.auth.chains import connect, counting_queries, register
from tests.apps.auth.stages import staged, within_a_second

BAN = BanFacts(1, "client_id", "mallory", None, "")


def facts(client_id: str = "alice-1") -> ConnectFacts:
    return ConnectFacts(
        ClientFacts(1, client_id, True, 15),
        (CredentialFacts(2, "secret", "alice", "sha256$a$b", "", "", "", "", 1e10),),
        ("group",),
        (RuleFacts(3, "allow", "both", "a/#", 2, True, 0, "client", ""),),
        (),
    )


class Clock:
    def __init__(self) -> None:
        self.at = 1e9

    def __call__(self) -> float:
        return self.at


def opened(tmp_path: Path, clock: Callable[[], float], size: int = 1000) -> Kept:
    return Kept(tmp_path / NAME, size, 600.0, clock)


async def followed(tmp_path: Path, clock: Callable[[], float]) -> Kept:
    kept = opened(tmp_path, clock)
    kept.begin()
    kept.put("alice-1", facts())
    kept.keep_bans([BAN])
    await kept.flush()
    return kept


async def test_what_was_kept_is_there_after_a_kill(tmp_path: Path) -> None:
    clock = Clock()
    await followed(tmp_path, clock)  # and not closed
    again = opened(tmp_path, clock)
    assert again.find("alice-1") == facts()
    assert again.find("bob-1") is None
    assert again.bans() == [BAN]
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


async def test_it_is_believed_as_long_as_the_grace_says(tmp_path: Path) -> None:
    clock = Clock()
    kept = await followed(tmp_path, clock)
    clock.at += 3600  # nothing changed, and that is known
    kept.followed()
    await kept.flush()
    clock.at += 599
    again = opened(tmp_path, clock)
    assert again.find("alice-1") is not None and again.bans() is not None
    clock.at += 2
    assert again.find("alice-1") is None and again.bans() is None


async def test_what_was_taken_away_is_gone_at_once(tmp_path: Path) -> None:
    clock = Clock()
    kept = await followed(tmp_path, clock)
    kept.put("waits", facts("waits"))
    kept.forget(["alice-1", "waits", "never-there"])
    assert kept.find("alice-1") is None and kept.find("waits") is None and kept.memory == 0
    assert opened(tmp_path, clock).find("alice-1") is None
    kept.put("alice-1", facts())
    await kept.flush()
    kept.forget(None)
    assert opened(tmp_path, clock).find("alice-1") is None


async def test_what_is_forgotten_while_it_is_written(tmp_path: Path) -> None:
    clock = Clock()
    kept = await followed(tmp_path, clock)
    kept.put("bob-1", facts("bob-1"))
    with kept._lock:  # the thread that writes waits
        flushing = asyncio.create_task(kept.flush())
        await asyncio.sleep(0.05)
        assert kept.find("bob-1") is not None
        forgetting = asyncio.create_task(asyncio.to_thread(kept.forget, ["bob-1"]))
        await asyncio.sleep(0.05)
    await flushing
    await forgetting
    assert kept.find("bob-1") is None and kept.memory == 0


async def test_a_process_that_begins_to_follow_believes_no_earlier_one(tmp_path: Path) -> None:
    """What was changed between the two it would never hear of."""
    clock = Clock()
    await followed(tmp_path, clock)
    again = opened(tmp_path, clock)
    again.begin()
    assert again.find("alice-1") is None


async def test_its_bounds(tmp_path: Path) -> None:
    clock = Clock()
    kept = opened(tmp_path, clock, size=10)
    kept.begin()
    for number in range(15):
        clock.at += 1
        kept.put(f"client-{number}", facts(f"client-{number}"))
        await kept.flush()
    assert [kept.find(f"client-{number}") is not None for number in range(15)] == [False] * 5 + [True] * 10
    kept.memory = WAITING
    kept.put("one-more", facts("one-more"))
    assert kept.find("one-more") is None


@pytest.mark.parametrize("content", [b"this is no database, and long enough to tell" * 50, b""])
async def test_a_file_that_fails(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / NAME).write_bytes(content)
    kept = opened(tmp_path, Clock())
    assert ("cannot be kept on disk" in caplog.text) == bool(content)
    if not content:
        kept._file.execute("DROP TABLE facts")  # type: ignore[union-attr]
    kept.begin()
    kept.put("alice-1", facts())
    await kept.flush()
    assert kept.find("alice-1") is None and kept.bans() is None and kept.memory == 0
    assert caplog.text.count("cannot be kept on disk") == 1
    kept.close()


async def test_another_format_is_emptied(tmp_path: Path) -> None:
    clock = Clock()
    (await followed(tmp_path, clock)).close()
    with sqlite3.connect(tmp_path / NAME) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    kept = opened(tmp_path, clock)
    assert kept.find("alice-1") is None
    kept.close()


async def within_seconds(holds: Callable[[], bool]) -> None:
    for _ in range(5):
        with contextlib.suppress(AssertionError):
            return await within_a_second(holds)
    await within_a_second(holds)


# ---------------------------------------------------------------- a chain that has it


def chain_of(tmp_path: Path) -> Chain:
    environ = {"GMQTT_AUTH__CLIENT": "django", "GMQTT_AUTH__ACL": "django", "GMQTT_AUTH__CACHE_GRACE": "10"}
    return chains.build(load(environ).auth, data_dir=tmp_path)


def stopped(chain: Chain) -> Callable[[], None]:
    """The database answers nothing; what makes it answer again."""
    run = chain.parts.database._pool.submit

    def submit(call: Any, *args: Any) -> Any:
        def fail() -> None:
            raise OperationalError("gone")

        return run(fail)

    chain.parts.database._pool.submit = submit  # type: ignore[method-assign, assignment]

    def start() -> None:
        chain.parts.database._pool.submit = run  # type: ignore[method-assign]

    return start


@pytest.mark.django_db(transaction=True)
async def test_a_start_without_the_database(tmp_path: Path) -> None:
    """Who was known comes in, and goes when the database says so; strangers and the banned do not."""
    client, secret = await sync_to_async(register)()
    _, other = await sync_to_async(register)("mallory", "mallory")
    await sync_to_async(rules.create)(SYSTEM, effect="allow", action="both", filter="a", client=client)
    first = chain_of(tmp_path)
    async with staged(first) as stage:
        await stage.node.enter(first, "alice-1", "alice", secret)
        assert (await first.connect(connect("mallory", "mallory", other))).accepted
        await sync_to_async(bans.create)(SYSTEM, kind="client_id", value="mallory")
        await first.load_bans()
        await first.parts.kept.flush()  # type: ignore[union-attr]
    second = chain_of(tmp_path)
    start = stopped(second)
    async with staged(second) as stage:
        await stage.node.enter(second, "alice-1", "alice", secret)
        assert stage.may(topic="a") and not stage.may(topic="b")
        with counting_queries(second) as asked:
            assert (await second.connect(connect("alice-1", "alice", "wrong"))).reason == 0x86
        assert "_fetch_all" not in asked  # it has failed just now: a storm does not wait for that each time
        assert (await second.connect(connect("mallory", "mallory", other))).reason == reasons.BANNED
        stranger = await second.connect(connect("bob-1", "bob", "x"))
        assert stranger.reason == reasons.SERVER_UNAVAILABLE
        await sync_to_async(client.delete)()  # nobody tells the node
        start()
        await within_seconds(lambda: stage.node.kicked == [("alice-1", reasons.NOT_AUTHORIZED)])
