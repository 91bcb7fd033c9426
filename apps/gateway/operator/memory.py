"""Where the memory of a node is: each cache, map and list, its bound, and what it occupies now.

`PARTS` is the table of docs/architecture.md (a test compares them). Some sizes are counted by who owns the
part, others are a number of things times what one costs. `gmqtt_memory_bytes` and `gmqtt memory` show them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from apps.gateway import process_memory
from apps.gateway.broker.node import Node
from apps.gateway.net.server import MqttServer
from apps.gateway.operator.events import RecentEvents
from apps.gateway.operator.tracing import Tracer

# What one costs in bytes, measured as the growth of the resident memory by some thousands of them (CPython
# 3.11, uvloop; a few hundred more where the core is not compiled).
STREAM: Final = 3900  # a connection over TCP: transport, task, state
TLS: Final = 23_000  # its TLS, beside that
WEBSOCKET: Final = 13_000  # a WebSocket or HTTP connection, beside that
SESSION: Final = 900
DURABLE: Final = 1100  # a session that a store keeps, beside that
TIMER: Final = 130
QUEUED: Final = 500  # a message in a queue, beside what counts against budgets


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    holds: str
    bound: str  # in bytes, or what it is made of
    emptied: str


PARTS: Final = (
    Part("program", "code and settings: all there is when the node begins to listen", "fixed", "never"),
    Part(
        "connections", "state, transport and task of each connection", "`max_connections` x 3.9 KB", "its end"
    ),
    Part("tls", "TLS state of connections", "`max_connections` x 23 KB", "their end"),
    Part(
        "websockets",
        "WebSockets and HTTP connections, beside their MQTT",
        "(`max_connections` + `max_http_connections`) x 13 KB",
        "their end",
    ),
    Part(
        "sessions",
        "sessions, whether connected or not",
        "`max_sessions` x 2 KB; names in `node_bytes`",
        "expiry",
    ),
    Part("subscriptions", "filters and their tree", "`node_bytes`", "UNSUBSCRIBE, the session's end"),
    Part(
        "queues",
        "queued, in flight and unsent messages, wills, aliases",
        "`node_bytes`",
        "acknowledgement, expiry",
    ),
    Part(
        "input",
        "packets that are not complete",
        "`node_bytes`",
        "the rest of the packet, the connection's end",
    ),
    Part("retained", "retained messages and their tree", "`max_retained_bytes`", "an empty payload, expiry"),
    Part("routes", "who gets a topic", "`route_cache` x 3 KB", "emptied when full"),
    Part(
        "grants",
        "what connections may publish to topics",
        "`node_bytes` / 8",
        "the connection's end; emptied when full",
    ),
    Part(
        "timers", "keepalives and dates of sessions", "(`max_connections` + 2 x `max_sessions`) x 130", "time"
    ),
    Part("events", "what happened to clients lately", "8 MiB", "those not heard of for longest go"),
    Part("traces", "traces of operators", "16 x 8 MiB", "an operator, the trace's end"),
    Part("rates", "topics whose rates are looked at", "10,000 x 1.2 KB", "10 s after the last look"),
    Part(
        "auth", "facts and answers about clients", "128 MiB", "`auth.cache_ttl`, `auth.cache_grace`, changes"
    ),
    Part(
        "guard", "attempts by client and address", "5 x 100,000 x 400", "`auth.guard.window`; the oldest go"
    ),
    Part("refusals", "refusals not written yet", "10,000 x 2 KB", "the database, once a second"),
    Part(
        "directory", "changed sessions not written yet", "32 MiB, drops 1 MiB", "the database, once a second"
    ),
    Part("dashboard", "samples of the last five minutes", "300 x 2 KB", "time"),
    Part(
        "store",
        "what waits for the file of sessions, and its pages",
        "64 MiB + 16 MiB",
        "the next transaction",
    ),
    Part(
        "cluster",
        "other nodes' filters, epochs of client ids",
        "what the nodes' own bounds allow",
        "UNSUBSCRIBE",
    ),
    Part("bus", "records that wait for Kafka", "`broker.kafka.buffer_bytes`", "Kafka's answer"),
    Part("unused", "freed, and kept by the C library", "given back every 10 s above 16 MiB", "`malloc_trim`"),
)
NAMES: Final = tuple(part.name for part in PARTS)


class InCluster(Protocol):
    """What a cluster adds to a node."""

    def memory(self) -> int:
        """Bytes of what is known of other nodes and of client ids."""

    def waiting(self) -> int:
        """Bytes of records that wait for Kafka."""


class MemoryParts:
    """The sizes of one process. `reads` adds a reader; several of one part are added up."""

    def __init__(self) -> None:
        self._readers: dict[str, list[Callable[[], int]]] = {name: [] for name in NAMES}
        self.program = 0

    def reads(self, name: str, read: Callable[[], int]) -> None:
        """`read` answers bytes, in microseconds, on the node's loop."""
        self._readers[name].append(read)

    def started(self) -> None:
        """The node begins to listen: what it occupies now is the program."""
        self.program = process_memory.rss()
        self.reads("program", lambda: self.program)

    def sizes(self) -> dict[str, int]:
        """Bytes by part; those that this process has none of are left out."""
        return {name: sum(read() for read in readers) for name, readers in self._readers.items() if readers}

    def handlers(self) -> dict[str, Callable[..., Any]]:
        return {"memory": self.answer}

    def answer(self) -> dict[str, Any]:
        """{"rss": bytes, "parts": [{"part", "bytes", "bound", "holds"}]}, the largest first."""
        sizes = self.sizes()
        parts = [
            {"part": part.name, "bytes": sizes[part.name], "bound": part.bound, "holds": part.holds}
            for part in PARTS
            if part.name in sizes
        ]
        return {
            "rss": process_memory.rss(),
            "parts": sorted(parts, key=lambda part: -int(str(part["bytes"]))),
        }


def of_servers(parts: MemoryParts, server: MqttServer, web: Callable[[], tuple[int, int]]) -> None:
    """`web` answers how many HTTP and WebSocket connections there are, and how many of them have TLS."""
    parts.reads("connections", lambda: STREAM * server.count)
    parts.reads("tls", lambda: TLS * (server.secure + web()[1]))
    parts.reads("websockets", lambda: (STREAM + WEBSOCKET) * web()[0])


def of_operators(parts: MemoryParts, tracer: Tracer, events: RecentEvents) -> None:
    parts.reads("events", lambda: events.bytes)
    parts.reads("traces", lambda: tracer.size)
    parts.reads("rates", lambda: tracer.rates.bytes)


def of_cluster(parts: MemoryParts, cluster: InCluster) -> None:
    parts.reads("cluster", cluster.memory)
    parts.reads("bus", cluster.waiting)


def of_node(parts: MemoryParts, node: Node) -> None:
    """The parts that the broker owns."""
    stats = node.stats
    parts.reads("sessions", lambda: SESSION * len(node.sessions))
    if node.store is None:  # else queues are on disk but for their heads
        parts.reads("queues", lambda: QUEUED * stats.queued)
    else:
        store = node.store
        parts.reads("store", lambda: store.memory)
        parts.reads("sessions", lambda: DURABLE * (len(node.sessions) - stats.connections))
    parts.reads("subscriptions", lambda: node.router.trie.bytes)
    # Subscriptions and routes are counted in `held`, too, and are parts of their own.
    router = node.router
    parts.reads("queues", lambda: max(stats.held - router.trie.bytes - router.charged, 0))
    parts.reads("input", lambda: stats.inbound)
    parts.reads("retained", lambda: node.retained.bytes)
    parts.reads("routes", lambda: node.router.memory)
    parts.reads("grants", lambda: stats.granted)
    parts.reads("timers", lambda: TIMER * len(node.timers))
