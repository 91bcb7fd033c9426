"""Drives a node on an event loop: its clock, its flush at the end of a loop turn, its tick."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from apps.gateway.broker.node import Node

logger = logging.getLogger(__name__)

TICK: Final = 0.5  # seconds


class Runner:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # UNIX time that a change of the system's clock does not move.
        self._offset = time.time() - loop.time()
        self._node: Node | None = None
        self._ticker: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """UNIX seconds, as of the start of the loop turn."""
        return self._offset + self._loop.time()

    def wake(self) -> None:
        """The node has output: flush when what is ready now has been handled."""
        self._loop.call_soon(self._flush)

    def start(self, node: Node) -> None:
        self._node = node
        node.clock = time.monotonic
        self._flush()  # what the node recorded before anybody drove it
        self._tick()

    def stop(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()

    def _flush(self) -> None:
        if self._node is not None:
            self._node.flush()

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TICK, self._tick)
        if self._node is not None:
            try:
                self._node.tick(self.now())
            except Exception:
                logger.exception("the node's tick failed")
