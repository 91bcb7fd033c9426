"""The cluster as it is meant to run: its nodes share a PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps.cluster.support.clients import TIMEOUT, client, subscriber, until
from tests.postgres import postgresql
from tests.services import present
from tools.cluster import ROOT, Cluster
from tools.redis import Redis


@pytest.fixture
def cluster(kafka: str) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="gmqtt-") as short, present(), postgresql() as url:
        redis = Redis(Path(short) / "redis")
        redis.start()
        found = Cluster(
            Path(short),
            redis_url=redis.url,
            servers=kafka,
            DATABASE__URL=url,
            BROKER__KAFKA__PREFIX=f"{Path(short).name}.",
        )
        try:
            with found:
                yield found
        finally:
            redis.kill()


def asked(cluster: Cluster, *arguments: str) -> Any:
    environ = cluster.environ(0, LISTENERS__HTTP=f"127.0.0.1:{cluster.nodes[0].http}")
    command = [sys.executable, "manage.py", "gmqtt", "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_messages_metadata_and_rules_pass_between_nodes(cluster: Cluster) -> None:
    a, b = cluster.nodes
    with subscriber(b, "telemetry/+") as messages, client(a) as publisher:
        publisher.publish("telemetry/1", b"x", 1).wait_for_publish(TIMEOUT)
        assert messages.get(timeout=TIMEOUT).payload == b"x"
        until(lambda: len(asked(cluster, "clients", "list")) == 2, "both clients are recorded")
        rows = asked(cluster, "clients", "list")
        assert {row["node"] for row in rows} == {a.name, b.name}
        (topic,) = asked(cluster, "topics", "list")
        assert topic == {"filter": "telemetry/+", "subscribers": 1, "nodes": {b.name: 1}}
        there = next(row["client_id"] for row in rows if row["node"] == b.name)
        assert asked(cluster, "clients", "kick", there) == {there: {"was_online": True}}
    assert [row["live"] for row in asked(cluster, "nodes", "list")] == [True, True]
