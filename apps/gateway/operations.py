"""What other apps may do with the connections of this node. Call it on the node's loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from apps.gateway.broker import subscribing
from apps.gateway.broker.node import Node
from apps.gateway.broker.ports import Acl, Peer


class NodeOperations:
    def __init__(self, node: Node, now: Callable[[], float]) -> None:
        self._node = node
        self._now = now

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

    def set_acl(self, client_id: str, acl: Acl) -> None:
        """Decide by `acl` from now on; subscriptions that it does not allow end."""
        session = self._node.sessions.get(client_id)
        if session is not None and session.connection is not None:
            subscribing.change_acl(session.connection, acl)

    def kick(self, client_id: str, reason: int, text: str) -> None:
        """Disconnect a client, with `reason` where its version can be told."""
        self._node.kick(client_id, reason, text, self._now())

    def forget(self, client_id: str) -> None:
        """End a client's session with its subscriptions and queue, and with it the connection, if any."""
        self._node.forget(client_id, self._now())
