"""What a cluster does with this node: takes clients away, brings retained messages. Call it on its loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import cast

from apps.gateway.broker import closing, ports
from apps.gateway.broker.completion import ReasonCallback
from apps.gateway.broker.messages import Message
from apps.gateway.broker.node import Node
from apps.gateway.broker.ports import ClusterStore
from apps.gateway.broker.states import CONNECTED
from apps.gateway.broker.stats import DROP_DENIED
from apps.gateway.mqtt import reasons, topics

logger = logging.getLogger(__name__)

TAKEN_OVER = "another connection has taken over this client identifier"


class ClusterView:
    def __init__(self, node: Node, now: Callable[[], float]) -> None:
        self._node = node
        self._now = now
        # What a client, known by its id alone, may publish to a topic now; None: nobody to ask.
        self.will_grant: Callable[[str, str], Awaitable[int]] | None = None

    def now(self) -> float:
        """UNIX seconds by this machine's clock."""
        return self._now()

    def rouse(self) -> None:
        """Forget what routes say of topics that other nodes want: any of them may have changed."""
        self._node.bus_changed(None)

    def changed(self, filter: str) -> None:
        """Other nodes want the topics that `filter` matches, or no longer do."""
        self._node.bus_changed(filter)

    # Sessions -------------------------------------------------------------------------------------

    def client_ids(self) -> list[str]:
        """Of every session, as of the call."""
        return list(self._node.sessions)

    def has(self, client_id: str) -> bool:
        return client_id in self._node.sessions

    def will(self, client_id: str) -> tuple[Message, int, float] | None:
        """A session's will, its delay in seconds, and when it is due in UNIX seconds (0.0: after a death).

        The expiry of the message is a lifetime.
        """
        session = self._node.sessions.get(client_id)
        if session is None:
            return None
        connection = session.connection
        if connection is not None:
            delay = min(connection.will_delay, session.expiry_interval)
            return (connection.will, delay, 0.0) if connection.will is not None else None
        return (session.will, 0, session.will_at) if session.will is not None else None

    def evict(self, client_id: str, resumed: bool) -> None:
        """The client has connected to another node; `resumed`: to go on with its session."""
        node = self._node
        session = node.sessions.get(client_id)
        if session is None:
            return
        if session.connection is not None:
            closing.close(session.connection, reasons.SESSION_TAKEN_OVER, TAKEN_OVER, self._now())
        if node.sessions.get(client_id) is not session:
            return
        if resumed and session.will is not None:  # it is back in time [MQTT-3.1.3-9]
            node.uncount_bytes(session.will.size)
            session.will = None
        durable = session.durable
        if durable is None or not durable.remote:
            node.end_session(session, self._now())
            return
        if session.will is not None:  # its session is over there
            will, session.will = session.will, None
            node.publish_will(will, self._now(), session.will_acl)
        cast("ClusterStore", node.store).park(durable, True)

    def expel(self, client_id: str, reason: int, text: str) -> Message | None:
        """Disconnect a client without publishing its will, which is answered."""
        node = self._node
        session = node.sessions.get(client_id)
        connection = session.connection if session is not None else None
        if connection is None or connection.state != CONNECTED:
            return None
        will = connection.will
        if will is not None:
            connection.will = None
            node.uncount_bytes(will.size)
        closing.close(connection, reason, text, self._now())
        return will

    # Messages -------------------------------------------------------------------------------------

    async def publish_wills(self, wills: list[Message]) -> int:
        """As `publish`, of those that their clients may still publish."""
        ask = self.will_grant
        if ask is not None:
            try:
                grants = await asyncio.gather(*(ask(will.origin, will.topic) for will in wills))
            except Exception:  # nobody can tell now
                logger.debug("wills of a failed node wait", exc_info=True)
                return reasons.SERVER_UNAVAILABLE
            allowed = [ports.granted(will, grant) for will, grant in zip(wills, grants, strict=True)]
            for will, may in zip(wills, allowed, strict=True):
                if not may:
                    self._node.dropped(will.origin, DROP_DENIED, will.topic, 1)
            wills = [will for will, may in zip(wills, allowed, strict=True) if may]
        return await self.publish(wills) if wills else 0

    async def publish(self, messages: list[Message]) -> int:
        """Publish for the node itself; 0 as soon as they cannot be lost any more, or the reason why not."""
        node = self._node
        node.now = self._now()  # what expires counts from here
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        ReasonCallback(node.completion(), lambda reason: None if told.done() else told.set_result(reason))
        for message in messages:
            node.publish(message)
        return await told

    def show(self, topic: str, value: str) -> None:
        """Retain a figure below $SYS on this node; "" takes it away."""
        known = self._node.retained.get(topic)
        if (known.payload if known is not None else b"") != value.encode():
            self._node.publish(Message(topic, value.encode(), 0, True))

    # Retained messages ------------------------------------------------------------------------------

    def retained(self, topic: str) -> Message | None:
        return self._node.retained.get(topic)

    def retained_topics(self) -> list[str]:
        """The node's own figures are not among them."""
        return [each.topic for each in self._node.retained.values() if not topics.is_system(each.topic)]

    def keep(self, message: Message) -> None:
        """Take over a retained message from the cluster; an empty payload clears its topic."""
        self._node.keep(message)
