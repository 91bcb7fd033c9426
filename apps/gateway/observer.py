"""The observer that writes what operators ask about to the log. Payloads and secrets never come here."""

from __future__ import annotations

import logging
from typing import Protocol

from apps.gateway.broker.ports import ConnectRequest, Peer
from apps.gateway.mqtt import reasons
from apps.gateway.operator.events import RecentEvents
from apps.gateway.operator.tracing import Tracer

logger = logging.getLogger("gmqtt.clients")


class Records(Protocol):
    """What is kept for operators."""

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None: ...

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None: ...

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None: ...


class Directory(Protocol):
    """What is kept of sessions."""

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None: ...

    def disconnected(self, client_id: str, reason: int, text: str) -> None: ...

    def changed(self, client_id: str) -> None: ...

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None: ...


class LogObserver:
    """Connections at debug, refusals and denials at info; drops are counted, not logged one by one."""

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            where = (client_id, peer.address, peer.port, peer.transport)
            logger.debug("client %r connected from %s:%d (%s)", *where, extra={"client_id": client_id})

    def disconnected(self, client_id: str, reason: int, text: str) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            extra = {"client_id": client_id, "reason_code": reason}
            logger.debug("client %r disconnected: %s", client_id, text or reasons.name(reason), extra=extra)

    def changed(self, client_id: str) -> None:
        return

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None:
        client_id, address = request.client_id, request.peer.address
        extra = {"client_id": client_id, "address": address, "reason_code": reason}
        logger.info("client %r from %s refused: %s", client_id, address, text, extra=extra)

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None:
        extra = {"client_id": client_id, "action": action, "topic": topic}
        logger.info("client %r may not %s %r", client_id, action, topic, extra=extra)

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None:
        return


class Observers:
    """The log; `records`: who came, who was turned away; `directory`: who is there; traces; `events`."""

    def __init__(
        self, log: LogObserver, records: Records, directory: Directory, tracer: Tracer, events: RecentEvents
    ) -> None:
        self._log = log
        self._tracer = tracer
        self._events = events
        self._records = records
        self._directory = directory

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None:
        self._log.connected(client_id, username, peer, level)
        self._records.connected(client_id, username, peer, level)
        self._directory.connected(client_id, username, peer, level)
        self._tracer.connected(client_id, username, peer, level)
        self._events.connected(client_id, username, peer, level)

    def disconnected(self, client_id: str, reason: int, text: str) -> None:
        self._log.disconnected(client_id, reason, text)
        self._directory.disconnected(client_id, reason, text)
        self._tracer.disconnected(client_id, reason, text)
        self._events.disconnected(client_id, reason, text)

    def changed(self, client_id: str) -> None:
        self._log.changed(client_id)
        self._directory.changed(client_id)

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None:
        self._log.refused(request, reason, text)
        self._records.refused(request, reason, text)
        self._tracer.refused(request, reason, text)
        self._events.refused(request, reason, text)

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None:
        self._log.denied(client_id, username, peer, action, topic)
        self._records.denied(client_id, username, peer, action, topic)
        self._tracer.denied(client_id, username, peer, action, topic)
        self._events.denied(client_id, username, peer, action, topic)

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None:
        self._log.dropped(client_id, reason, topic, count)
        self._directory.dropped(client_id, reason, topic, count)
        self._tracer.dropped(client_id, reason, topic, count)
        self._events.dropped(client_id, reason, topic, count)
