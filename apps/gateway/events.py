"""What happened to each client lately, for its page in the console. In memory, and bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Final

from apps.gateway.broker.ports import ConnectRequest, Peer
from apps.gateway.mqtt import reasons

MOST_BYTES: Final = 8_388_608
OF_CLIENT: Final = 20  # events of one client
TEXT: Final = 256  # characters
EVENT: Final = 300  # bytes that an event costs beside its text
CLIENT: Final = 400  # bytes that a client costs beside its events and its id

Event = tuple[float, str, str]  # UNIX seconds, what, text


class RecentEvents:
    """An observer of the node. When it has no room, those of whom nothing was heard for longest go."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._of: OrderedDict[str, deque[Event]] = OrderedDict()
        self.bytes = 0

    def handlers(self) -> dict[str, Callable[..., Any]]:
        return {"events": self.of}

    def of(self, client_id: str) -> dict[str, Any]:
        """{"events": [{"at": UNIX seconds, "event": ..., "text": ...}]}, the latest first."""
        events = self._of.get(client_id, ())
        return {"events": [{"at": at, "event": name, "text": text} for at, name, text in reversed(events)]}

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None:
        self._add(client_id, "connected", f"{peer.address}:{peer.port} ({peer.transport})")

    def disconnected(self, client_id: str, reason: int, text: str) -> None:
        self._add(client_id, "disconnected", text or reasons.name(reason))

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None:
        self._add(request.client_id, "refused", f"{request.peer.address}: {text or reasons.name(reason)}")

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None:
        self._add(client_id, "denied", f"{action} {topic}")

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None:
        """Drops come by the thousand: the last of one kind in a row says it for all."""
        events = self._of.get(client_id)
        text = f"{reason} {topic}"[:TEXT]
        if events and events[-1][1:] == ("dropped", text):
            events[-1] = (self._now(), "dropped", text)
        elif client_id:
            self._add(client_id, "dropped", text)

    def _add(self, client_id: str, event: str, text: str) -> None:
        if not client_id:
            return
        events = self._of.get(client_id)
        if events is None:
            events = self._of[client_id] = deque()
            self.bytes += CLIENT + 4 * len(client_id)
        else:
            self._of.move_to_end(client_id)
            if len(events) >= OF_CLIENT:
                self.bytes -= EVENT + 4 * len(events.popleft()[2])
        text = text[:TEXT]
        events.append((self._now(), event, text))
        self.bytes += EVENT + 4 * len(text)
        while self.bytes > MOST_BYTES and self._of:
            gone, its = self._of.popitem(last=False)
            self.bytes -= CLIENT + 4 * len(gone) + sum(EVENT + 4 * len(each[2]) for each in its)
