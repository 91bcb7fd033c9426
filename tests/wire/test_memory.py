"""Where the memory of a node is: its parts add up to what it occupies, and the documentation names them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.gateway.operator.memory import NAMES, PARTS
from gmqtt_platform.config.loader import ROOT
from tests.wire.certs import Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node, environment
from tests.wire.raw import V5, Raw, open_raw, publish

AN_HOUR = b"\x11\0\0\x0e\x10"  # session expiry interval
TOKEN = "0123456789abcdef0123456789abcdef"
OF_A_CLUSTER = {"cluster", "bus"}


def test_the_documentation_has_the_table() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert rows == [(part.name, part.holds, part.bound, part.emptied) for part in PARTS]


@pytest.fixture
def loaded(start: Start, tls_settings: dict[str, str], certificates: Certificates) -> Iterator[Node]:
    """Thousands of clients, subscriptions, topics, retained and queued messages."""
    node = start(**tls_settings, CONSOLE__METRICS_TOKEN=TOKEN)
    clients: list[Raw] = []
    context = certificates.context()
    for transport, count in (("tcp", 1500), ("tls", 500), ("ws", 150)):
        for number in range(count):
            client = open_raw(node, transport, context, timeout=30.0)
            client.connect(V5, f"{transport}-{number:05}")
            clients.append(client)
    for number, client in enumerate(clients[:20]):
        for first in range(0, 1000, 100):
            client.subscribe(V5, *[f"plant/{number}/sensor/{first + each}/value" for each in range(100)])
    for number in range(500):
        with Raw(node.tcp, timeout=30.0) as away:
            away.connect(V5, f"away-{number}", properties=AN_HOUR)
            away.subscribe(V5, f"queue/{number % 50}", qos=1)
    publisher = Raw(node.tcp, timeout=30.0)
    publisher.connect(V5, "publisher")
    for number in range(15_000):
        publisher.send(publish(V5, f"kept/{number // 100}/{number % 100}", b"x" * 200, retain=True))
    publisher.ping()
    for number in range(1, 10_001):
        publisher.send(publish(V5, f"queue/{number % 50}", b"x" * 500, 1, number))
        if number % 200 == 0:
            for _ in range(200):
                assert publisher.packet()[0] == 0x40
    yield node
    for client in [*clients, publisher]:
        client.close()


def test_the_parts_add_up(loaded: Node) -> None:
    """Of the resident memory at least 80% is explained, and not more than there is."""
    time.sleep(1.1)  # the watch has looked once more
    sizes = scraped(loaded)
    resident = loaded.rss()
    assert set(sizes) == set(NAMES) - OF_A_CLUSTER
    explained = sum(sizes.values()) / resident
    grown = sum(size for name, size in sizes.items() if name != "program") / (resident - sizes["program"])
    print(f"{resident / 1e6:.0f} MB resident, {explained:.0%} explained; of what grew {grown:.0%}: {sizes}")
    assert 0.8 <= explained <= 1.2
    for name in ("connections", "tls", "websockets", "subscriptions", "retained", "routes", "sessions"):
        assert sizes[name] > 1e6, name
    [row] = _command(loaded)
    assert row["rss"] == pytest.approx(resident, rel=0.1)
    assert {part["part"] for part in row["parts"]} == set(sizes)


def scraped(node: Node) -> dict[str, float]:
    """Part -> bytes, by /metrics."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(f"http://127.0.0.1:{node.ws}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read().decode()
    return {
        name: float(size)
        for name, size in re.findall(r'^gmqtt_memory_bytes{part="(\w+)"} (\S+)$', text, re.M)
    }


def _command(node: Node) -> list[dict[str, object]]:
    """What `manage.py gmqtt memory` says."""
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "manage.py"),
            "gmqtt",
            "--url",
            f"http://127.0.0.1:{node.ws}",
            "--json",
            "memory",
        ],
        env=environment(Path(node.data_dir)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(done.stdout)
    return [{"rss": found[0]["bytes"], "parts": found[1:]}]
