"""Draining and traces of this node, for operators: JSON in, JSON out, called on the node's loop."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final

from apps.gateway.broker.node import Node
from apps.gateway.operator.sessions import CommandRefused
from apps.gateway.operator.tracing import Trace, TraceError, Tracer

MAX_READ: Final = 200  # entries of a trace in one answer
ROOM: Final = 49_152  # bytes of them, roughly


class MaintenanceHandlers:
    def __init__(
        self, node: Node, tracer: Tracer, now: Callable[[], float], rate: int, reference: str
    ) -> None:
        """`rate` (clients per second) and `reference` (another server) are what draining does by default."""
        self._node = node
        self._tracer = tracer
        self._now = now
        self.rate = rate
        self.reference = reference

    def handlers(self) -> dict[str, Callable[..., Any]]:
        return {
            "drain": self.drain,
            "cancel_drain": self.cancel_drain,
            "drain_progress": self.drain_progress,
            "trace_start": self.trace_start,
            "trace_stop": self.trace_stop,
            "trace_forget": self.trace_forget,
            "traces": self.traces,
            "trace_read": self.trace_read,
        }

    def drain(self, rate: int = 0, reference: str = "") -> dict[str, Any]:
        """Let nobody in any more, and send those who are connected away; `rate` 0 and "": the configured."""
        if self._node.drain is None:
            now = self._now()
            self._node.start_drain(rate or self.rate, reference or self.reference, now)
        return self.drain_progress()

    def cancel_drain(self) -> dict[str, Any]:
        self._node.drain = None
        return self.drain_progress()

    def drain_progress(self) -> dict[str, Any]:
        drain = self._node.drain
        connected = self._node.stats.connections
        if drain is None:
            return {"draining": False, "connected": connected}
        return {
            "draining": True,
            "connected": connected,
            "at_start": drain.total,
            "disconnected": drain.gone,
            "rate": drain.rate,
            "started": drain.started,
        }

    def trace_start(
        self, id: str, kind: str, value: str, seconds: float, max_bytes: int, payloads: bool = False
    ) -> dict[str, Any]:
        try:
            self._tracer.start(Trace(id, kind, value, self._now() + seconds, max_bytes, payloads))
        except TraceError as error:
            raise CommandRefused("bad_trace", str(error)) from None
        return {}

    def trace_stop(self, id: str) -> dict[str, Any]:
        return {"stopped": self._tracer.stop(id)}

    def trace_forget(self, id: str) -> dict[str, Any]:
        self._tracer.forget(id)
        return {}

    def traces(self) -> dict[str, Any]:
        return {"traces": [trace.summary() for trace in self._tracer.all()]}

    def trace_read(self, id: str, after: int = 0) -> dict[str, Any]:
        """The entries behind the first `after`, as many as fit; `next` is what to ask for then."""
        trace = self._tracer.get(id)
        if trace is None:
            raise CommandRefused("not_found", "This node has no such trace.")
        entries: list[dict[str, Any]] = []
        size = 0
        for entry in trace.entries[after : after + MAX_READ]:
            shown = {name: _plain(value) for name, value in entry.items()}
            size += len(str(shown))
            if size > ROOM and entries:
                break
            entries.append(shown)
        return {**trace.summary(), "read": entries, "next": after + len(entries)}


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
