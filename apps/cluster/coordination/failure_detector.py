"""The failure detector: which nodes are alive, judged by heartbeats. Time is an argument; no I/O.

A node counts its heartbeats. An observer looks at the counts and notes, by its own clock, when each changed
last: so clocks that differ, or that somebody sets, decide nothing. An observer that has not looked for a
while (Redis was away, the process was stopped) has seen no heartbeats, and begins anew with all nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a node last said."""

    incarnation: str  # another one each time that the node joins
    count: int


@dataclass(slots=True)
class _Seen:
    heartbeat: Heartbeat
    since: float


class FailureDetector:
    def __init__(self, own: str, dead_after: float, blink: float) -> None:
        """`own`: this node's name. `blink`: seconds between two looks that are not yet a gap."""
        self._own = own
        self._dead_after = dead_after
        self._blink = blink
        self._seen: dict[str, _Seen] = {}
        self._looked: float | None = None

    def look(self, now: float, heartbeats: Mapping[str, Heartbeat]) -> dict[str, Heartbeat]:
        """Take in all nodes' last heartbeats at `now` (seconds, never going back); answers those of the dead.

        `dead_after` is counted from when a heartbeat was first seen, so nodes send them far more often.
        """
        gap = self._looked is None or now - self._looked > self._blink
        self._looked = now
        dead: dict[str, Heartbeat] = {}
        seen: dict[str, _Seen] = {}
        for name, heartbeat in heartbeats.items():
            known = self._seen.get(name)
            if gap or known is None or known.heartbeat != heartbeat:
                known = _Seen(heartbeat, now)
            seen[name] = known
            if name != self._own and now - known.since >= self._dead_after:
                dead[name] = heartbeat
        self._seen = seen
        return dead
