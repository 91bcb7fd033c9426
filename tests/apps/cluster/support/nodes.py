"""A node without a network and what apps/cluster has beside it, as wiring joins them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from apps.cluster.directory.recorder import IN_MEMORY, Recorder
from apps.gateway.broker.ports import ConnectRequest, Peer
from apps.gateway.observer import Observers
from apps.gateway.operator.events import RecentEvents
from apps.gateway.operator.operations import NodeOperations
from apps.gateway.operator.tracing import Tracer
from tests.apps.gateway.support.world import World


class NoRecords:
    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None: ...

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None: ...

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None: ...


def inbox_of(world: World, name: str = "test", kept: int = IN_MEMORY, forget_after: float = 0.0) -> Recorder:
    """The world's node tells it everything from now on; nothing is written but by `flush`."""

    def describe() -> dict[str, Any]:
        now = datetime.fromtimestamp(world.now, UTC)
        return {"incarnation": "1", "version": "1.0", "started_at": now, "seen_at": now}

    operations = NodeOperations(world.node, world.clock)
    recorder = Recorder(name, operations, world.clock, describe, kept, forget_after)
    tracer = Tracer(world.node, world.clock, lambda client_id, action, topic: "")
    events = RecentEvents(world.clock)
    world.node.observer = Observers(world.events, NoRecords(), recorder, tracer, events)  # type: ignore[arg-type]
    return recorder
