"""What a node does when the memory of its process runs short, and giving back what it no longer needs.

Ten times a second, fifty times where half of what the limit leaves beside the program is in use, the resident
memory is compared with the limit: a publisher on this machine fills 80 MB in a second. Near it the node
refuses in this order: new connections (5.0: 0x97, 3.x: "server unavailable"), QoS 0 (dropped, reason
`memory`), and QoS 1 and 2 (0x97; 3.x: disconnected, as where a message cannot be stored). What it took before
that is acknowledged and delivered as ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from apps.gateway import process_memory
from apps.gateway.broker.limits import DROP_QOS_0, REFUSE_CONNECTS, REFUSE_PUBLISHES
from apps.gateway.broker.node import Node

logger = logging.getLogger(__name__)

UNLIMITED: Final = 1.0  # seconds between two looks where there is no limit
EVERY: Final = 0.1  # the same, where there is one
OFTEN: Final = 0.02  # the same, from half of the room on
# Share of the room, which is what the limit leaves beside the program, from which on -> what is refused.
STEPS: Final = ((0.75, REFUSE_CONNECTS), (0.82, DROP_QOS_0), (0.88, REFUSE_PUBLISHES))
LESS: Final = 0.1  # of the room: so much less has to be in use until it is taken again
QUEUES: Final = 0.5  # of the room: what queues may hold at most
REFUSED: Final = {
    REFUSE_CONNECTS: "new connections are refused",
    DROP_QOS_0: "new connections and QoS 0 are refused",
    REFUSE_PUBLISHES: "new connections and messages are refused",
}
TRIM: Final = 10.0  # seconds between two times that memory is given back
TRIM_SOON: Final = 1.0  # the same, where something is refused
COUNTED: Final = 1.0  # seconds between two looks at what is free
WORTH: Final = 16 << 20  # bytes: less is not given back


class MemoryWatch:
    def __init__(self, node: Node, give_back: Callable[[], None]) -> None:
        """`give_back` empties what is a cache only and gives free memory back, in threads."""
        self._node = node
        self._give_back = give_back
        self._read = process_memory.rss
        self._timer: asyncio.TimerHandle | None = None
        self.limit = 0  # bytes; 0: none
        self.used = 0
        self.program = 0  # what was in use at the start
        self._gave_back = 0.0  # when, on the watch's own clock
        self._clock = 0.0
        self._counted = 0.0  # when what is free was looked at last
        self._worth = False  # is enough of it still occupied?
        self._kept = 0  # bytes that the C library calls free and has given back

    def start(self) -> None:
        """The program is loaded: find out the limit, and keep queues well within it."""
        limits = self._node.limits
        self.limit = limits.memory
        if not self.limit:
            self.limit, self._read = process_memory.limit()
        self.used = self.program = self._read()
        if not self.limit:
            return
        most = max(int((self.limit - self.used) * QUEUES), 1 << 20)
        if self.limit <= self.used:
            logger.error(
                "limits.memory: the node occupies %s already, of %s; it refuses everything",
                _mb(self.used),
                _mb(self.limit),
            )
        elif limits.node_bytes > most:
            logger.info("memory: at most %s of %s for queues (limits.memory)", _mb(most), _mb(self.limit))
            limits.node_bytes = most

    def run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look from now on, until `stop`."""
        self._timer = loop.call_later(self.look(), self.run, loop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> float:
        """Look now; the seconds until the next look."""
        self.used = self._read()
        if self.limit:
            self._judge()
        if self._clock - self._counted >= COUNTED:
            self._counted = self._clock
            self._worth = self.unused() >= WORTH
        since = self._clock - self._gave_back
        if since >= (TRIM_SOON if self._node.strain else TRIM) and (self._node.strain or self._worth):
            self._gave_back = self._clock
            self._worth = False
            self._kept = process_memory.free()
            self._give_back()
        wait = UNLIMITED if not self.limit else OFTEN if self._share() >= 0.5 else EVERY
        self._clock += wait
        return wait

    def _share(self) -> float:
        """Of the room, what is in use."""
        return (self.used - self.program) / max(self.limit - self.program, 1)

    def _judge(self) -> None:
        node = self._node
        before = node.strain
        share = self._share() if self.limit > self.program else 1.0
        reached = max((step for start, step in STEPS if share >= start), default=0)
        stays = max((step for start, step in STEPS if share >= start - LESS), default=0)
        node.strain = max(reached, min(before, stays))
        if node.strain > before:
            what = REFUSED[node.strain]
            logger.warning("memory: %s of %s in use: %s", _mb(self.used), _mb(self.limit), what)
        elif before and not node.strain:
            logger.warning("memory: %s of %s in use: nothing is refused", _mb(self.used), _mb(self.limit))

    def unused(self) -> int:
        """Bytes that the C library keeps and has not given back, as far as can be told.

        What is free no longer is occupied again: so the least that was free since counts as given back.
        """
        free = process_memory.free()
        self._kept = min(self._kept, free)
        return free - self._kept

    def readiness(self) -> str:
        """For /readyz and the console; "": there is enough."""
        return f"short of memory: {REFUSED[self._node.strain]}" if self._node.strain else ""

    def status(self) -> dict[str, Any]:
        return {"ok": not self._node.strain, "used": self.used, "limit": self.limit}


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
