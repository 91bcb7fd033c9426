"""The bridges of the cluster, as operators see them. Who runs bridges registers its `BridgeControl`."""

from __future__ import annotations

from typing import Any, Protocol


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


class Log(Protocol):
    """Kafka as operators see it. Called from threads, never from the event loop."""

    def overview(self) -> dict[str, Any]:
        """Raises `Silent` while no broker answers.

        `brokers`: {"id", "address", "controller"}; `topics`: {"name", "partitions", "replicas", "in_sync",
        "records"}, the fewest replicas of any partition; `groups`: {"name", "state", "members", "lag",
        "topics": [{"topic", "lag"}]}, all in records.
        """


class Silent(Exception):
    """Kafka does not answer; the text says what its client said."""


_control: BridgeControl | None = None
_log: Log | None = None


def register(control: BridgeControl | None, log: Log | None = None) -> None:
    global _control, _log
    _control, _log = control, log


def log() -> Log:
    """`NoBridge` where messages do not pass through Kafka."""
    if _log is None:
        raise NoBridge("This platform runs without Kafka.")
    return _log


def control() -> BridgeControl:
    """`NoBridge` where nobody registered one."""
    if _control is None:
        raise NoBridge("This platform runs without a bridge to Kafka.")
    return _control
