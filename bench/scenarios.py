"""What `make bench` runs, and the bars: how the node has to stand beside mosquitto 2.0.11."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from .flows import Flow
from .idle import Idle
from .matching import Matching
from .measure import Sample
from .retained import Retained

Scenario = Flow | Idle | Retained | Matching
Measure = Callable[[Sample], float | None]


@dataclass(frozen=True)
class Bar:
    """What the node must and should reach; ``ratio``: over mosquitto's figure of the same round."""

    what: str
    measure: Measure
    must: Fraction
    aim: Fraction
    ratio: bool = False
    at_least: bool = False  # more is better

    def value(self, rounds: Sequence[tuple[Sample, Sample | None]]) -> float | None:
        """The median over the rounds, each the node's sample and mosquitto's; None without figures."""
        values: list[float] = []
        for sample, baseline in rounds:
            value = self.measure(sample)
            if self.ratio:
                other = self.measure(baseline) if baseline is not None else None
                value = value / other if value is not None and other else None
            if value is not None:
                values.append(value)
        return statistics.median(values) if values else None

    def met(self, value: float, bar: Fraction) -> bool:
        return value >= float(bar) if self.at_least else value <= float(bar)


def cpu_ratio(must: Fraction, aim: Fraction) -> Bar:
    return Bar("CPU", lambda sample: sample.cpu_us, must, aim, ratio=True)


def _cpu(must: int, aim: int) -> Bar:
    return cpu_ratio(Fraction(1, must), Fraction(1, aim))


def _extra(what: str, key: str, limit: int) -> Bar:
    return Bar(what, lambda sample: sample.extra.get(key), Fraction(limit), Fraction(limit))


_ALL = "bench/+/t"
_ONE = "bench/00000/t"

# With more messages on their way to one subscriber mosquitto 2.0.11 gets slower (it walks a list), and with
# more than 65,535 it gives a packet id out twice and closes the connection; with these it is at its best.
_LEAD = 1000

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Flow("S1", "1 publisher, no subscriber, QoS 0", 1, 100_000, 0),
        Flow("S2", "1 publisher, no subscriber, QoS 1", 1, 100_000, 1),
        Flow("S3", "1000 publishers, no subscriber, QoS 0", 1000, 1000, 0),
        Flow("S4", "1000 publishers, no subscriber, QoS 1", 1000, 1000, 1),
        Flow("S5", "1000 publishers, 1 subscriber, QoS 1", 1000, 1000, 1, 1, _ALL, lead=_LEAD),
        Flow("S6", "1000 publishers, 1 subscriber, QoS 2", 1000, 1000, 2, 1, _ALL, lead=_LEAD),
        Flow("S7", "1 publisher, 500 subscribers, QoS 0", 1, 2000, 0, 500, _ONE),
        Flow("S8", "500 pairs, QoS 1", 500, 2000, 1, 500),
        Flow("S9", "200 publishers, 5 wildcard subscribers, QoS 0", 200, 500, 0, 5, _ALL),
        Idle("S10", "10,000 idle connections, TCP", 10_000),
        Idle("S10W", "10,000 idle connections, WebSocket", 10_000, websocket=True),
        Flow("S11", "100 pairs at 50 msgs/s each, QoS 1", 100, 500, 1, 100, rate=50),
        Flow("D1", "100 pairs, persistent sessions, QoS 1", 100, 500, 1, 100, durable=True),
        Flow("W1", "WebSocket, 50 pairs, QoS 1", 50, 4000, 1, 50, websocket=True),
        Flow("W2", "WebSocket, 1 publisher, 100 subscribers, QoS 0", 1, 2000, 0, 100, _ONE, websocket=True),
        Retained("R1", "1000 of 100,000 retained messages"),
        Matching("T1", "100,000 subscriptions, one uncached match"),
    )
}

BARS: Final[dict[str, tuple[Bar, ...]]] = {
    "S1": (_cpu(4, 5),),
    "S2": (_cpu(6, 13),),
    "S3": (_cpu(5, 6),),
    "S4": (_cpu(6, 12),),
    "S5": (_cpu(8, 18),),
    "S6": (_cpu(8, 17),),
    "S7": (_cpu(20, 30),),
    "S8": (_cpu(7, 16),),
    "S9": (_cpu(10, 17),),
    "S10": (
        Bar("conn/s", lambda sample: sample.rate, Fraction(6000), Fraction(6000), at_least=True),
        _extra("KB", "kb_per_connection", 10),
    ),
    "S10W": (_extra("KB", "kb_per_connection", 25),),
    "S11": (
        cpu_ratio(Fraction(13, 10), Fraction(11, 10)),
        Bar("p99", lambda sample: sample.p99_ms, Fraction(13, 10), Fraction(13, 10), ratio=True),
    ),
    "D1": (
        Bar("in+out/s", lambda sample: sample.rate, Fraction(40_000), Fraction(40_000), at_least=True),
        Bar("in+out/s", lambda sample: sample.rate, Fraction(5), Fraction(5), ratio=True, at_least=True),
    ),
    "R1": (_extra("first ms", "first_ms", 20), _extra("last ms", "last_ms", 200)),
    "T1": (Bar("us", lambda sample: sample.cpu_us, Fraction(20), Fraction(20)),),
}
