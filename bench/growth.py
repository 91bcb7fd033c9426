"""How the cost of a message grows with subscribers, connections, payload and subscriptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .flows import Flow
from .report import CPU, faults, median, number, paired, ratio_text, table
from .runner import BASELINE, Results, Tell, run_scenario


@dataclass(frozen=True)
class Series:
    """Flows that differ in one size; ``unit`` heads its column."""

    title: str
    unit: str
    steps: tuple[tuple[str, Flow], ...]


def _fan_out(subscribers: int) -> Flow:
    """A million messages out, but at most 8 MB to one subscriber: at QoS 0 a queue must not fill up."""
    messages = min(100_000, 1_000_000 // subscribers)
    return Flow("", "", 1, messages, 0, subscribers, "bench/00000/t")


def _pairs(connections: int) -> Flow:
    pairs = connections // 2
    return Flow("", "", pairs, 300_000 // pairs, 1, pairs)


def _payload(size: int) -> Flow:
    """100 connections; 256 MB of payload at most."""
    return Flow("", "", 50, min(300_000, (256 << 20) // size) // 50, 1, 50, payload=size)


def _subscriptions(count: int) -> Flow:
    """100 pairs, among ``count`` other subscriptions."""
    return Flow("", "", 100, 2000, 1, 100, idle_subscriptions=count)


SERIES: Final = (
    Series(
        "1 publisher, QoS 0, flat out",
        "subscribers of the topic",
        tuple((f"{count:,}", _fan_out(count)) for count in (1, 10, 100, 1000)),
    ),
    Series(
        "pairs, QoS 1, flat out",
        "connections",
        tuple((f"{count:,}", _pairs(count)) for count in (100, 1000, 10_000)),
    ),
    Series(
        "50 pairs, QoS 1, flat out",
        "payload",
        (("64 B", _payload(64)), ("1 KB", _payload(1024)), ("64 KB", _payload(65536))),
    ),
    Series(
        "100 pairs, QoS 1, flat out",
        "other subscriptions",
        tuple((f"{count:,}", _subscriptions(count)) for count in (1000, 10_000, 100_000)),
    ),
)


def run(names: Sequence[str], rounds: int, scale: float, tell: Tell) -> tuple[list[str], dict[str, Results]]:
    """One Markdown table per series, and all the results."""
    others = [name for name in names if name != BASELINE and BASELINE in names]
    tables: list[str] = []
    everything: dict[str, Results] = {}
    for series in SERIES:
        costs = [f"{name} us/msg" for name in names]
        rows = [[series.unit, *costs, *(f"{name} / {BASELINE}" for name in others), "lost/dup/reord"]]
        for label, flow in series.steps:
            tell(f"{series.title}: {series.unit} {label}")
            results = run_scenario(flow.scaled(scale), names, rounds, tell)
            everything[f"{series.title}: {series.unit} {label}"] = results
            rows.append(
                [
                    label,
                    *_costs(results),
                    *(_ratio(results, name) for name in others),
                    faults(results.values()),
                ]
            )
        tables.append(f"{series.title}\n\n{table(rows)}")
    return tables, everything


def _costs(results: Results) -> list[str]:
    return [number(median(outcomes, lambda s: s.cpu_us)) for outcomes in results.values()]


def _ratio(results: Results, name: str) -> str:
    return ratio_text(CPU.value(paired(results, name)))
