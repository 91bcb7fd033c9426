"""How long something takes, by buckets as Prometheus has them. Observed per batch, never per message."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from apps.gateway.broker.completion import Waiter

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


class Histogram:
    def __init__(self) -> None:
        self.counts: list[int] = [0] * (len(BUCKETS) + 1)  # the last: longer than any bucket
        self.sum: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds


class Timed(Waiter):
    """Observes how long a completion took."""

    def __init__(self, histogram: Histogram, clock: Callable[[], float]) -> None:
        self._histogram = histogram
        self._clock = clock
        self._began = clock()

    def completed(self) -> None:
        self._histogram.observe(self._clock() - self._began)
