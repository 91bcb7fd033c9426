"""`make cluster`: starts again whatever ends, stops in order and quietly, shows nothing to other users."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tools.cluster import ROOT, Cluster
from tools.kafka import Kafka
from tools.redis import Redis
from tools.servers import Server, free_port

TIMEOUT = 90.0


def until(condition: Callable[[], object], what: object) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def readable_by_others(directory: Path) -> bool:
    return bool(stat.S_IMODE(directory.stat().st_mode) & 0o077)


def test_redis_asks_for_the_password(tmp_path: Path, redis_url: str) -> None:
    redis = Redis(tmp_path / "redis", guarded=True)
    redis.start()
    try:
        with socket.create_connection(("127.0.0.1", redis.port), 5) as stranger:
            stranger.sendall(b"KEYS *\r\n")
            assert stranger.recv(100).startswith(b"-NOAUTH")
        assert redis.call("DBSIZE") == b":0\r\n"
        secret = (tmp_path / "redis" / "password").read_text()
        assert secret not in Path(f"/proc/{redis.pid}/cmdline").read_text()
    finally:
        redis.stop()
    assert not readable_by_others(tmp_path / "redis")


def test_kafka_asks_for_the_password(tmp_path: Path, kafka: str) -> None:
    guarded = Kafka(tmp_path / "kafka", guarded=True)
    guarded.start()
    try:
        place = {"bootstrap.servers": guarded.servers, "log_level": 0}
        assert AdminClient(place | guarded.options).list_topics(timeout=30).brokers
        for options in ({}, guarded.options | {"sasl.password": "wrong"}):
            with pytest.raises(KafkaException):
                AdminClient(place | options).list_topics(timeout=3)
        secret = guarded.options["sasl.password"]
        assert secret not in Path(f"/proc/{guarded.pid}/cmdline").read_text()
    finally:
        guarded.stop()
    assert not readable_by_others(tmp_path / "kafka")


class Sleeper(Server):
    """A server without a program of its own."""

    command = [sys.executable, "-c", "import time; time.sleep(600)"]

    def ready(self) -> bool:
        return True


def test_what_ends_is_started_again_and_later_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.cluster.SOONEST", 0.1)
    said: list[str] = []
    cluster = Cluster(tmp_path / "c", nodes=0, say=lambda name, line: said.append(line), alone=True)
    server = Sleeper(tmp_path / "s")
    server.start()
    cluster._servers.append(server)
    watching = threading.Thread(target=cluster.watch)
    watching.start()
    try:
        for _ in range(3):
            pid = server.pid
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: server.pid != pid, said)
    finally:
        cluster.stop()
        watching.join(10)
    assert [line.rpartition(" in ")[2] for line in said] == ["0.1 s", "0.2 s", "0.4 s"]
    assert server.has_ended


def test_make_cluster(tmp_path: Path, kafka: str, redis_url: str) -> None:
    """Redis and Kafka are killed and come back; Ctrl-C in the terminal stops all, with no error."""
    directory = tmp_path / "c"
    given = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL")
    environ = {name: value for name, value in os.environ.items() if name not in given}
    ports = ("--mqtt-port", free_port(), "--http-port", free_port(), "--kafka-port", free_port())
    command = [sys.executable, "-m", "tools.cluster", "--nodes", "1", "--directory", str(directory)]
    process = subprocess.Popen(
        [*command, *map(str, ports)],
        cwd=ROOT,
        env=environ | {"GMQTT_PURE_PYTHON": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a terminal of its own, whose Ctrl-C reaches the group
    )
    lines: list[str] = []
    assert process.stdout is not None
    output = process.stdout
    reading = threading.Thread(target=lambda: lines.extend(iter(output.readline, "")))
    reading.start()
    try:
        until(lambda: any("up after" in line for line in lines), lines)
        assert not readable_by_others(directory)
        for name in ("redis-server", "kafka.Kafka"):
            killed = child(process.pid, name)
            os.kill(killed, signal.SIGKILL)
            until(lambda name=name, killed=killed: child(process.pid, name) not in (0, killed), lines)
        restarts = [line for line in lines if "it is started again" in line]
        assert len(restarts) == 2 and "Redis" in restarts[0] and "Kafka" in restarts[1]
        until(lambda: is_well(ports[3]), "the node does not find Kafka and Redis again")
    finally:
        before = len(lines)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(TIMEOUT)
        reading.join(10)
        output.close()
    assert lines[-1].rstrip().endswith("| stopped")
    said = lines[before:]
    trouble = ("Traceback", "ERROR", "WARNING", "CRITICAL")
    assert not [line for line in said if any(word in line for word in trouble)], said


def is_well(port: object) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        return bool(json.load(answer)["status"] == "ok")


def child(parent: int, word: str) -> int:
    """The process of `parent` whose command line has `word`; 0: there is none."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(found[1]) == parent and found[0] != "Z" and word in (entry / "cmdline").read_text():
                    return int(entry.name)
            except (OSError, ValueError):
                continue
    return 0
