"""Figures of a node, made up."""

from __future__ import annotations

from typing import Any

from apps.console import sampler


def stats(**more: Any) -> dict[str, Any]:
    names = {*sampler.GAUGES, *sampler.RATES.values(), "started"}
    return {**dict.fromkeys(names, 0), "drops": {}, "refused": {}, **more}
