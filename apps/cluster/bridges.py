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


_control: BridgeControl | None = None


def register(control: BridgeControl | None) -> None:
    global _control
    _control = control


def control() -> BridgeControl:
    """`NoBridge` where nobody registered one."""
    if _control is None:
        raise NoBridge("This platform runs without a bridge to Kafka.")
    return _control
