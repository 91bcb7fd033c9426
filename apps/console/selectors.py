"""What the dashboard reads."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from apps.cluster import selectors
from apps.common import node_services
from apps.console import sampler
from apps.console.models import Sample

# Range -> step in seconds, None: from memory.
RANGES: Final[dict[str, tuple[timedelta, int | None]]] = {
    "5m": (timedelta(minutes=5), None),
    "1h": (timedelta(hours=1), 10),
    "24h": (timedelta(hours=24), 60),
    "7d": (timedelta(days=7), 600),
}

SHOWN: Final = 100  # nodes
SILENT: Final = 10.0  # seconds after which a node that said nothing is not taken for up


def nodes() -> list[dict[str, Any]]:
    """The nodes as they last said of themselves, for the dashboard's table."""
    now = timezone.now()
    found = []
    for node in selectors.nodes()[:SHOWN]:
        age = (now - node.seen_at).total_seconds()
        state = "silent" if node.state != node.State.DOWN and age > SILENT else node.state
        found.append(
            {
                "name": node.name,
                "state": state,
                "version": node.version,
                "connections": node.stats.get("connections"),
                "bridge": node.bridge.get("state"),
                "lag": node.bridge.get("lag"),
            }
        )
    return found


def history(name: str) -> list[dict[str, Any]]:
    """The points of a range, oldest first: {"at": UNIX seconds, **values}. Of all nodes, added up.

    In a cluster the last minutes are rows, too: what is in memory is one node's.
    """
    length, step = RANGES[name]
    running = node_services.find(sampler.Sampler)
    if step is None and running is not None and running.in_cluster:
        step = min(sampler.STEPS)
    if step is None:
        return [{"at": round(at, 1), **values} for at, values in running.recent] if running else []
    rows = Sample.objects.filter(step=step, at__gte=timezone.now() - length).order_by("at")
    points: dict[datetime, dict[str, Any]] = {}
    for at, values in rows.values_list("at", "values"):
        point = points.setdefault(at, {"at": at.timestamp(), **dict.fromkeys(sampler.FIELDS, 0.0)})
        for field in sampler.FIELDS:
            point[field] += values.get(field, 0.0)
    return list(points.values())
