"""The bridges of the cluster and Kafka, as operators see them.

A node in a cluster provides a `BridgeControl` and a `KafkaLog` (`apps.common.node_services`).
"""

from __future__ import annotations

from typing import Any, Protocol

from apps.common import node_services


class NoBridge(Exception):
    """Messages do not pass through bridges here, or this node has none."""


class BridgeControl(Protocol):
    """Called from threads, never from the event loop. Raises `NoBridge` for a node that has none."""

    def status(self) -> list[dict[str, Any]]:
        """A dict for each bridge: node, state (running, paused, down), lag (records), and what else is known.

        `topics`: a list of {"topic", "partition", "position", "end", "lag"}.
        """

    def pause(self, node: str) -> dict[str, Any]:
        """Stop reading; answers the bridge's status."""

    def resume(self, node: str) -> dict[str, Any]: ...


class KafkaLog(Protocol):
    """Kafka as operators see it. Called from threads, never from the event loop."""

    def overview(self) -> dict[str, Any]:
        """Raises `Silent` while no broker answers.

        `brokers`: {"id", "address", "controller"}; `topics`: {"name", "partitions", "replicas", "in_sync",
        "records"}, the fewest replicas of any partition; `groups`: {"name", "state", "members", "lag",
        "topics": [{"topic", "lag"}]}, all in records.
        """


class Silent(Exception):
    """Kafka does not answer; the text says what its client said."""


def log() -> KafkaLog:
    """`NoBridge` where messages do not pass through Kafka."""
    found = node_services.find(KafkaLog)
    if found is None:
        raise NoBridge("This platform runs without Kafka.")
    return found


def control() -> BridgeControl:
    """`NoBridge` where this process's node is in no cluster."""
    found = node_services.find(BridgeControl)
    if found is None:
        raise NoBridge("This platform runs without a bridge to Kafka.")
    return found
