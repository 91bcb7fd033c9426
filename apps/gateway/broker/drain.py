"""Emptying a node: nobody new comes in, and those who are connected leave at a steady pace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from apps.gateway.broker import closing
from apps.gateway.mqtt import reasons

if TYPE_CHECKING:
    from apps.gateway.broker.node import Node


class Drain:
    """Clients are told 0x9C and, where one is configured, another server (section 4.11).

    A 3.x client is just disconnected. `run` is to be called about twice a second.
    """

    def __init__(self, node: Node, rate: int, reference: str, now: float) -> None:
        """`rate` in clients per second; `reference` is a server reference, "" = none."""
        self.rate = rate
        self.reference = reference
        self.started = now
        self.total = node.stats.connections
        self.gone = 0
        self._node = node
        self._left: Iterator[str] = iter(list(node.sessions))
        self._ran = now
        self._credit = 1.0  # clients that may go now

    def run(self, now: float) -> None:
        self._credit += max(now - self._ran, 0.0) * self.rate
        self._ran = now
        while self._credit >= 1.0:
            client_id = next(self._left, "")
            if not client_id:
                return
            if self._close(client_id, now):
                self._credit -= 1.0

    def _close(self, client_id: str, now: float) -> bool:
        session = self._node.sessions.get(client_id)
        if session is None or session.connection is None:
            return False
        self.gone += 1
        closing.close(session.connection, reasons.USE_ANOTHER_SERVER, "the node is being drained", now)
        return True
