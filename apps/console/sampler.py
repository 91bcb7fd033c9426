"""Samples the node once a second for the dashboard, and keeps averages for its charts.

The last five minutes are in memory; longer ranges are rows of `Sample`, each step with its own count. A
dashboard that nobody looks at costs a few microseconds a second, and one write in ten seconds.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import DatabaseError, close_old_connections

from apps.console.models import Sample

logger = logging.getLogger(__name__)

RECENT: Final = 300  # seconds in memory
NODES: Final = 2.0  # seconds between looks at the other nodes, while somebody sees them
# Step in seconds -> how many are kept: an hour, a day, a week.
STEPS: Final = {10: 360, 60: 1440, 600: 1008}
GAUGES: Final = ("connections", "sessions", "subscriptions", "retained", "queued", "held")
# Rate -> the counter it is the rise of.
RATES: Final = {
    "messages_in": "publishes_in",
    "messages_out": "publishes_out",
    "bytes_in": "bytes_in",
    "bytes_out": "bytes_out",
    "connects": "connects",
}
FIELDS: Final = (*GAUGES, *RATES, "dropped", "refused")

Values = dict[str, float]
Viewer = Callable[[dict[str, Any]], None]


@dataclass
class _Sum:
    """Of the samples in the current step."""

    count: int = 0
    values: Values = field(default_factory=lambda: dict.fromkeys(FIELDS, 0.0))

    def add(self, values: Values) -> None:
        self.count += 1
        for name in FIELDS:
            self.values[name] += values[name]

    def mean(self) -> Values:
        return {name: round(total / self.count, 3) for name, total in self.values.items()}


class Sampler:
    """One per process. `viewers` are called with each sample, on the loop."""

    def __init__(
        self,
        node: str,
        stats: Callable[[], dict[str, Any]],
        nodes: Callable[[], list[dict[str, Any]]] = list,
        cluster: Callable[[], Awaitable[tuple[Mapping[str, Any], list[str]]]] | None = None,
    ) -> None:
        """`nodes` asks the database, in a thread. `cluster`: what each node of it says of itself, by name,
        and those that do not answer; None: the node is alone.
        """
        self.node = node
        self.viewers: set[Viewer] = set()
        self.recent: deque[tuple[float, Values]] = deque(maxlen=RECENT)
        self.latest: dict[str, Any] = {}
        self._stats = stats
        self._before: tuple[float, dict[str, Any]] | None = None
        self._sums = {step: _Sum() for step in STEPS}
        self._saving: asyncio.Task[None] | None = None
        self.lag = 0.0  # seconds that the loop was late, when it last was to sample
        self._cluster = cluster
        self._others: tuple[float, Mapping[str, Any]] | None = None  # as they last answered
        self._asking: asyncio.Task[None] | None = None
        self._whole: dict[str, Any] | None = None  # the cluster's part of a sample
        self._nodes = nodes
        self._known: list[dict[str, Any]] = []
        self._looked = 0.0
        self._looking: asyncio.Task[None] | None = None

    @property
    def in_cluster(self) -> bool:
        return self._cluster is not None

    async def run(self) -> None:
        """Until cancelled."""
        due = math.floor(time.time()) + 1.0
        while True:
            await asyncio.sleep(max(due - time.time(), 0.0))
            self.lag = max(time.time() - due, 0.0)
            due = max(due + 1.0, math.floor(time.time()))  # a timer may come early, a loop be late
            try:
                self.sample(time.time())
                self._ask_cluster()
                self._look_at_nodes(time.time())
            except Exception:
                logger.exception("the node could not be sampled")

    def sample(self, now: float) -> None:
        stats = self._stats()
        before, self._before = self._before, (now, stats)
        if before is None:
            return
        values = rates(before[1], stats, max(now - before[0], 0.001))
        self.recent.append((now, values))
        self.latest = {
            "at": now,
            "node": self.node,
            "values": values,
            "drops": {reason: count for reason, count in stats["drops"].items() if count},
            "refused": dict(stats["refused"]),
            "started": stats["started"],
            "nodes": self._known,
            "of": {"nodes": [self.node], "missing": []},
            **(self._whole or {}),
        }
        for viewer in list(self.viewers):
            viewer(self.latest)
        self._roll_up(now, values)

    def _ask_cluster(self) -> None:
        """While somebody looks: what the cards show is the cluster's."""
        if self._cluster is None or not self.viewers:
            self._whole = self._others = None
        elif self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(self._cluster))

    async def _ask(self, cluster: Callable[[], Awaitable[tuple[Mapping[str, Any], list[str]]]]) -> None:
        found, missing = await cluster()
        now = time.monotonic()
        before, self._others = self._others, (now, found)
        if before is not None:
            self._whole = whole(before[1], found, max(now - before[0], 0.001), missing)

    def _look_at_nodes(self, now: float) -> None:
        if self.viewers and now - self._looked >= NODES and (self._looking is None or self._looking.done()):
            self._looked = now
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        try:
            self._known = await asyncio.to_thread(in_database, self._nodes)
        except DatabaseError as error:
            logger.warning("the dashboard's nodes were not read: %s", error)

    def _roll_up(self, now: float, values: Values) -> None:
        rows = []
        for step, total in self._sums.items():
            total.add(values)
            if int(now) % step == 0 or total.count >= step:
                at = datetime.fromtimestamp(int(now), UTC)
                rows.append(Sample(node=self.node, step=step, at=at, values=total.mean()))
                self._sums[step] = _Sum()
        if rows and (self._saving is None or self._saving.done()):  # a slow database misses some
            self._saving = asyncio.create_task(asyncio.to_thread(save, rows))


def whole(
    before: Mapping[str, Any], now: Mapping[str, Any], seconds: float, missing: list[str]
) -> dict[str, Any]:
    """The cluster's part of a sample. A node that has just come has no rates yet.

    Every node has all retained messages.
    """
    values = dict.fromkeys(FIELDS, 0.0)
    drops: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for name, stats in now.items():
        for field_name, value in rates(before.get(name, stats), stats, seconds).items():
            both = values[field_name], value
            values[field_name] = max(both) if field_name == "retained" else round(sum(both), 3)
        drops.update({reason: count for reason, count in stats["drops"].items() if count})
        refused.update(stats["refused"])
    of = {"nodes": sorted(now), "missing": missing}
    return {"values": values, "drops": dict(drops), "refused": dict(refused), "of": of}


def rates(before: dict[str, Any], now: dict[str, Any], seconds: float) -> Values:
    """The gauges as they are, the counters as their rise per second."""
    values: Values = {name: now[name] for name in GAUGES}
    for name, counter in RATES.items():
        values[name] = round((now[counter] - before[counter]) / seconds, 1)
    for name, counter in (("dropped", "drops"), ("refused", "refused")):
        rise = sum(now[counter].values()) - sum(before[counter].values())
        values[name] = round(rise / seconds, 1)
    return values


def in_database(ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Ask with a connection that is not kept: the thread is anybody's."""
    close_old_connections()
    try:
        return ask()
    finally:
        close_old_connections()


def save(rows: list[Sample]) -> None:
    """Write, and forget what is older than its step is kept."""
    close_old_connections()
    try:
        Sample.objects.bulk_create(rows, ignore_conflicts=True)
        for row in rows:
            end = row.at - timedelta(seconds=row.step * STEPS[row.step])
            Sample.objects.filter(step=row.step, at__lt=end).delete()
    except DatabaseError as error:
        logger.warning("samples for the dashboard were not written: %s", error)
    finally:
        close_old_connections()
