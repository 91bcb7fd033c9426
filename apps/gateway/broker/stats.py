"""Counters of one node. Plain integers that only grow, except the gauges named so."""

from __future__ import annotations

from typing import Final

from apps.gateway.broker.histogram import Histogram

# Why a message to a subscriber was dropped: the keys of `Stats.drops`.
DROP_SLOW: Final = "slow_subscriber"  # QoS 0, the client does not read fast enough
DROP_QUEUE: Final = "queue_full"  # QoS 1 or 2, the client's queue is at its limit
DROP_NODE: Final = "node_memory"  # the node's byte budget is used up
DROP_EXPIRED: Final = "expired"
DROP_TOO_LARGE: Final = "packet_too_large"  # larger than the client's maximum packet size
DROP_DENIED: Final = "denied"  # its publisher may not publish it
DROP_REVOKED: Final = "revoked"  # it waited, and its subscriber may no longer have it
DROP_RETAINED: Final = "retained_full"
DROP_SESSION: Final = "session_ended"  # queued when its session ended
DROP_CLUSTER: Final = "cluster_full"  # QoS 0 for other nodes: what waits for Kafka is at its limit
DROP_NO_MEMBER: Final = "no_share_member"  # nobody in the shared subscription can take it
DROP_PURGED: Final = "purged"  # an operator emptied the queue
DROP_REASONS: Final = (
    DROP_SLOW,
    DROP_QUEUE,
    DROP_NODE,
    DROP_EXPIRED,
    DROP_TOO_LARGE,
    DROP_DENIED,
    DROP_REVOKED,
    DROP_RETAINED,
    DROP_SESSION,
    DROP_CLUSTER,
    DROP_NO_MEMBER,
    DROP_PURGED,
)


class Stats:
    __slots__ = (
        "ack_seconds",
        "bytes_in",
        "bytes_out",
        "connect_seconds",
        "connections",
        "connects",
        "disconnects",
        "drops",
        "held",
        "inbound",
        "max_connections",
        "packets_in",
        "packets_out",
        "publish_bytes_in",
        "publish_bytes_out",
        "publishes_in",
        "publishes_out",
        "queued",
        "refused",
        "sessions_expired",
        "started",
    )

    def __init__(self, now: float) -> None:
        self.started = now  # UNIX seconds
        self.connections = 0  # gauge: accepted by CONNACK and not yet gone
        self.max_connections = 0
        self.connects = 0
        self.disconnects = 0
        self.refused: dict[int, int] = {}  # reason code -> CONNECTs and connections refused
        self.sessions_expired = 0
        self.packets_in = 0
        self.packets_out = 0
        self.publishes_in = 0
        self.publishes_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.publish_bytes_in = 0  # payloads
        self.publish_bytes_out = 0
        self.drops: dict[str, int] = dict.fromkeys(DROP_REASONS, 0)
        self.held = 0  # gauge: bytes in queues, in flight and unsent
        self.queued = 0  # gauge: messages in sessions' queues
        self.inbound = 0  # gauge: bytes of packets that are not complete yet
        self.connect_seconds = Histogram()  # from a CONNECT that was read to its answer
        self.ack_seconds = Histogram()  # of loop turns whose acknowledgements wait until they are durable

    def refuse(self, reason: int) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
