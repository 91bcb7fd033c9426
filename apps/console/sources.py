"""Where the console gets what it shows of this process. The composition root fills it in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Every counter and gauge of the node; a process without a node (a management command) leaves it None.
stats: Callable[[], dict[str, Any]] | None = None
# Bytes of memory by part; None as `stats`.
memory: Callable[[], dict[str, int]] | None = None
# More gauges for /metrics: name -> a quick function.
gauges: dict[str, Callable[[], float]] = {}
