"""What processes without an HTTP server of their own say about their memory."""

from __future__ import annotations

import re

from prometheus_client import generate_latest

from apps.console import metrics
from gmqtt_platform import exporter


def test_where_the_memory_of_a_process_is() -> None:
    collector = exporter.MemoryCollector(auth=lambda: 12_000, guard=lambda: 0)
    text = generate_latest(metrics.registry_of(collector)).decode()
    sizes = dict(re.findall(r'^gmqtt_memory_bytes{part="(\w+)"} (\S+)$', text, re.MULTILINE))
    assert set(sizes) == {"program", "unused", "auth", "guard"}
    assert float(sizes["auth"]) == 12_000
    [resident] = re.findall(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
    assert float(sizes["program"]) <= float(resident) * 1.1
