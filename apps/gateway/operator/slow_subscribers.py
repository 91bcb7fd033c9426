"""The clients of this node that do not keep up with what is sent to them."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any, Final

from apps.gateway.broker.node import Node
from apps.gateway.broker.session import Session

SLICE: Final = 2000  # sessions looked at in one turn of the loop
MAX_LISTED: Final = 100
FRESH: Final = 2.0  # seconds for which an answer is good


class SlowSubscribers:
    def __init__(self, node: Node) -> None:
        self._node = node
        self._found: list[dict[str, Any]] = []
        self._at = 0.0
        self._lock = asyncio.Lock()

    def handlers(self) -> dict[str, Callable[..., Any]]:
        return {"slow": self.slow}

    async def slow(self, limit: int = MAX_LISTED) -> dict[str, Any]:
        """Those with most waiting for them first, as of at most FRESH seconds ago."""
        async with self._lock:  # many who ask at once are given one answer
            if self._node.now - self._at >= FRESH:
                self._found = await self._look()
                self._at = self._node.now
        return {"at": self._at, "slow": self._found[: max(0, limit)]}

    async def _look(self) -> list[dict[str, Any]]:
        worst: list[tuple[tuple[bool, int, str], Session]] = []
        some: list[tuple[tuple[bool, int, str], Session]] = []
        for count, session in enumerate(list(self._node.sessions.values()), 1):
            waits = _waits(session)
            if waits is not None:
                some.append(((waits[0], waits[1], session.client_id), session))
            if count % SLICE == 0:
                worst, some = _largest(worst + some), []
                await asyncio.sleep(0)
        now = self._node.now
        return [found for _, session in _largest(worst + some) if (found := _shown(session, now))]


def _largest(found: list[tuple[tuple[bool, int, str], Session]]) -> list[Any]:
    return heapq.nlargest(MAX_LISTED, found, key=lambda each: each[0])


def _waits(session: Session) -> tuple[bool, int] | None:
    """Is its connection congested, and how many bytes wait for it; None: it keeps up, or is offline."""
    connection = session.connection
    if connection is None:
        return None
    congested = connection.congested
    if not congested and not session.backlog:
        return None
    return congested, session.backlog_bytes + connection.unsent


def _shown(session: Session, now: float) -> dict[str, Any] | None:
    connection = session.connection
    if connection is None:  # gone while others were looked at
        return None
    inflight = len(session.unacked) + len(session.released)
    queue = session.queue
    since = queue[0].queued_at if queue else 0.0
    return {
        "client_id": session.client_id,
        "congested": connection.congested,
        "unsent_bytes": connection.unsent,
        "queued": session.backlog,
        "queued_bytes": session.backlog_bytes,
        "oldest": round(max(now - since, 0.0), 3) if since else None,
        "inflight": inflight,
        "receive_window": connection.window,
        "window_full": inflight >= connection.window,
    }
