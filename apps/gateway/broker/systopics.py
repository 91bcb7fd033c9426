"""`$SYS/broker/...`: the node's figures as retained messages, under the names mosquitto's users know.

Clients publish there in one case: a mosquitto bridge says at `$SYS/broker/connection/<its client id>/state`,
by will and by a retained message, whether it is connected.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from apps.gateway.broker.messages import Message

if TYPE_CHECKING:
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.stats import Stats


# Minutes of mosquitto's load averages -> seconds.
_SPANS: Final = (("1min", 60.0), ("5min", 300.0), ("15min", 900.0))
BRIDGES: Final = "$SYS/broker/connection/"
_STATES: Final = (b"0", b"1", b"")


def is_bridge_state(topic: str, client_id: str) -> bool:
    """Is it where this client may say whether it, as a bridge, is connected?"""
    return topic.startswith(BRIDGES) and topic == f"{BRIDGES}{client_id}/state"


def may_be_retained(topic: str, payload: bytes) -> bool:
    """Below $SYS a client has a state retained, and no other data."""
    return not topic.startswith(BRIDGES) or payload in _STATES


class Loads:
    """mosquitto's `load/...`: exponentially weighted averages of what happened a minute."""

    def __init__(self, stats: Stats) -> None:
        self._at = stats.started
        self._counts = _counted(stats)
        self._loads = {f"{name}/{span}": 0.0 for name in self._counts for span, _ in _SPANS}

    def update(self, stats: Stats, now: float) -> dict[str, str]:
        """Topic below `$SYS/broker/load/` -> payload."""
        elapsed = now - self._at
        if elapsed > 0.0:
            counts = _counted(stats)
            for name, count in counts.items():
                a_minute = (count - self._counts[name]) * 60.0 / elapsed
                for span, seconds in _SPANS:
                    topic = f"{name}/{span}"
                    before = self._loads[topic]
                    self._loads[topic] = a_minute + math.exp(-elapsed / seconds) * (before - a_minute)
            self._at, self._counts = now, counts
        return {topic: f"{load:.2f}" for topic, load in self._loads.items()}


def _counted(stats: Stats) -> dict[str, int]:
    attempts = stats.connects + sum(stats.refused.values())
    return {
        "messages/received": stats.packets_in,
        "messages/sent": stats.packets_out,
        "publish/received": stats.publishes_in,
        "publish/sent": stats.publishes_out,
        "publish/dropped": sum(stats.drops.values()),
        "bytes/received": stats.bytes_in,
        "bytes/sent": stats.bytes_out,
        "sockets": attempts,
        "connections": attempts,
    }


def values(node: Node, now: float) -> dict[str, str]:
    """Topic below `$SYS/broker/` -> payload."""
    stats = node.stats
    sessions = len(node.sessions)
    stored = len(node.retained) + stats.queued
    return {
        "version": f"gmqtt platform {node.version}",
        "uptime": f"{int(now - stats.started)} seconds",
        "clients/total": str(sessions),
        "clients/connected": str(stats.connections),
        "clients/active": str(stats.connections),
        "clients/disconnected": str(sessions - stats.connections),
        "clients/inactive": str(sessions - stats.connections),
        "clients/maximum": str(stats.max_connections),
        "clients/expired": str(stats.sessions_expired),
        "messages/received": str(stats.packets_in),
        "messages/sent": str(stats.packets_out),
        "messages/stored": str(stored),
        "store/messages/count": str(stored),
        "store/messages/bytes": str(node.retained.bytes + stats.held),
        "publish/messages/received": str(stats.publishes_in),
        "publish/messages/sent": str(stats.publishes_out),
        "publish/messages/dropped": str(sum(stats.drops.values())),
        "publish/bytes/received": str(stats.publish_bytes_in),
        "publish/bytes/sent": str(stats.publish_bytes_out),
        "bytes/received": str(stats.bytes_in),
        "bytes/sent": str(stats.bytes_out),
        "subscriptions/count": str(node.router.trie.count),
        "shared_subscriptions/count": str(node.router.trie.shared_count),
        "retained messages/count": str(len(node.retained)),
    }


def publish(node: Node, now: float) -> None:
    """Publish what has changed since the last time."""
    loads = node.loads.update(node.stats, now)
    found = values(node, now) | {f"load/{name}": value for name, value in loads.items()}
    for name, value in found.items():
        topic = f"$SYS/broker/{name}"
        payload = value.encode()
        last = node.retained.get(topic)
        if last is None or last.payload != payload:
            node.publish(Message(topic, payload, 0, True))
