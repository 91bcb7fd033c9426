"""SIGKILL at random moments, under traffic: nothing acknowledged is lost, nothing of QoS 2 comes twice."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import CallbackAPIVersion

from bench.peers import free_ports
from tests.faults.paho import Client
from tests.wire.nodes import Node, migrate

# paho leaves the sockets of connections that broke to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

KILLS = int(os.environ.get("FAULT_KILLS", "5"))
SEED = int(os.environ.get("FAULT_SEED", "6"))
TIMEOUT = 40.0  # seconds for what was published to arrive, after the last start
WINDOW = 50  # publishes of one publisher that may be unacknowledged


class Peer:
    """A client with a persistent session that connects again whenever it has to."""

    def __init__(self, name: str, port: int) -> None:
        self.got: list[str] = []
        self.online = threading.Event()
        self.subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
        self.client.max_inflight_messages_set(WINDOW)
        self.client.reconnect_delay_set(0.05, 0.2)
        self.client.on_message = self._message
        self.client.on_connect = lambda *_: self.online.set()
        self.client.on_disconnect = lambda *_: self.online.clear()
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self._port = port

    def _message(self, client: Any, data: Any, message: Any) -> None:
        self.got.append(message.payload.decode())

    def start(self) -> None:
        self.client.connect_async("127.0.0.1", self._port, 30)
        self.client.loop_start()

    def subscribe(self, filter: str, qos: int) -> None:
        assert self.online.wait(30)
        self.client.subscribe(filter, qos)
        assert self.subscribed.wait(30)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Publisher(Peer):
    """Publishes 0, 1, 2, ... to a topic of its own."""

    def __init__(self, name: str, port: int, qos: int) -> None:
        super().__init__(name, port)
        self.qos = qos
        self.sent = 0
        self.acknowledged = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run)
        self.client.on_publish = self._published

    def _published(self, *_: Any) -> None:
        self.acknowledged += 1

    def start(self) -> None:
        super().start()
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            if self.sent - self.acknowledged < WINDOW:
                self.sent += self.client.offer(f"faults/{self.qos}", f"{self.qos}/{self.sent}", self.qos)
            else:
                time.sleep(0.002)
            time.sleep(0.001)

    def finish(self) -> None:
        self._stopping = True
        self._thread.join()
        wait(lambda: self.acknowledged >= self.sent, f"{self.acknowledged} of {self.sent} acknowledged")


def _has(peer: Peer, wanted: set[str]) -> bool:
    return set(peer.got) >= wanted


def wait(condition: Any, what: str = "") -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, what or "it did not happen in time"
        time.sleep(0.05)


def test_what_was_acknowledged_outlives_kills(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    (port,) = free_ports(1)
    data = tmp_path / "node"
    data.mkdir()
    migrate(data)

    def start() -> Node:
        return Node(data, LISTENERS__TCP=f"tcp://127.0.0.1:{port}", NODE__SHUTDOWN_TIMEOUT="2")

    node = start()
    subscribers = {name: Peer(name, port) for name in ("online-1", "online-2", "away-1", "away-2")}
    publishers = [Publisher("writer-1", port, 1), Publisher("writer-2", port, 2)]
    try:
        for name, peer in subscribers.items():
            peer.start()
            peer.subscribe(f"faults/{name[-1]}", int(name[-1]))
            if name.startswith("away"):
                peer.stop()
        for publisher in publishers:
            publisher.start()
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.05, 1.0))
            node.process.kill()
            node.process.wait()
            assert node.process.stdout is not None
            node.process.stdout.close()
            node = start()
        time.sleep(1.0)
        for publisher in publishers:
            publisher.finish()
        for name, peer in subscribers.items():
            if name.startswith("away"):
                peer.start()
        repeated: dict[str, int] = {}
        for name, peer in subscribers.items():
            qos = int(name[-1])
            expected = [f"{qos}/{number}" for number in range(publishers[qos - 1].sent)]
            assert len(expected) > KILLS
            wait(
                lambda p=peer, e=expected: set(p.got) >= set(e),
                f"{name} lacks {len(expected) - len(set(peer.got))}",
            )
            assert list(dict.fromkeys(peer.got)) == expected, f"{name}: invented or out of order"
            repeated[name] = len(peer.got) - len(expected)
        exactly_once = {name: count for name, count in repeated.items() if name.endswith("2")}
        assert not any(exactly_once.values()), f"QoS 2, repeated: {exactly_once}"
        print(f"repeated: {repeated}")
        print(f"{KILLS} kills, seed {SEED}: {[each.sent for each in publishers]} messages")
    finally:
        for publisher in publishers:
            publisher._stopping = True
        for each in (*publishers, *subscribers.values()):
            each.stop()
        node.process.kill()
        node.stop()
