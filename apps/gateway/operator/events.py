"""What happened to each client lately, for its page in the console. In memory, and bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from apps.gateway.broker.ports import ConnectRequest, Peer
from apps.gateway.mqtt import reasons

MAX_BYTES: Final = 8_388_608
OF_CLIENT: Final = 20  # events of one client
TEXT: Final = 256  # characters
EVENT: Final = 150  # bytes that an event costs beside its text
CLIENT: Final = 250  # bytes that a client costs beside its events and its id

# UNIX seconds, what, and a text or the peer; one after the other, as most clients have one event only and
# there may be very many clients.
Events = tuple[Any, ...]


class RecentEvents:
    """An observer of the node. When it has no room, those of whom nothing was heard for longest go."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._of: dict[str, Events] = {}  # who was heard of last stands last
        self.bytes = 0

    def handlers(self) -> dict[str, Callable[..., Any]]:
        return {"events": self.of}

    def of(self, client_id: str) -> dict[str, Any]:
        """{"events": [{"at": UNIX seconds, "event": ..., "text": ...}]}, the latest first."""
        events = self._of.get(client_id, ())
        found = zip(events[::3], events[1::3], events[2::3], strict=True)
        return {"events": [{"at": at, "event": name, "text": _said(what)} for at, name, what in found][::-1]}

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None:
        self._add(client_id, "connected", peer)

    def disconnected(self, client_id: str, reason: int, text: str) -> None:
        self._add(client_id, "disconnected", text or reasons.name(reason))

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None:
        self._add(request.client_id, "refused", f"{request.peer.address}: {text or reasons.name(reason)}")

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None:
        self._add(client_id, "denied", f"{action} {topic}")

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None:
        """Drops come by the thousand: the first of one kind in a row says it for all."""
        text = f"{reason} {topic}"[:TEXT]
        if client_id and self._of.get(client_id, ())[-2:] != ("dropped", text):
            self._add(client_id, "dropped", text)

    def _add(self, client_id: str, event: str, what: str | Peer) -> None:
        if not client_id:
            return
        events = self._of.pop(client_id, None)
        if events is None:
            events = ()
            self.bytes += CLIENT + 4 * len(client_id)
        elif len(events) >= 3 * OF_CLIENT:
            self.bytes -= _size(events[2])
            events = events[3:]
        if isinstance(what, str):
            what = what[:TEXT]
        self._of[client_id] = (*events, self._now(), event, what)
        self.bytes += _size(what)
        while self.bytes > MAX_BYTES and self._of:
            gone = next(iter(self._of))
            its = self._of.pop(gone)
            self.bytes -= CLIENT + 4 * len(gone) + sum(map(_size, its[2::3]))


def _said(what: str | Peer) -> str:
    return what if isinstance(what, str) else f"{what.address}:{what.port} ({what.transport})"


def _size(what: str | Peer) -> int:
    return EVENT + (4 * len(what) if isinstance(what, str) else 200)
