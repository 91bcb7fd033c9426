"""Pause, resume and ask bridges by Celery's remote control: an `operators.BridgeControl`."""

from __future__ import annotations

import secrets
from typing import Any, Final

from apps.cluster.bridge.operators import NoBridge
from apps.common import signed

ASK: Final = "bridge question"
ANSWER: Final = "bridge answer"
WAIT: Final = 1.0  # seconds for the answers of all workers


class CeleryBridges:
    """`app` is the Celery application. From threads: each call waits for the workers."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._answers = signed.Reader(ANSWER)

    def status(self) -> list[dict[str, Any]]:
        return self._ask("status", "")

    def pause(self, node: str) -> dict[str, Any]:
        return self._steer("pause", node)

    def resume(self, node: str) -> dict[str, Any]:
        return self._steer("resume", node)

    def _steer(self, action: str, node: str) -> dict[str, Any]:
        if not any(each["node"] == node for each in self.status()):
            raise NoBridge(f"No bridge serves {node}.")
        self._ask(action, node)
        return next(
            (each for each in self.status() if each["node"] == node),
            {"node": node, "state": "down", "lag": None},
        )

    def _ask(self, action: str, node: str) -> list[dict[str, Any]]:
        """Of every node that a bridge serves."""
        question = {"action": action, "node": node, "token": secrets.token_hex(12)}
        arguments = {"body": signed.sign(ASK, question)}
        answers = self._app.control.broadcast("bridge", arguments=arguments, reply=True, timeout=WAIT) or []
        found: list[dict[str, Any]] = []
        for answer in answers:
            for worker, body in answer.items():
                said = self._answers.open(body.get("body") if isinstance(body, dict) else None)
                if said is not None and said["token"] == question["token"] and isinstance(said["ok"], dict):
                    found += [_shown(worker, name, status) for name, status in said["ok"].items()]
        return sorted(found, key=lambda each: str(each["node"]))


def _shown(worker: str, node: str, status: dict[str, Any]) -> dict[str, Any]:
    state = "paused" if status["state"] == "paused" else "running"
    return {**status, "node": node, "state": state, "detail": status["state"], "worker": worker}
