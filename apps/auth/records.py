"""What was refused and denied, and who was seen, written to the database in batches, off the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from apps.auth.acl import Explanation
from apps.auth.models import Refusal
from apps.auth.providers.base import Unavailable
from apps.auth.providers.database import Database
from apps.auth.services import clients, refusals
from apps.gateway.broker.ports import ConnectRequest, Peer
from apps.gateway.mqtt import reasons

WAITING: Final = 10_000  # rows; beyond them new ones are counted and dropped
MAX_BYTES: Final = 16 << 20  # of their texts and what they cost beside
ROW: Final = 800  # bytes that a row costs beside its texts
SEEN: Final = 120  # bytes of a client id that waits to be noted
BATCH_SIZE: Final = 1000  # rows in one write
MAX_SEEN: Final = 100_000  # client ids that wait to be noted
SEEN_BATCH_SIZE: Final = 5000

Explain = Callable[[str, str, str], Explanation | None]  # client id, action, topic


class Records:
    """Three methods of `ports.Observer`, each a few microseconds, and `flush` to be called every second."""

    def __init__(self, database: Database, kept: int, node: str, explain: Explain) -> None:
        self._database = database
        self._kept = kept
        self._node = node
        self._explain = explain
        self._rows: deque[dict[str, Any]] = deque()  # columns of a Refusal
        self._bytes = 0  # of them, and of those that are being written
        self._seen: set[str] = set()
        self.notes_seen = True  # False: no client here is one of the database's
        self.row_of: Callable[[str], str] = lambda client_id: client_id  # which row a client belongs to
        self.dropped = 0  # rows for which there was no room

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None:
        if self.notes_seen and len(self._seen) < MAX_SEEN:
            self._seen.add(self.row_of(client_id))

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None:
        self._add("connect", request.client_id, request.username, request.peer, reason, text)

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None:
        explained = self._explain(client_id, action, topic)
        rule = explained.rule if explained is not None else None
        text = f"{rule.effect} {rule.action} {rule.filter}" if rule is not None else "no rule allows it"
        rule_id = rule.id or None if rule is not None else None
        self._add(action, client_id, username, peer, reasons.NOT_AUTHORIZED, text, topic, rule_id)

    def _add(
        self,
        action: str,
        client_id: str,
        username: str | None,
        peer: Peer,
        reason: int,
        text: str,
        topic: str = "",
        rule_id: int | None = None,
    ) -> None:
        if not self._kept:
            return
        size = ROW + len(client_id) + len(username or "") + len(text) + len(topic)
        if len(self._rows) >= WAITING or self._bytes + size > MAX_BYTES:
            self.dropped += 1
            return
        self._bytes += size
        self._rows.append(
            {
                "at": datetime.now(UTC),
                "action": action,
                "client_id": client_id,
                "username": username or "",
                "address": peer.address,
                "transport": peer.transport,
                "reason_code": reason,
                "reason": text,
                "topic": topic,
                "rule_id": rule_id,
                "node": self._node,
            }
        )

    async def flush(self) -> None:
        """Write what waits. While the database is away it waits on, within its bounds."""
        while self._rows:
            batch = [self._rows.popleft() for _ in range(min(BATCH_SIZE, len(self._rows)))]
            try:
                await self._database.run(_write, batch, self._kept)
            except Unavailable:
                self._rows.extendleft(reversed(batch))
                return
        self._bytes = 0
        while self._seen:
            seen = {self._seen.pop() for _ in range(min(SEEN_BATCH_SIZE, len(self._seen)))}
            try:
                await self._database.run(clients.seen, seen, datetime.now(UTC))
            except Unavailable:
                self._seen |= seen
                return

    def memory(self) -> int:
        """Bytes of what waits to be written."""
        return self._bytes + SEEN * len(self._seen)

    @property
    def waiting(self) -> int:
        return len(self._rows)


def _write(rows: list[dict[str, Any]], kept: int) -> None:
    refusals.record([Refusal(**row) for row in rows], kept)
