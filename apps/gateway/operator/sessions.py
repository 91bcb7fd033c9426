"""What a node answers operators, and does for them: JSON in, JSON out, in bounded pieces.

Every method is called on the node's loop. What a person may see and do was decided before.
"""

from __future__ import annotations

import asyncio
import base64
import heapq
import itertools
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from apps.gateway.broker import ports, subscribing
from apps.gateway.broker.completion import Callback
from apps.gateway.broker.connection import Connection
from apps.gateway.broker.messages import Delivery, Message
from apps.gateway.broker.node import Node
from apps.gateway.broker.ports import Acl
from apps.gateway.broker.session import Session
from apps.gateway.mqtt import packets, reasons, topics
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt.errors import LocalError, MqttError
from apps.gateway.mqtt.properties import Properties
from apps.gateway.operator.operations import NodeOperations

SLICE: Final = 2000  # retained messages looked at in one turn of the loop
MAX_LISTED: Final = 100  # messages in one answer
SHOWN: Final = 256  # bytes of each payload in a list
SHOWN_ALONE: Final = 32_768  # bytes of the payload of one message
LONG: Final = 512  # characters of a topic that the list of a queue shows
LISTED: Final = 2048  # bytes of the longest topic in the list of retained messages
ROOM: Final = 49_152  # bytes of JSON in one list


class CommandRefused(Exception):
    """It cannot be done; `code` is for programs."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(detail)


class SessionHandlers:
    def __init__(self, node: Node, operations: NodeOperations, key: Callable[[str], str]) -> None:
        """`key` is how the directory writes client ids: long ones are shortened."""
        self._node = node
        self._operations = operations
        # What a client that is not connected may do; None: it may no longer connect.
        self.acl_of: Callable[[str], Awaitable[Acl | None]] | None = None
        self._key = key

    def handlers(self) -> dict[str, Callable[..., Any]]:
        return {
            "stats": self.stats,
            "session": self.session,
            "kick": self.kick,
            "end_session": self.end_session,
            "subscribe": self.subscribe,
            "unsubscribe": self.unsubscribe,
            "publish": self.publish,
            "retained": self.retained,
            "retained_message": self.retained_message,
            "queue": self.queue,
            "purge": self.purge,
            "replay": self.replay,
        }

    # ------------------------------------------------------------ the node, its sessions

    def stats(self) -> dict[str, Any]:
        return self._operations.stats()

    def session(self, client_id: str) -> dict[str, Any]:
        """Live counters; times in UNIX seconds."""
        session = self._session(client_id)
        connection = session.connection
        found = {
            "client_id": session.client_id,
            "online": connection is not None,
            "created_at": session.created,
            "expires_at": session.expires_at,
            "expiry_interval": session.expiry_interval,
            "subscriptions": len(session.subscriptions),
            "inflight": len(session.unacked) + len(session.released),
            "inflight_by_qos": {
                "1": sum(each.qos == 1 for each in session.unacked.values()),
                "2": sum(each.qos == 2 for each in session.unacked.values()) + len(session.released),
            },
            "incoming_qos2": len(session.incoming),
            "queued": session.backlog,
            "queued_bytes": session.backlog_bytes,
            "held_bytes": session.held,
            "delayed_will": session.will is not None,
        }
        if connection is not None:
            found |= self._connection(connection)
        return found

    def _connection(self, connection: Connection) -> dict[str, Any]:
        return {
            "username": connection.username or "",
            "address": connection.peer.address,
            "port": connection.peer.port,
            "transport": connection.peer.transport,
            "tls_subject": connection.peer.tls_subject,
            "level": connection.level,
            "clean_start": connection.clean_start,
            "keepalive": round(connection.keepalive / 1.5),
            "connected_at": connection.opened,
            "last_seen": connection.last_seen,
            "credentials_expire_at": connection.expires_at,
            "publishes_in": connection.publishes_in,
            "publishes_out": connection.publishes_out,
            "receive_window": connection.window,
            "unsent_bytes": connection.unsent,
            "congested": connection.congested,
            "throttled": connection.throttled,
            "has_will": connection.will is not None,
        }

    def kick(self, client_id: str, text: str = "") -> dict[str, Any]:
        """Disconnect; a session that outlives its connection stays."""
        session = self._session(client_id)
        was_online = session.connection is not None
        text = text or "disconnected by an operator"
        self._operations.kick(session.client_id, reasons.ADMINISTRATIVE_ACTION, text)
        return {"was_online": was_online}

    def end_session(self, client_id: str) -> dict[str, Any]:
        """Disconnect and forget subscriptions and queue."""
        self._operations.forget(self._session(client_id).client_id)
        return {}

    def _session(self, client_id: str) -> Session:
        sessions = self._node.sessions
        session = sessions.get(client_id)
        if session is None and self._key(client_id) == client_id:
            longer = (each for each in sessions if len(each) > len(client_id))
            session = sessions.get(next((each for each in longer if self._key(each) == client_id), ""))
        if session is None:
            raise CommandRefused("not_here", "The client has no session on this node any more.")
        return session

    # ------------------------------------------------------------ on behalf of a client

    def subscribe(
        self,
        client_id: str,
        filter: str,
        qos: int,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
    ) -> dict[str, Any] | Awaitable[dict[str, Any]]:
        """What the client's access rules do not grant, nobody subscribes it to, connected or not."""
        session = self._session(client_id)
        wanted = packets.Filter(filter, qos, no_local, retain_as_published, retain_handling)
        try:
            share, plain = topics.split_share(filter)
            topics.check_filter(plain, self._node.limits.max_topic_length, self._node.limits.max_topic_levels)
        except MqttError as error:
            raise CommandRefused("invalid_topic_filter", error.text) from None
        if share and no_local:  # [MQTT-3.8.3-4]
            raise CommandRefused("invalid_topic_filter", "no local is not for shared subscriptions")
        acl = session.connection.acl if session.connection is not None else None
        if acl is None and self.acl_of is None:
            return self._subscribe(session, wanted, qos)
        granted = acl.subscribe(plain, qos) if acl is not None else ports.UNKNOWN
        if granted == ports.UNKNOWN:
            return self._ask(session.client_id, acl, wanted)
        return self._subscribe(session, wanted, granted)

    async def _ask(self, client_id: str, acl: Acl | None, wanted: packets.Filter) -> dict[str, Any]:
        """Where that cannot be decided the answer is no."""
        plain = topics.split_share(wanted.filter)[1]
        try:
            acl = acl or await self._acl_of(client_id)
            granted = acl.subscribe(plain, wanted.qos)
            if granted == ports.UNKNOWN:
                granted = await acl.ask_subscribe(plain, wanted.qos)
        except CommandRefused:
            raise
        except Exception as error:
            raise CommandRefused("undecided", "Nobody can say now what the client may do.") from error
        return self._subscribe(self._session(client_id), wanted, granted)

    async def _acl_of(self, client_id: str) -> Acl:
        """Of a client that is not connected."""
        acl = await self.acl_of(client_id) if self.acl_of is not None else None
        if acl is None:
            raise CommandRefused("not_authorized", "The client may no longer connect.")
        return acl

    def _subscribe(self, session: Session, wanted: packets.Filter, granted: int) -> dict[str, Any]:
        if granted < 0:
            raise CommandRefused(
                "not_authorized", "The client's access rules do not allow this subscription."
            )
        filter, qos = wanted.filter, wanted.qos
        existed = filter in session.subscriptions
        subscription = subscribing.put(session, wanted, min(granted, qos), 0)
        if subscription is None:
            raise CommandRefused("quota_exceeded", "There is no room for one more subscription.")
        if subscribing.wants_retained(subscription, wanted, existed):
            subscribing.send_retained(session, subscription)
        return {"qos": subscription.qos}

    def unsubscribe(self, client_id: str, filter: str) -> dict[str, Any]:
        return {"existed": subscribing.remove(self._session(client_id), filter)}

    # ------------------------------------------------------------ messages

    async def publish(
        self,
        topic: str,
        payload: str,
        qos: int = 0,
        retain: bool = False,
        properties: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """`payload` in base64. Answers when it is as durable as its QoS promises."""
        node = self._node
        try:
            topics.check_name(topic, node.limits.max_topic_length, node.limits.max_topic_levels)
        except MqttError as error:
            raise CommandRefused("invalid_topic", error.text) from None
        if topics.is_system(topic):
            raise CommandRefused("invalid_topic", "Only the node publishes below $SYS/.")
        body, lifetime = _properties(properties or {})
        expires = node.now + lifetime if lifetime is not None else 0.0
        message = Message(topic, base64.b64decode(payload), qos, retain, body, expires)
        if message.size > node.limits.max_packet_size:
            raise CommandRefused("too_large", f"A message has at most {node.limits.max_packet_size} bytes.")
        route = node.router.route(topic)
        here = len(route.plain) + len(route.special) + len(route.groups)
        elsewhere = bool(route.bus & ~ports.TRACED)
        reason, completion = node.submit(message)
        if completion is not None and reason < 0x80:
            completed = asyncio.get_running_loop().create_future()
            completion.then(Callback(lambda: None if completed.done() else completed.set_result(None)))
            if not completion.is_complete:
                await completed
            reason = completion.reason or reason
        if reason >= 0x80:
            raise CommandRefused("not_taken", f"The message was not taken: {reasons.name(reason)}.")
        return {"subscribed": bool(here or elsewhere), "recipients": here, "elsewhere": elsewhere}

    async def retained(
        self, filter: str, after: str = "", limit: int = MAX_LISTED, payloads: bool = False
    ) -> dict[str, Any]:
        """A page of retained messages, by topic. There may be a million: they are looked at in slices.

        `left_out`: messages on topics that are too long to be listed.
        """
        page: list[tuple[str, Message]] = []
        some: list[tuple[str, Message]] = []
        limit = max(1, min(limit, MAX_LISTED))
        left_out = 0
        for count, message in enumerate(self._node.retained.walk(filter), 1):
            if len(message.raw_topic) > LISTED + 2:
                left_out += 1
            elif message.topic > after:
                some.append((message.topic, message))
            if count % SLICE == 0:
                page, some = _smallest(limit + 1, page + some), []
                await asyncio.sleep(0)
        page = _smallest(limit + 1, page + some)
        now = self._node.now
        found: list[dict[str, Any]] = []
        room = ROOM
        last = None
        for topic, message in page[:limit]:
            if message.expires and message.expires <= now:
                continue
            shown = _shown(message, now, SHOWN if payloads else 0)
            room -= len(json.dumps(shown))
            if room < 0:
                return {"messages": found, "next": last, "left_out": left_out}
            found.append(shown)
            last = topic
        after = page[limit - 1][0] if len(page) > limit else ""
        return {"messages": found, "next": after or None, "left_out": left_out}

    def retained_message(self, topic: str, payload: bool = False) -> dict[str, Any]:
        message = self._node.retained.get(topic)
        if message is None or (message.expires and message.expires <= self._node.now):
            raise CommandRefused("not_found", "There is no retained message on this topic.")
        return _shown(message, self._node.now, SHOWN_ALONE if payload else 0)

    # ------------------------------------------------------------ queues

    async def queue(self, client_id: str, limit: int = MAX_LISTED, payloads: bool = False) -> dict[str, Any]:
        """The first messages that wait for the client."""
        session = self._session(client_id)
        now = self._node.now
        found = []
        queued = session.backlog
        for delivery in await _first(session, min(limit, MAX_LISTED)):
            shown = _shown(delivery.message, now, SHOWN if payloads else 0)
            shown["topic"] = shown["topic"][:LONG]
            shown |= {"qos": delivery.qos, "retain": delivery.retain}
            shown["age"] = round(max(now - delivery.queued_at, 0.0), 3) if delivery.queued_at else None
            found.append(shown)
        return {"messages": found, "queued": queued, "queued_bytes": session.backlog_bytes}

    def purge(self, client_id: str) -> dict[str, Any]:
        return {"purged": self._session(client_id).purge()}

    async def replay(
        self, client_id: str, to: str, limit: int = 1000, within: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Give another session of this node copies of the first messages that wait."""
        source = self._session(client_id)
        if source is self._session(to):
            raise CommandRefused("same_client", "A queue is replayed to another client.")
        return await self.give(to, await _first(source, limit), within)

    async def give(
        self, client_id: str, waiting: list[Delivery], within: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Copies of what waits for another client, of what this one may subscribe to.

        `within`: topic prefixes below which the operator's right ends; none: no bounds. `denied`: left out.
        """
        target = self._session(client_id)
        acl = target.connection.acl if target.connection is not None else None
        if acl is None and self.acl_of is not None:
            acl = await self._acl_of(target.client_id)
        allowed: dict[str, bool] = {}
        for topic in {delivery.message.topic for delivery in waiting}:
            granted = acl.subscribe(topic, 0) if acl is not None else 0
            if granted == ports.UNKNOWN and acl is not None:
                granted = await acl.ask_subscribe(topic, 0)
            inside = not within or any(topic == each or topic.startswith(f"{each}/") for each in within)
            allowed[topic] = granted >= 0 and inside
        target = self._session(client_id)
        given = [delivery for delivery in waiting if allowed[delivery.message.topic]]
        for delivery in given:
            target.deliver(Delivery(delivery.message, delivery.qos, delivery.retain))
        denied = len(waiting) - len(given)
        return {"replayed": len(given)} | ({"denied": denied} if denied else {})


async def _first(session: Session, limit: int) -> list[Delivery]:
    """The first messages that wait for a session, in memory or not."""
    durable = session.durable
    if durable is None:
        return list(itertools.islice(session.queue or (), limit))
    found: asyncio.Future[list[Delivery]] = asyncio.get_running_loop().create_future()

    def answered(rows: list[tuple[int, Delivery]]) -> None:
        if not found.done():
            found.set_result([delivery for _, delivery in rows])

    durable.store.peek(durable.key, limit, answered)
    return await found


def _smallest(count: int, found: list[tuple[str, Message]]) -> list[tuple[str, Message]]:
    return heapq.nsmallest(count, found, key=lambda each: each[0])


def _shown(message: Message, now: float, payload: int) -> dict[str, Any]:
    """`payload`: how many bytes of it; None stands for one that is not to be seen."""
    found: dict[str, Any] = {
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        "size": len(message.payload),
        "publisher": message.origin[:LONG],
        "expires_in": round(message.expires - now, 3) if message.expires else None,
        "payload": None,
    }
    if payload:
        found["payload"] = base64.b64encode(message.payload[:payload]).decode()
    return found


def _properties(given: dict[str, Any]) -> tuple[bytes, float | None]:
    """As `Message.properties`, and the message's lifetime in seconds."""
    found: Properties = {}
    if given.get("payload_is_text"):
        found[props.PAYLOAD_FORMAT_INDICATOR] = 1
    for name, identifier in (("content_type", props.CONTENT_TYPE), ("response_topic", props.RESPONSE_TOPIC)):
        if given.get(name):
            found[identifier] = str(given[name])
    if given.get("correlation_data"):
        found[props.CORRELATION_DATA] = base64.b64decode(given["correlation_data"])
    if given.get("user_properties"):
        found[props.USER_PROPERTY] = [(str(name), str(value)) for name, value in given["user_properties"]]
    try:
        response_topic = props.string(found, props.RESPONSE_TOPIC)
        if response_topic is not None:
            topics.check_name(response_topic)
        return props.write_body(found), given.get("message_expiry")
    except (MqttError, LocalError) as error:
        raise CommandRefused("invalid_properties", str(error)) from None
