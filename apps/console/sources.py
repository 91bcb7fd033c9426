"""What /metrics shows of this process beside the node's counters. The composition root fills it in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from apps.common import node_services

version = ""
# More for /metrics: name without gmqtt_ (and _total) -> help and a quick function.
gauges: dict[str, tuple[str, Callable[[], float]]] = {}
counters: dict[str, tuple[str, Callable[[], float]]] = {}
# Name -> help, upper bounds in seconds, and what has `counts` for each and above, and `sum`.
histograms: dict[str, tuple[str, tuple[float, ...], Any]] = {}


async def _alone() -> tuple[Mapping[str, Any], list[str]]:
    services = node_services.current()
    return ({services.name: services.stats()} if services is not None else {}), []


# What each node of the cluster says of itself, by name, and the names of those that did not answer.
cluster_stats: Callable[[], Awaitable[tuple[Mapping[str, Any], list[str]]]] = _alone
