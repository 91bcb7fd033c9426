"""A node without a network and what apps/cluster has beside it, as wiring joins them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from apps.cluster.inbox import IN_MEMORY, Inbox
from apps.gateway.broker.ports import ConnectRequest, Peer
from apps.gateway.events import RecentEvents
from apps.gateway.observer import Observers
from apps.gateway.operations import NodeOperations
from apps.gateway.tracing import Tracer
from tests.apps.gateway.support.world import World


class NoRecords:
    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None: ...

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None: ...

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None: ...


def inbox_of(world: World, name: str = "test", kept: int = IN_MEMORY) -> Inbox:
    """The world's node tells it everything from now on; nothing is written but by `flush`."""

    def describe() -> dict[str, Any]:
        now = datetime.fromtimestamp(world.now, UTC)
        return {"life": "1", "version": "1.0", "started_at": now, "seen_at": now}

    inbox = Inbox(name, NodeOperations(world.node, world.clock), world.clock, describe, kept)
    tracer = Tracer(world.node, world.clock, lambda client_id, action, topic: "")
    events = RecentEvents(world.clock)
    world.node.observer = Observers(world.events, NoRecords(), inbox, tracer, events)  # type: ignore[arg-type]
    return inbox
