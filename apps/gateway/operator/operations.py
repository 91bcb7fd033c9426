"""What other apps may do with the connections of this node. Call it on the node's loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from apps.gateway.broker import subscribing
from apps.gateway.broker.chores import FEW
from apps.gateway.broker.node import Node
from apps.gateway.broker.ports import DENIED, UNKNOWN, Acl, Peer
from apps.gateway.mqtt import reasons

# Plain numbers of `broker.stats.Stats`.
COUNTERS = (
    *("started", "connections", "max_connections", "connects", "disconnects", "sessions_expired"),
    *("packets_in", "packets_out", "publishes_in", "publishes_out", "bytes_in", "bytes_out"),
    *("publish_bytes_in", "publish_bytes_out", "held", "queued", "inbound"),
)


@dataclass(slots=True)
class SessionState:
    """One session, as of now. Times are UNIX seconds, 0.0: not set."""

    online: bool
    username: str | None
    peer: Peer | None  # None: not connected
    level: int  # 0: not connected
    clean_start: bool
    keepalive: int  # seconds
    created_at: float
    connected_at: float
    expiry_interval: int
    expires_at: float
    subscriptions: int
    inflight: int
    queued: int
    queued_bytes: int


class NodeOperations:
    def __init__(self, node: Node, now: Callable[[], float]) -> None:
        self._node = node
        self._now = now
        self.elsewhere: Callable[[str], None] = lambda client_id: None  # forgets a session that no node has

    def online(self) -> Iterator[tuple[str, str | None, Peer]]:
        """Client id, user name and peer of every connection, as of the call."""
        for session in list(self._node.sessions.values()):
            connection = session.connection
            if connection is not None:
                yield session.client_id, connection.username, connection.peer

    def connected(self, client_id: str) -> tuple[str | None, Peer] | None:
        """User name and peer of one client; None: it is not connected here."""
        session = self._node.sessions.get(client_id)
        if session is None or session.connection is None:
            return None
        return session.connection.username, session.connection.peer

    def stats(self) -> dict[str, Any]:
        """Every counter of `broker.stats`, and how much there is."""
        node = self._node
        found: dict[str, Any] = {name: getattr(node.stats, name) for name in COUNTERS}
        found["refused"] = {str(reason): count for reason, count in node.stats.refused.items()}
        found["drops"] = dict(node.stats.drops)
        found["draining"] = node.drain is not None
        found["sessions"] = len(node.sessions)
        found["subscriptions"] = node.router.trie.count
        found["shared_subscriptions"] = node.router.trie.shared_count
        found["retained"] = len(node.retained)
        found["retained_bytes"] = node.retained.bytes
        return found

    def transports(self) -> dict[str, int]:
        """Connections by transport and protocol level: {"tls v5": 7}."""
        found: Counter[str] = Counter()
        for session in list(self._node.sessions.values()):
            connection = session.connection
            if connection is not None:
                found[f"{connection.peer.transport} v{connection.level}"] += 1
        return dict(found)

    def client_ids(self) -> list[str]:
        """Of every session, as of the call."""
        return list(self._node.sessions)

    def load(self, client_id: str) -> tuple[int, int] | None:
        """Queued messages and bytes; None: there is no such session."""
        session = self._node.sessions.get(client_id)
        if session is None:
            return None
        return session.backlog, session.backlog_bytes

    def state(self, client_id: str) -> SessionState | None:
        session = self._node.sessions.get(client_id)
        if session is None:
            return None
        connection = session.connection
        return SessionState(
            online=connection is not None,
            username=session.username,
            peer=connection.peer if connection is not None else None,
            level=connection.level if connection is not None else 0,
            clean_start=connection.clean_start if connection is not None else False,
            keepalive=round(connection.keepalive / 1.5) if connection is not None else 0,
            created_at=session.created,
            connected_at=connection.opened if connection is not None else 0.0,
            expiry_interval=session.expiry_interval,
            expires_at=session.expires_at,
            subscriptions=len(session.subscriptions),
            inflight=len(session.unacked) + len(session.released),
            queued=session.backlog,
            queued_bytes=session.backlog_bytes,
        )

    def subscribed(self, client_id: str) -> list[tuple[str, str, int, bool, bool, int]]:
        """Filter, share name, QoS, no local, retain as published, identifier of each subscription."""
        session = self._node.sessions.get(client_id)
        if session is None:
            return []
        return [
            (each.filter, each.share, each.qos, each.no_local, each.retain_as_published, each.identifier)
            for each in session.subscriptions.values()
        ]

    async def undecided(self, client_id: str, acl: Acl) -> dict[str, int]:
        """Filters of a connected client that `acl` cannot answer itself, and the QoS to ask it for."""
        session = self._node.sessions.get(client_id)
        if session is None or session.connection is None:
            return {}
        names = list(session.subscriptions)
        found: dict[str, int] = {}
        few = subscribing.at_once(acl)
        for start in range(0, len(names), few):
            if start:
                await asyncio.sleep(0)
            found |= subscribing.undecided(session, acl, names[start : start + few])
        return found

    def set_acl(self, client_id: str, acl: Acl, asked: dict[str, int] | None = None) -> None:
        """Decide by `acl` from now on; subscriptions that it does not allow end.

        `asked`: its answers to those that are `undecided`.
        """
        session = self._node.sessions.get(client_id)
        if session is not None and session.connection is not None:
            subscribing.change_acl(session.connection, acl, asked)

    def absent(self, client_ids: Iterable[str] | None) -> list[str]:
        """Those of them whose client is away, and its session here; None: of all."""
        sessions = self._node.sessions
        names = sessions if client_ids is None else client_ids
        return [name for name in names if name in sessions and sessions[name].connection is None]

    async def review_absent(self, client_id: str, acl: Acl) -> None:
        """End what `acl` denies of the subscriptions of a client that is away; what it cannot say stays, and
        is asked about before the client gets anything by it."""
        session = self._node.sessions.get(client_id)
        for count, name in enumerate(list(session.subscriptions) if session is not None else (), 1):
            if count % FEW == 0:
                await asyncio.sleep(0)
            subscription = session.subscriptions.get(name) if session is not None else None
            if session is None or session.connection is not None or session.ended:
                return
            if subscription is None:
                continue
            granted = acl.subscribe(subscription.filter, subscription.qos)
            if granted == UNKNOWN:
                granted = await acl.ask_subscribe(subscription.filter, subscription.qos)
            if granted == DENIED and session.connection is None:
                subscribing.remove(session, name)

    def kick(self, client_id: str, reason: int, text: str) -> None:
        """Disconnect a client, with `reason` where its version can be told.

        One that has no right to be here any more has none to a will either.
        """
        revoked = reason in (reasons.NOT_AUTHORIZED, reasons.BANNED)
        self._node.kick(client_id, reason, text, self._now(), revoked)

    def forget(self, client_id: str) -> None:
        """End a client's session with its subscriptions and queue, and with it the connection, if any."""
        if client_id not in self._node.sessions:
            self.elsewhere(client_id)
        self._node.forget(client_id, self._now())
