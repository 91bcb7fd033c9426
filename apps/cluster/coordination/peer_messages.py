"""What one node tells another, gathered for a turn of the loop.

A message is [SIGNED, who tells, text], the text being [kind, who tells, items], signed for the node that is
to hear it: by these clients are disconnected, which nobody else who writes to Redis is to tell a node.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from apps.cluster.coordination.store import RedisUnavailable, Store
from apps.common.signed import sign

logger = logging.getLogger(__name__)

EVICT: Final = "evict"  # [who asks, [[client id, epoch, does its session go on], ...]]
GONE: Final = "gone"  # [who answers, client ids]
FOLLOWED: Final = (
    "followed"  # [who answers, [[its name and incarnation, version of what the queues want], ...]]
)
APPLIED: Final = "applied"  # [who answers, [[its name and incarnation, version of the routes], ...]]
SIGNED: Final = "signed"
BATCH_SIZE: Final = 500  # items in one message


def purpose(node: str) -> str:
    """What messages to `node` are signed for."""
    return f"node message {node}"


class PeerMessages:
    """What cannot be sent is lost: whoever asks asks again."""

    def __init__(self, name: str, store: Store) -> None:
        self._name = name
        self._store = store
        self._waiting: dict[tuple[str, str], list[Any]] = {}
        self._sender: asyncio.Task[None] | None = None

    def put(self, to: str, kind: str, item: Any) -> None:
        self._waiting.setdefault((to, kind), []).append(item)
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send(), name="cluster post")

    async def _send(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                await self._store.tell(
                    (f"to:{to}", self._signed(to, [kind, self._name, items[start : start + BATCH_SIZE]]))
                    for (to, kind), items in waiting.items()
                    for start in range(0, len(items), BATCH_SIZE)
                )
        except RedisUnavailable as error:
            logger.debug("not told: %s", error)
        finally:
            self._sender = None

    def _signed(self, to: str, message: list[Any]) -> list[Any]:
        return [SIGNED, self._name, sign(purpose(to), {"message": message})]

    async def stop(self) -> None:
        if self._sender is not None:
            await asyncio.wait([self._sender])
