"""The drop ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.cluster.directory import drops
from apps.cluster.directory.drops import DropLedger
from apps.cluster.models import Drop

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 1, 12, 5, tzinfo=UTC)


def test_a_flood_is_one_row() -> None:
    ledger = DropLedger()
    for minute in range(50):
        for _ in range(1000):
            ledger.dropped("pump", "slow_subscriber", "a/b", 3)
        drops.write("here", ledger.take(), NOON + timedelta(minutes=minute))
    row = Drop.objects.get()
    assert (row.count, row.direction, row.reason) == (150_000, "out", "slow_subscriber")
    assert (row.client_id, row.topic, row.node) == ("pump", "a/b", "here")
    assert (row.first, row.last, row.bucket) == (NOON, NOON + timedelta(minutes=49), NOON.replace(minute=0))


def test_each_kind_and_hour_has_its_row() -> None:
    ledger = DropLedger()
    ledger.dropped("pump", "queue_full", "a", 1)
    ledger.dropped("Pump", "queue_full", "a", 1)
    ledger.dropped("pump", "denied", "a", 1)
    counted = ledger.take()
    drops.write("here", counted, NOON)
    drops.write("there", counted, NOON)
    drops.write("there", counted, NOON + timedelta(hours=1))
    assert Drop.objects.count() == 9
    assert Drop.objects.filter(direction="in").count() == 3
    assert ledger.take() == {}


def test_many_kinds_are_counted_by_reason_alone() -> None:
    ledger = DropLedger()
    for number in range(5000):
        ledger.dropped(f"pump-{number}", "queue_full", "a", 1)
    ledger.dropped("pump-0", "queue_full", "a", 1)
    ledger.dropped("pump-4999", "expired", "a", 2)
    counted = ledger.take()
    assert len(counted) <= drops.MOST + 2
    assert sum(counted.values()) == 5003
    drops.write("here", counted, NOON)
    others = {row.reason: row.count for row in Drop.objects.filter(client_id="", topic="")}
    assert others == {"queue_full": 5000 - drops.MOST, "expired": 2}
    assert Drop.objects.get(client_id="pump-0").count == 2


def test_long_topics_take_the_room_of_others() -> None:
    ledger = DropLedger()
    for number in range(100):
        ledger.dropped("pump", "queue_full", f"{number:03}" + "x" * 60_000, 1)
    counted = ledger.take()
    assert len(counted) < 20 and sum(counted.values()) == 100


def test_the_table_is_bounded() -> None:
    for number in range(30):
        drops.write("here", {(f"pump-{number}", "expired", ""): 1}, NOON, kept=10)
    assert [row.client_id for row in Drop.objects.order_by("id")] == [f"pump-{n}" for n in range(20, 30)]


def test_what_was_not_written_is_not_lost() -> None:
    ledger = DropLedger()
    ledger.dropped("pump", "expired", "a", 1)
    taken = ledger.take()
    ledger.dropped("pump", "expired", "a", 1)
    ledger.put_back(taken)
    assert ledger.take() == {("pump", "expired", "a"): 2}
