"""Where the console gets what it shows of this process. The composition root fills it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Every counter and gauge of the node; a process without a node (a management command) leaves it None.
stats: Callable[[], dict[str, Any]] | None = None
# More gauges for /metrics: name -> a quick function.
gauges: dict[str, Callable[[], float]] = {}
# Labels (listener, file) and the UNIX time at which the file expires.
certificates: Callable[[], list[tuple[dict[str, str], float]]] | None = None
# (listener, reason) -> TLS handshakes that failed.
handshake_failures: Mapping[tuple[str, str], int] = {}
