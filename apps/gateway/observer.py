"""The observer that writes what operators ask about to the log. Payloads and secrets never come here."""

from __future__ import annotations

import logging

from apps.gateway.broker.ports import ConnectRequest, Peer
from apps.gateway.mqtt import reasons

logger = logging.getLogger("gmqtt.clients")


class LogObserver:
    """Connections at debug, refusals and denials at info; drops are counted, not logged one by one."""

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "client %r connected from %s:%d (%s)", client_id, peer.address, peer.port, peer.transport
            )

    def disconnected(self, client_id: str, reason: int, text: str) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("client %r disconnected: %s", client_id, text or reasons.name(reason))

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None:
        logger.info("client %r from %s refused: %s", request.client_id, request.peer.address, text)

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None:
        logger.info("client %r may not %s %r", client_id, action, topic)

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None:
        return
