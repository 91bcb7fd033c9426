"""Follows the table of changes (`models.Change`) from any process."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from django.db.models import Max

from apps.auth.announce import KEPT
from apps.auth.models import Change

# Seconds for which a transaction may still commit rows with smaller numbers than those that were seen:
# numbers are given when rows are written, not when they are committed.
LATE: Final = 120.0
PAGE: Final = 200  # rows read at once
MAX_SEEN: Final = 50_000  # numbers remembered


class Announced(NamedTuple):
    what: str
    client_ids: list[str] | None


class Changes:
    """Call `read` in a thread, one call at a time. Everything that was there before the first call is old."""

    def __init__(self) -> None:
        self._floor: int | None = None  # all up to this number were seen, or came before us
        self._seen: dict[int, float] = {}  # those above it, and when (monotonic)
        self._read_at = 0.0

    @property
    def begun(self) -> bool:
        """Was the table read yet?"""
        return self._floor is not None

    def read(self) -> list[Announced] | None:
        """What is new, a page at most; None: too much was missed, anything may have changed.

        One query where nothing is new, by the primary key.
        """
        now = time.monotonic()
        missed = self._floor is not None and now - self._read_at > KEPT.total_seconds() / 2
        self._read_at = now
        if self._floor is None or missed:
            self._floor = Change.objects.aggregate(newest=Max("id"))["newest"] or 0
            self._seen.clear()
            return None if missed else []
        self._forget(now)
        above = Change.objects.filter(id__gt=self._floor).order_by("id").values_list("id", flat=True)
        fresh = [id for id in above[: MAX_SEEN + PAGE] if id not in self._seen][:PAGE]
        if not fresh:
            return []
        found = []
        for id, what, client_ids in Change.objects.filter(id__in=fresh).values_list(
            "id", "what", "client_ids"
        ):
            self._seen[id] = now
            found.append(Announced(what, client_ids))
        return found

    def _forget(self, now: float) -> None:
        """Raise the floor over what was seen so long ago that nothing smaller can come any more."""
        for id, at in list(self._seen.items()):
            if now - at < LATE and len(self._seen) <= MAX_SEEN:
                break
            del self._seen[id]
            self._floor = max(self._floor or 0, id)
