"""The transport of a connection under test: keeps what was written, and can stop taking it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection

UNLIMITED = 1 << 60


class FakeLink:
    """`ports.Link` in memory. `capacity` bytes are taken before the link calls `pause`, as a socket would."""

    def __init__(self, on_control: Callable[[FakeLink], None]) -> None:
        self._on_control = on_control
        self.connection: Connection | None = None
        self.capacity = UNLIMITED
        self.waiting = bytearray()  # written, not yet taken by the peer
        self.writes = 0
        self.closed = False
        self.aborted = False
        self.paused_reading = False

    def write(self, data: bytes) -> None:
        assert not self.closed, "written after close"
        self.writes += 1
        self.waiting += data
        if len(self.waiting) > self.capacity and self.connection is not None:
            self.connection.pause()

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True

    def abort(self) -> None:
        self.closed = True
        self.aborted = True
        self.waiting.clear()

    def pause_reading(self) -> None:
        self.paused_reading = True

    def resume_reading(self) -> None:
        assert self.paused_reading, "released without being held"
        self.paused_reading = False

    def control(self) -> None:
        self._on_control(self)

    def take(self) -> bytes:
        """What the peer reads: everything that waits."""
        data = bytes(self.waiting)
        self.waiting.clear()
        return data
