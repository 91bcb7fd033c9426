"""The stop watch and the scale that stand beside a hostile test."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from tests.wire.nodes import Node
from tests.wire.raw import V5, Raw

PAUSE = 0.005  # seconds between two pings


class StopWatch:
    """A client that pings the node all the while, and how long the node made it wait."""

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

    def _run(self) -> None:
        while not self._over.is_set():
            start = time.perf_counter()
            self._client.ping()
            self.waits.append(time.perf_counter() - start)
            time.sleep(PAUSE)

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
        return sorted(self.waits)[int(len(self.waits) * 0.99)]


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
