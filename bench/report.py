"""The table, and the same as JSON."""

from __future__ import annotations

import dataclasses
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from apps.gateway.compiled import describe

from .measure import Sample
from .peers import ROOT
from .runner import BASELINE, CANDIDATE, Outcome, Results, failed
from .scenarios import BARS, Bar, Scenario, cpu_ratio

HEAD: Final = (
    *("id", "peer", "CPU us/msg", "msgs/s", "p50 ms", "p99 ms", "lost/dup/reord", "PSS MB", "busy b/g/o"),
    *("more", "against the bars", "must", "aim", "verdict"),
)
LEGEND: Final = """\
CPU us/msg: broker CPU per message in + out (S10: per connection; R1: per message; T1: per match, no broker).
msgs/s: in + out. busy b/g/o: CPU / wall of broker, load generator and all others on the machine. Medians over
the rounds; messages lost, repeated and reordered are sums. CPU and p99 against the bars: node / mosquitto."""
KINDS: Final = ("lost", "duplicated", "reordered")
CPU: Final = cpu_ratio(Fraction(1), Fraction(1))  # where the issue sets no bar
REASON: Final = 160  # characters of a failure's text in the table


def table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown, aligned; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def scenario_rows(scenario: Scenario, results: Results) -> list[list[str]]:
    """One row per peer; those after mosquitto's say how they stand against it."""
    return [
        [scenario.name, name, *_figures(outcomes), *_standing(scenario.name, name, results)]
        for name, outcomes in results.items()
    ]


def median(outcomes: Sequence[Outcome], figure: Callable[[Sample], float | None]) -> float | None:
    samples = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
    values = [value for sample in samples if (value := figure(sample)) is not None]
    return statistics.median(values) if values else None


def _extra(key: str) -> Callable[[Sample], float | None]:
    return lambda sample: sample.extra.get(key)


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _figures(outcomes: Sequence[Outcome]) -> list[str]:
    samples = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
    reasons = [outcome for outcome in outcomes if isinstance(outcome, str)]
    busy = [
        median(samples, lambda s: s.broker_busy),
        median(samples, lambda s: s.generator_busy),
        median(samples, lambda s: s.others_busy),
    ]
    pss = median(samples, lambda s: s.pss)
    keys = samples[0].extra if samples else {}
    more = [f"{key} {number(median(samples, _extra(key)))}" for key in keys]
    more += [f"{len(reasons)} failed: {reasons[0]}"[:REASON].replace("\n", " ")] if reasons else []
    return [
        number(median(samples, lambda s: s.cpu_us)),
        number(median(samples, lambda s: s.rate), 0),
        number(median(samples, lambda s: s.p50_ms)),
        number(median(samples, lambda s: s.p99_ms)),
        faults([outcomes]),
        number(pss / 2**20 if pss else None, 1),
        " / ".join("-" if value is None else f"{value:.0%}" for value in busy),
        ", ".join(more) or "-",
    ]


def faults(results: Iterable[Sequence[Outcome]]) -> str:
    """Lost, repeated and reordered messages of all these rounds; and how many rounds have no figures."""
    outcomes = [outcome for each in results for outcome in each]
    samples = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
    counts = "/".join(str(sum(getattr(sample.faults, kind) for sample in samples)) for kind in KINDS)
    return counts if len(samples) == len(outcomes) else f"{counts}, {len(outcomes) - len(samples)} failed"


def paired(results: Results, name: str) -> list[tuple[Sample, Sample | None]]:
    """The rounds in which this peer has a sample, with mosquitto's of the same round."""
    outcomes = results[name]
    others = results.get(BASELINE, [])
    beside = [*others, *[""] * (len(outcomes) - len(others))]
    return [
        (outcome, other if isinstance(other, Sample) else None)
        for outcome, other in zip(outcomes, beside, strict=True)
        if isinstance(outcome, Sample)
    ]


def standing(bars: Sequence[Bar], results: Results, name: str) -> list[tuple[Bar, float | None]]:
    rounds = paired(results, name)
    return [(bar, bar.value(rounds)) for bar in bars]


def _standing(scenario: str, name: str, results: Results) -> list[str]:
    """Figures, must, aim and verdict."""
    wrong = failed({name: results[name]})
    if name == BASELINE:
        return ["-", "-", "-", "WRONG" if wrong else "-"]
    bars = BARS.get(scenario, ())
    found = standing(bars or (CPU,), results, name)
    figures = ", ".join(
        f"{bar.what} {ratio_text(value) if bar.ratio else number(value, 1)}" for bar, value in found
    )
    if name != CANDIDATE or not bars:
        return [figures, "-", "-", "WRONG" if wrong else "-"]
    must = ", ".join(_limit(bar, bar.must) for bar in bars)
    aim = ", ".join(_limit(bar, bar.aim) for bar in bars)
    return [figures, must, aim, "WRONG" if wrong else _verdict(found)]


def _verdict(found: Sequence[tuple[Bar, float | None]]) -> str:
    missed = [bar.what for bar, value in found if value is not None and not bar.met(value, bar.must)]
    if missed:
        return f"MISS {', '.join(missed)}"
    unknown = [bar.what for bar, value in found if value is None]
    if unknown:
        return f"? {', '.join(unknown)}"
    return "aim" if all(value is not None and bar.met(value, bar.aim) for bar, value in found) else "must"


def ratio_text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"1/{1 / value:.1f}" if 0 < value < 1 else f"{value:.2f}"


def _limit(bar: Bar, limit: Fraction) -> str:
    text = str(limit) if limit.numerator == 1 else f"{float(limit):g}"
    return f"{'>=' if bar.at_least else '<='} {text}"


def setting(command: str, names: Sequence[str]) -> dict[str, str]:
    """What somebody needs to know to repeat the run."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    core = {"core": describe()} if CANDIDATE in names else {}
    return {
        "command": command,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or "unknown",
        "cpu": model,
        "kernel": platform.release(),
        "python": platform.python_version(),
        **core,
    }


def as_json(setting: dict[str, str], everything: dict[str, Results]) -> dict[str, Any]:
    """Every round, not only the medians."""
    rounds = {
        scenario: {
            name: [
                dataclasses.asdict(outcome) if isinstance(outcome, Sample) else {"failed": outcome}
                for outcome in outcomes
            ]
            for name, outcomes in results.items()
        }
        for scenario, results in everything.items()
    }
    return {"setting": setting, "scenarios": rounds}
