"""The drop ledger: which messages were dropped, counted by reason, direction, topic, client and hour."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from apps.cluster.directory import names
from apps.cluster.directory.upsert import Upsert
from apps.cluster.models import Drop

KEPT: Final = 100_000  # rows in the database; the oldest make room
MOST: Final = 1000  # kinds between two writes; what is beyond is counted by reason alone
MAX_BYTES: Final = 1 << 20  # of topics and client ids between two writes

# What a client sent, and nobody got; all other reasons are about messages to a client.
INBOUND: Final = frozenset({"denied", "retained_full", "cluster_full"})

Kind = tuple[str, str, str]  # client id, reason, topic

_COLUMNS = ("bucket", "node", "reason", "direction", "client_id", "topic", "count", "first", "last")
_COUNT = Upsert(Drop, _COLUMNS, _COLUMNS[:6], ("last",), set=('"count" = {t}."count" + excluded."count"',))


class DropLedger:
    """Counts on the loop: a flood of drops of one kind costs a dict entry, and one row an hour."""

    def __init__(self) -> None:
        self._counts: dict[Kind, int] = {}
        self.bytes = 0

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None:
        kind = (client_id, reason, topic)
        counts = self._counts
        known = counts.get(kind)
        if known is None:
            size = len(client_id) + len(topic)
            if len(counts) < MOST and self.bytes + size <= MAX_BYTES:
                self.bytes += size
                known = 0
            else:
                kind = ("", reason, "")
                known = counts.get(kind, 0)
        counts[kind] = known + count

    def take(self) -> dict[Kind, int]:
        """What was counted since the last time."""
        taken = self._counts
        self._counts = {}
        self.bytes = 0
        return taken

    def put_back(self, taken: Mapping[Kind, int]) -> None:
        """It could not be written."""
        for (client_id, reason, topic), count in taken.items():
            self.dropped(client_id, reason, topic, count)


def write(node: str, counted: Mapping[Kind, int], at: datetime, kept: int = KEPT) -> None:
    bucket = at.replace(minute=0, second=0, microsecond=0)
    rows: dict[tuple[Any, ...], int] = {}
    for (client_id, reason, topic), count in counted.items():
        direction = Drop.Direction.IN if reason in INBOUND else Drop.Direction.OUT
        key = (reason, direction.value, names.client_key(client_id), names.topic_key(topic))
        rows[key] = rows.get(key, 0) + count
    with transaction.atomic():
        _COUNT.run((bucket, node, *key, count, at, at) for key, count in rows.items())
        _trim(kept)


def _trim(kept: int) -> None:
    oldest = Drop.objects.order_by("-id").values_list("id", flat=True)[kept : kept + 1]
    if oldest:
        Drop.objects.filter(id__lte=oldest[0]).order_by().delete()
