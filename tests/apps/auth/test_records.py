"""The table of what was refused and denied, and when a client was seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from apps.auth import records
from apps.auth.acl import Rules, Subject
from apps.auth.models import Client, Refusal
from apps.auth.providers.base import Unavailable
from apps.auth.providers.database import Database
from apps.auth.records import Records
from tests.apps.auth.chains import PEER, connect, register
from tests.apps.auth.rules import allow, deny

pytestmark = pytest.mark.django_db(transaction=True)

RULES = Rules([allow("a"), deny("b/#", "publish")], Subject("alice-1"))


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = Database()
    yield database
    database.close()


def writer(database: Database, kept: int = 100) -> Records:
    return Records(database, kept, "node-1", lambda client_id, action, topic: RULES.explain(action, topic))


async def test_who_when_where_why_and_by_which_rule(database: Database) -> None:
    notes = writer(database)
    notes.refused(connect(), 0x86, "wrong user name or password")
    notes.denied("alice-1", "alice", PEER, "publish", "b/c")
    notes.denied("alice-1", None, PEER, "subscribe", "#")
    assert notes.waiting == 3
    await notes.flush()
    assert notes.waiting == 0
    refused, denied, unmatched = [row async for row in Refusal.objects.order_by("id")]
    assert (refused.action, refused.client_id, refused.username) == ("connect", "alice-1", "alice")
    assert (refused.address, refused.transport, refused.node) == ("192.0.2.1", "tcp", "node-1")
    assert (refused.reason_code, refused.reason) == (0x86, "wrong user name or password")
    assert (denied.action, denied.topic, denied.rule_id) == ("publish", "b/c", RULES.rules[1].id)
    assert denied.reason == "deny publish b/#"
    assert (unmatched.topic, unmatched.rule_id, unmatched.reason) == ("#", None, "no rule allows it")


async def test_the_table_is_bounded(database: Database) -> None:
    notes = writer(database, kept=10)
    for n in range(35):
        notes.refused(connect(f"c{n}"), 0x86, "no")
        if n % 7 == 0:
            await notes.flush()
    await notes.flush()
    kept = [row.client_id async for row in Refusal.objects.order_by("id")]
    assert kept == [f"c{n}" for n in range(25, 35)]


async def test_the_queue_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "WAITING", 5)
    notes = writer(database)
    for _ in range(8):
        notes.refused(connect(), 0x86, "no")
    assert (notes.waiting, notes.dropped) == (5, 3)


async def test_what_a_stranger_sends_is_cut_and_cleaned(database: Database) -> None:
    notes = writer(database)
    notes.refused(connect("x\0" * 5000, "u" * 5000), 0x86, "r" * 5000)
    await notes.flush()
    row = await Refusal.objects.aget()
    assert (len(row.client_id), len(row.username), len(row.reason)) == (256, 256, 256)


async def test_nothing_is_lost_while_the_database_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = writer(database)

    async def away(*args: Any) -> None:
        raise Unavailable("away")

    await sync_to_async(register)()
    notes.connected("alice-1", "alice", PEER, 5)
    for n in range(3):
        notes.refused(connect(f"c{n}"), 0x86, "no")
    with monkeypatch.context() as patch:
        patch.setattr(database, "run", away)
        await notes.flush()
    assert notes.waiting == 3
    await notes.flush()
    assert [row.client_id async for row in Refusal.objects.order_by("id")] == ["c0", "c1", "c2"]
    assert (await Client.objects.aget()).last_seen is not None


async def test_a_table_of_no_rows_is_off(database: Database) -> None:
    notes = writer(database, kept=0)
    notes.refused(connect(), 0x86, "no")
    assert notes.waiting == 0
