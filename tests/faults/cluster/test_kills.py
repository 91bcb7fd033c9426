"""SIGKILL of one process of a cluster under traffic: what was acknowledged reaches the survivors, in order.

Twenty publishers at QoS 1, half of them on each node; for each a subscriber with a clean session on node b.
`pytest -s` prints how many came twice and how long messages took before, during and after the fault.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.faults.paho import Client
from tests.services import present
from tools.cluster import Cluster

# paho leaves the sockets of connections that broke to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PUBLISHERS = 20
WINDOW = 20  # publishes of one publisher that may be unacknowledged
TIMEOUT = 60.0
BEFORE, AFTER = 2.0, 10.0  # seconds of traffic before the fault, and after what was killed is back
AWAY = 1.0  # seconds that what was killed is away


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """With a Kafka and a Redis of its own, to be killed."""
    with tempfile.TemporaryDirectory(prefix="gmqtt-") as short, present():
        lines: list[str] = []
        started = Cluster(Path(short), say=lambda name, line: lines.append(f"{name}: {line}"))
        try:
            with started:
                yield started
        except RuntimeError as error:
            pytest.fail(f"{error}\n" + "\n".join(lines[-60:]))
        finally:
            print("\n".join(lines[-200:]))


class Subscriber:
    def __init__(self, number: int, port: int) -> None:
        self.got: list[int] = []
        self.took: list[tuple[float, float]] = []  # when it came, seconds after it was sent
        self._ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, f"reader-{number}")
        self.client.on_message = self._message
        self.client.on_connect = lambda *_: self.client.subscribe(f"faults/{number}", 1)
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.connect("127.0.0.1", port, 60)
        self.client.loop_start()

    def ready(self) -> None:
        assert self._ready.wait(TIMEOUT)

    def _message(self, client: Any, data: Any, message: Any) -> None:
        number, sent = message.payload.split()
        now = time.time()
        self.got.append(int(number))
        self.took.append((now, now - float(sent)))

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Publisher:
    """0, 1, 2, ... to a topic of its own, again after each reconnect until it is acknowledged."""

    def __init__(self, number: int, port: int) -> None:
        self.sent = self.acknowledged = 0
        self._topic = f"faults/{number}"
        self._stopping = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, f"writer-{number}", clean_session=False)
        self.client.max_inflight_messages_set(WINDOW)
        self.client.reconnect_delay_set(0.05, 0.5)
        self.client.on_publish = self._published
        self.client.connect("127.0.0.1", port, 60)
        self.client.loop_start()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _published(self, *_: Any) -> None:
        self.acknowledged += 1

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            if self.sent - self.acknowledged < WINDOW:
                self.client.publish(self._topic, f"{self.sent} {time.time()}", 1)
                self.sent += 1

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def close(self) -> None:
        self.stop()
        self.client.disconnect()
        self.client.loop_stop()


def until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def _kill(cluster: Cluster, victim: str) -> None:
    """And start it again, as a supervisor would."""
    server = {"kafka": cluster.kafka, "redis": cluster.redis}.get(victim)
    if server is not None:
        server.kill()
        time.sleep(AWAY)
        server.start()
        return
    process = cluster.bridge if victim == "bridge" else cluster.nodes[0]
    process.kill()
    time.sleep(AWAY)
    process.start()
    assert process.ready.wait(TIMEOUT)


@pytest.mark.parametrize("victim", ["bridge", "node", "redis", "kafka"])
def test_what_was_acknowledged_reaches_the_survivors(cluster: Cluster, victim: str) -> None:
    a, b = cluster.nodes
    readers = [Subscriber(number, b.mqtt) for number in range(PUBLISHERS)]
    writers: list[Publisher] = []
    try:
        for reader in readers:
            reader.ready()
        time.sleep(1.0)  # node a has heard of the subscriptions
        writers += [Publisher(number, (a, b)[number % 2].mqtt) for number in range(PUBLISHERS)]
        time.sleep(BEFORE)
        killed = time.time()
        _kill(cluster, victim)
        back = time.time()
        time.sleep(AFTER)
        for writer in writers:
            writer.stop()
        until(
            lambda: all(writer.acknowledged >= writer.sent for writer in writers),
            lambda: f"not acknowledged: {[writer.sent - writer.acknowledged for writer in writers]}",
        )
        until(
            lambda: all(len(set(r.got)) >= w.sent for r, w in zip(readers, writers, strict=True)),
            lambda: f"lost: {[w.sent - len(set(r.got)) for r, w in zip(readers, writers, strict=True)]}",
        )
        for reader, writer in zip(readers, writers, strict=True):
            assert list(dict.fromkeys(reader.got)) == list(range(writer.sent)), "invented or out of order"
        _report(victim, readers, writers, killed, back)
    finally:
        for each in writers:
            each.close()
        for reader in readers:
            reader.stop()


def _report(
    victim: str, readers: list[Subscriber], writers: list[Publisher], killed: float, back: float
) -> None:
    took = sorted(each for reader in readers for each in reader.took)
    twice = sum(len(reader.got) - len(set(reader.got)) for reader in readers)
    print(f"\n{victim}: {sum(writer.sent for writer in writers)} messages, {twice} of them twice")
    spans = {"before": (0.0, killed), "until back": (killed, back)}
    spans |= {f"{second}..{second + 1} s after": (back + second, back + second + 1) for second in range(10)}
    for name, (first, last) in spans.items():
        some = sorted(seconds for at, seconds in took if first <= at < last)
        if some:
            p50, p99 = some[len(some) // 2] * 1000, some[len(some) * 99 // 100] * 1000
            print(f"  {name:14} {len(some):6} p50 {p50:8.1f} ms, p99 {p99:8.1f} ms")
