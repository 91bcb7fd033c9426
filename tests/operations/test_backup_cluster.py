"""A backup of a running cluster, into another one that is empty: two nodes, a bridge, Kafka and Redis."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gmqtt_platform.config.loader import ROOT
from tests.operations.support import contents
from tests.services import present
from tests.wire.nodes import until
from tools.cluster import Cluster, Process
from tools.redis import Redis

PATIENCE = 30.0  # seconds
BEFORE = 40  # messages that were acknowledged when the backup began
ROWS = """
from apps.auth.services import groups, registering, rules
from apps.common.actors import SYSTEM
group = groups.create(SYSTEM, name="plant")
registering.register(SYSTEM, registering.NewClient("meter", password="a long pass phrase"))
rules.create(SYSTEM, effect="allow", action="both", filter="plant/#", group=group)
"""


@contextmanager
def running(kafka: str, database: Path | None = None) -> Iterator[tuple[Cluster, Callable[..., str]]]:
    """A cluster, started, and its commands. `database`: a backup to restore before it starts."""
    with tempfile.TemporaryDirectory(prefix="gmqtt-") as short, present():
        redis = Redis(Path(short) / "redis")
        redis.start()
        settings = {"BROKER__KAFKA__PREFIX": f"{Path(short).name}.", "LISTENERS__HTTP": "127.0.0.1:0"}
        made = Cluster(Path(short), redis_url=redis.url, servers=kafka, **settings)

        def command(*words: str | Path, code: int = 0) -> str:
            line = [sys.executable, "-m", "gmqtt_platform", *map(str, words)]
            environ = made.environ(0)
            done = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout

        try:
            if database is not None:
                (made.directory / "node-a").mkdir(mode=0o700)
                shutil.copy(database.with_name("secret_key"), made.directory / "node-a")
                command("restore", database)
            with made:
                yield made, command
        finally:
            redis.kill()


@contextmanager
def client(node: Process, client_id: str, expiry: int = 3600) -> Iterator[tuple[paho.Client, list[Any]]]:
    one, got = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5), []
    one.on_message = lambda *args: got.append(args[2])
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = expiry
    one.connect("127.0.0.1", node.mqtt, clean_start=False, properties=properties)
    one.loop_start()
    until(one.is_connected, PATIENCE)
    yield one, got
    one.disconnect()
    one.loop_stop()


class Publisher(threading.Thread):
    """Goes on until it is told to stop; `count` messages were acknowledged."""

    def __init__(self, node: Process) -> None:
        super().__init__(daemon=True)
        self.node = node
        self.count = 0
        self.over = threading.Event()

    def run(self) -> None:
        with client(self.node, "publisher", 0) as (one, _):
            while not self.over.is_set():
                one.publish("plant/q", b"%d" % self.count, 1).wait_for_publish(PATIENCE)
                self.count += 1


def test_a_running_cluster_into_an_empty_one(kafka: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first.backup", tmp_path / "second.backup"
    with running(kafka) as (cluster, command):
        a, b = cluster.nodes
        command("manage", "shell", "-v0", "-c", ROWS)
        with client(a, "away") as (one, _):
            done = threading.Event()
            one.on_subscribe = lambda *args: done.set()
            one.subscribe([("plant/q", 1), ("$share/workers/plant/jobs", 1)])
            assert done.wait(PATIENCE)
        with client(b, "keeper", 0) as (one, _):
            one.publish("plant/kept", b"value", 1, True).wait_for_publish(PATIENCE)
        publisher = Publisher(b)
        publisher.start()
        until(lambda: publisher.count >= BEFORE, PATIENCE)
        command("backup", first)  # while messages come in
        acknowledged = publisher.count
        publisher.over.set()
        publisher.join(PATIENCE)
        shutil.copy(cluster.directory / "node-a" / "secret_key", tmp_path / "secret_key")
    kinds = [kind for kind, _ in contents(first)]
    queued = kinds.count("queued")
    assert BEFORE <= queued <= acknowledged + 1
    assert kinds.count("session") == 1 and kinds.count("retained") == 1

    with running(kafka, first) as (cluster, command):
        a, b = cluster.nodes
        command("backup", second)
        with client(b, "away") as (one, got):
            until(lambda: len(got) >= queued, PATIENCE)
            assert [int(each.payload) for each in got] == list(range(queued))
            one.subscribe("plant/kept", 1)
            until(lambda: got[-1].topic == "plant/kept", PATIENCE)
            assert got[-1].payload == b"value" and got[-1].retain
        refused = command("restore", first, code=1)
        assert refused == ""
    assert contents(second) == contents(first)
