"""The bridge as a part of a Celery worker: started after it, stopped before it, steered by remote control.

It is a step of the worker's blueprint, not of its consumer's: the consumer starts again whenever Celery's
broker was away, and the bridge has nothing to do with that.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from celery import bootsteps
from celery.worker.control import Panel, control_command

from apps.cluster.bridge.bridge import Bridge
from apps.cluster.bridge.control import ANSWER, ASK
from apps.common import signed

SAFE: Final = frozenset(("bridge", "ping"))
_questions: Final = signed.Reader(ASK)


class BridgeStep(bootsteps.StartStopStep):
    """Runs in workers that are started with --bridge. `build` makes the bridge."""

    requires: ClassVar[Any] = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, bridge: bool = False, **options: Any) -> None:
        self.enabled = bridge
        worker.bridge = None

    def build(self) -> Bridge:
        raise NotImplementedError

    def start(self, worker: Any) -> None:
        forget_unsigned()
        worker.bridge = self.build()
        worker.bridge.start()

    def stop(self, worker: Any) -> None:
        if worker.bridge is not None:
            worker.bridge.stop()
            worker.bridge = None

    terminate = stop


@control_command(args=[("body", str)], signature="[signed question]")  # type: ignore[untyped-decorator]
def bridge(state: Any, body: str = "") -> dict[str, Any]:
    """What the bridge does, by node; or pause or resume it for a node, by default for all.

    `body` is a question of `control.CeleryBridges`, signed as the answer is.
    """
    question = _questions.open(body)
    if question is None:
        return {"error": "the question is not signed by one of our processes, or not fresh"}
    return {"body": signed.sign(ANSWER, {"token": question["token"], **_answer(state, question)})}


def _answer(state: Any, question: dict[str, Any]) -> dict[str, Any]:
    action, node = question["action"], question["node"]
    running: Bridge | None = getattr(state.consumer.controller, "bridge", None)
    if running is None:
        return {"ok": None, "error": "no bridge in this worker: it was started without --bridge"}
    if action == "status":
        return {"ok": running.status()}
    paused = running.pause(node) if action == "pause" else running.resume(node)
    return {"ok": f"paused: {', '.join(paused) or 'none'}"}


def forget_unsigned() -> None:
    """Celery's own remote control is not signed (`shutdown`, `revoke`, `rate_limit` ...): none is left but
    the harmless `ping`."""
    for name in set(Panel.data) - SAFE:
        del Panel.data[name]
