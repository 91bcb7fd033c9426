"""What the dashboard reads."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from apps.console import sampler
from apps.console.models import Sample

# Range -> step in seconds, None: from memory.
RANGES: Final[dict[str, tuple[timedelta, int | None]]] = {
    "5m": (timedelta(minutes=5), None),
    "1h": (timedelta(hours=1), 10),
    "24h": (timedelta(hours=24), 60),
    "7d": (timedelta(days=7), 600),
}


def history(name: str) -> list[dict[str, Any]]:
    """The points of a range, oldest first: {"at": UNIX seconds, **values}. Of all nodes, added up."""
    length, step = RANGES[name]
    if step is None:
        running = sampler.running
        return [{"at": round(at, 1), **values} for at, values in running.recent] if running else []
    rows = Sample.objects.filter(step=step, at__gte=timezone.now() - length).order_by("at")
    points: dict[datetime, dict[str, Any]] = {}
    for at, values in rows.values_list("at", "values"):
        point = points.setdefault(at, {"at": at.timestamp(), **dict.fromkeys(sampler.FIELDS, 0.0)})
        for field in sampler.FIELDS:
            point[field] += values.get(field, 0.0)
    return list(points.values())
