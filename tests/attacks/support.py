"""The stop watch and the scale that stand beside a hostile test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tests.wire.nodes import Node
from tests.wire.raw import V5, Raw, subscribe

PAUSE = 0.005  # seconds between two pings
P99 = 0.1  # seconds in which 99 of 100 echoes are back, whatever anybody else does
WORST = 0.5  # seconds in which all are
TRIES = 3  # a machine that runs tests is busy with other things, too, but not three times just then
MEGABYTE = 1_048_576


class StopWatch:
    """A client that pings the node all the while, and how long the node made it wait.

    Not counted: time in which the node's loop, or the client, could have run, and the machine ran others.
    """

    def __init__(self, node: Node, connect: bytes = b"") -> None:
        """`connect`: its CONNECT, for a node that does not let everybody in."""
        self.waits: list[float] = []
        self._client = Raw(node.tcp, timeout=60)
        if connect:
            self._client.send(connect)
            first, body = self._client.packet()
            assert (first, body[1]) == (0x20, 0), body
        else:
            self._client.connect(V5, "stop-watch")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._schedules = [Path(f"/proc/{node.process.pid}/schedstat"), Path("/proc/thread-self/schedstat")]

    def _run(self) -> None:
        while not self._over.is_set():
            start, off_cpu = time.perf_counter(), self._off_cpu()
            self._client.ping()
            elapsed = time.perf_counter() - start
            self.waits.append(max(elapsed - (self._off_cpu() - off_cpu), 0.0))
            time.sleep(PAUSE)

    def _off_cpu(self) -> float:
        """Seconds for which both waited until now for a processor."""
        return sum(int(each.read_text().split()[1]) for each in self._schedules) / 1e9

    def __enter__(self) -> StopWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(60)
        self._client.close()

    @property
    def worst(self) -> float:
        """Seconds."""
        return max(self.waits)

    @property
    def p99(self) -> float:
        """Seconds, of a client that pings every `PAUSE`: one that waits would have pinged meanwhile."""
        waits = list(self.waits)
        for wait in self.waits:
            waits += [wait - missed * PAUSE for missed in range(1, int(wait / PAUSE))]
        return sorted(waits)[int(len(waits) * 0.99)]


def undisturbed(node: Node, attack: Callable[[], None], connect: bytes = b"") -> None:
    """Attack, and see that a client beside it hardly notices; `attack` is repeatable."""
    for tried in range(1, TRIES + 1):
        with StopWatch(node, connect) as watch:
            attack()
            time.sleep(20 * PAUSE)  # what goes on in later turns counts, too
        if watch.p99 < P99 and watch.worst < WORST:
            return
        if tried == TRIES:
            raise AssertionError(f"p99 {watch.p99:.3f} s, worst {watch.worst:.3f} s, {TRIES} times")


class Scale:
    """The memory of the node, and how much more it is in the end."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._before = 0

    def __enter__(self) -> Scale:
        self._before = self._node.rss()
        self._node.forget_peak()
        return self

    def __exit__(self, *error: object) -> None:
        self.kept = self._node.rss() - self._before  # bytes
        self.most = self._node.peak() - self._before  # meanwhile


def attacker(node: Node, name: str, **options: object) -> Raw:
    client = Raw(node.tcp, timeout=60)
    client.connect(V5, name, **options)
    return client


def codes(client: Raw) -> bytes:
    """The reason codes of the next SUBACK or UNSUBACK."""
    while True:
        first, body = client.packet()
        if first in (0x90, 0xB0):
            return body[3:]


def through(client: Raw) -> None:
    """Everything sent before has been handled, whatever is on its way to the client."""
    client.send(b"\xc0\0")
    while client.packet()[0] != 0xD0:
        pass


def subscribe_many(client: Raw, prefix: str, count: int, qos: int = 0) -> None:
    for start in range(0, count, 1000):
        names = [f"{prefix}/{number}" for number in range(start, min(start + 1000, count))]
        client.send(subscribe(V5, *names, qos=qos))
        assert codes(client) == bytes([qos]) * len(names)
