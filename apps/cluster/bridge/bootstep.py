"""The bridge as a part of a Celery worker: started after it, stopped before it, steered by remote control.

It is a step of the worker's blueprint, not of its consumer's: the consumer starts again whenever Celery's
broker was away, and the bridge has nothing to do with that.
"""

from __future__ import annotations

from typing import Any, ClassVar

from celery import bootsteps
from celery.worker.control import control_command

from apps.cluster.bridge.bridge import Bridge

ACTIONS = ("status", "pause", "resume")


class BridgeStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Runs in workers that are started with --bridge. `build` makes the bridge."""

    requires: ClassVar[Any] = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, bridge: bool = False, **options: Any) -> None:
        self.enabled = bridge
        worker.bridge = None

    def build(self) -> Bridge:
        raise NotImplementedError

    def start(self, worker: Any) -> None:
        worker.bridge = self.build()
        worker.bridge.start()

    def stop(self, worker: Any) -> None:
        if worker.bridge is not None:
            worker.bridge.stop()
            worker.bridge = None

    terminate = stop


@control_command(args=[("action", str), ("node", str)], signature="status|pause|resume [node]")  # type: ignore[untyped-decorator]
def bridge(state: Any, action: str = "status", node: str = "") -> dict[str, Any]:
    """What the bridge does, by node; or pause or resume it for a node, by default for all."""
    if action not in ACTIONS:
        return {"error": f"{action!r}: one of {', '.join(ACTIONS)}"}
    running: Bridge | None = getattr(state.consumer.controller, "bridge", None)
    if running is None:
        return {"error": "no bridge in this worker: it was started without --bridge"}
    if action == "status":
        return {"ok": running.status()}
    paused = running.pause(node) if action == "pause" else running.resume(node)
    return {"ok": f"paused: {', '.join(paused) or 'none'}"}
