"""Samples of a process, whether they rise, and a picture of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import statistics
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from tests.wire.nodes import Node

WARM = 0.4  # of the time, after which what is made once has been made
NOISE = 3.0  # times the median absolute deviation
LEAST = 0.03  # of the level: a smaller rise is none
WIDTH, HEIGHT, LEFT, TOP = 760, 120, 110, 18


@dataclass
class Series:
    """Values of one figure by time (seconds)."""

    name: str
    unit: float = 1.0  # what a figure shown is worth
    least: float = 0.0  # a smaller rise is none, whatever the level
    at: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, at: float, value: float) -> None:
        self.at.append(at)
        self.values.append(value)

    def rise(self) -> tuple[float, float]:
        """(How much it rose after the warm-up, what is noise).

        The rise is the Theil-Sen slope (the median of all pairs' slopes) times the time.
        Noise is three times the median absolute deviation from that line, or 3% of the level, or `least`.
        """
        start = self.at[0] + WARM * (self.at[-1] - self.at[0])
        pairs = [(at, value) for at, value in zip(self.at, self.values, strict=True) if at >= start]
        slopes = [(v - u) / (t - s) for (s, u), (t, v) in itertools.combinations(pairs, 2) if t > s]
        slope = statistics.median(slopes)
        middle = statistics.median(value - slope * at for at, value in pairs)
        deviation = statistics.median(abs(value - slope * at - middle) for at, value in pairs)
        level = statistics.median(value for _, value in pairs)
        return slope * (pairs[-1][0] - pairs[0][0]), max(NOISE * deviation, LEAST * level, self.least)


def sample(node: Node, token: str) -> dict[str, float]:
    """Figures of a node's process and of its files."""
    root = Path(f"/proc/{node.process.pid}")
    found = {
        "resident MB": node.rss() / 1e6,
        "descriptors": 0.0,
        "threads": len(list((root / "task").iterdir())),
    }
    for descriptor in (root / "fd").iterdir():
        with contextlib.suppress(OSError):
            os.readlink(descriptor)
            found["descriptors"] += 1
    files = [path for path in node.data_dir.rglob("*.sqlite3*") if path.is_file()]
    found["SQLite MB"] = sum(path.stat().st_size for path in files if path.exists()) / 1e6
    found["log KB"] = len(node.log()) / 1e3
    request = urllib.request.Request(
        f"http://127.0.0.1:{node.ws}/metrics", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    for name in (
        "gmqtt_asyncio_tasks",
        "gmqtt_sessions",
        "gmqtt_subscriptions",
        "gmqtt_retained_messages",
        "gmqtt_held_bytes",
    ):
        value = re.search(rf"^{name} (\S+)$", text, re.M)
        assert value is not None, name
        found[name.removeprefix("gmqtt_").replace("_", " ")] = float(value[1])
    return found


def picture(series: list[Series], title: str) -> str:
    """An SVG: one strip for each figure, below each other."""
    rows = [f'<text x="8" y="16" font-size="13" font-weight="bold">{title}</text>']
    for number, each in enumerate(series):
        top = 24 + number * (HEIGHT + 22)
        most, last = max(*each.values, 1e-09), each.at[-1] or 1.0
        points = " ".join(
            f"{LEFT + at / last * WIDTH:.1f},{top + TOP + (HEIGHT - TOP) * (1 - value / most):.1f}"
            for at, value in zip(each.at, each.values, strict=True)
        )
        rise, noise = each.rise()
        rows += [
            f'<text x="8" y="{top + 30}">{each.name}</text>',
            f'<text x="8" y="{top + 46}" fill="#666">max {most:,.0f}</text>',
            f'<text x="8" y="{top + 62}" fill="#666">rise {rise:+,.1f}</text>',
            f'<text x="8" y="{top + 78}" fill="#666">noise {noise:,.1f}</text>',
            f'<rect x="{LEFT}" y="{top + TOP}" width="{WIDTH}" height="{HEIGHT - TOP}" fill="#f6f6f6"/>',
            f'<polyline points="{points}" fill="none" stroke="#2563eb" stroke-width="1.3"/>',
        ]
    height = 40 + len(series) * (HEIGHT + 22)
    rows.append(
        f'<text x="{LEFT}" y="{height - 8}" fill="#666">0 to {series[0].at[-1] / 60:.0f} minutes</text>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{height}" '
    return head + 'font-family="sans-serif" font-size="11">\n' + "\n".join(rows) + "\n</svg>\n"
