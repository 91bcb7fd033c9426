"""What happens when time passes: keepalives and CONNECT timeouts on a wheel, single dates on a heap."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from apps.gateway.broker import closing
from apps.gateway.broker.states import CLOSED, CONNECTED
from apps.gateway.mqtt import reasons

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.session import Session

SLACK: Final = 1024  # dates more than twice the sessions that are let lie
HORIZON: Final = 16  # seconds after which a connection is looked at again, so that the wheel stays short


class Timers:
    """Deadlines of one node, in UNIX seconds. `run` is to be called about twice a second."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._wheel: dict[int, dict[Connection, None]] = {}
        self._turned = int(node.now)
        self._heap: list[tuple[float, int, Session]] = []
        self._sequence = 0

    def __len__(self) -> int:
        """Entries, for the table of what the memory holds."""
        return len(self._heap) + self._node.stats.connections

    def at(self, when: float, session: Session) -> None:
        """Call the node's `session_due` at `when`, or before: one entry for a session is enough."""
        if session.armed and session.armed <= when:
            return
        session.armed = when
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, session))
        if len(self._heap) > 2 * len(self._node.sessions) + SLACK:
            self._sweep()

    def _sweep(self) -> None:
        """Forget the dates that were moved, and those of sessions that are no more: some lie weeks ahead."""
        sessions = self._node.sessions
        self._heap = [
            entry
            for entry in self._heap
            if entry[2].armed == entry[0] and sessions.get(entry[2].client_id) is entry[2]
        ]
        heapq.heapify(self._heap)

    def watch(self, connection: Connection, now: float) -> None:
        """Close the connection when it is silent for too long; called again when its limit changes."""
        deadline = self._deadline(connection)
        if deadline:
            self._put(connection, deadline, now)

    def _deadline(self, connection: Connection) -> float:
        """0.0: none."""
        if connection.state != CONNECTED:
            return connection.opened + self._node.limits.connect_timeout
        deadline = connection.silent_after if connection.keepalive else 0.0
        if connection.expires_at and (not deadline or connection.expires_at < deadline):
            deadline = connection.expires_at
        return deadline

    def _put(self, connection: Connection, deadline: float, now: float) -> None:
        second = int(min(deadline, now + HORIZON)) + 1
        second = max(second, self._turned + 1)
        if connection.watched == second:
            return
        self.forget(connection)
        connection.watched = second
        slot = self._wheel.get(second)
        if slot is None:
            self._wheel[second] = {connection: None}
        else:
            slot[connection] = None

    def forget(self, connection: Connection) -> None:
        """The connection has ended, or moves to another slot: nothing of it stays in the wheel."""
        slot = self._wheel.get(connection.watched)
        if slot is not None:
            slot.pop(connection, None)
            if not slot:
                del self._wheel[connection.watched]
        connection.watched = 0

    def run(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            when, _, session = heapq.heappop(self._heap)
            if session.armed == when:
                session.armed = 0.0
                self._node.session_due(session, now)
        while self._turned < int(now):
            self._turned += 1
            for connection in self._wheel.pop(self._turned, {}):
                connection.watched = 0
                if connection.state != CLOSED:  # an earlier one of the slot may have closed it
                    self._look(connection, now)

    def _look(self, connection: Connection, now: float) -> None:
        deadline = self._deadline(connection)
        if connection.state == CONNECTED and connection.holding:  # its silence is our doing
            connection.last_seen = now
            deadline = self._deadline(connection)
        if not deadline:
            return
        if deadline > now:
            self._put(connection, deadline, now)
        elif connection.expires_at and connection.expires_at <= now:
            closing.close(connection, reasons.NOT_AUTHORIZED, "the credentials have expired", now)
        elif connection.state == CONNECTED:
            closing.close(connection, reasons.KEEP_ALIVE_TIMEOUT, "", now)  # [MQTT-3.1.2-22]
        else:
            closing.close(connection, reasons.UNSPECIFIED_ERROR, "no complete CONNECT in time", now)
