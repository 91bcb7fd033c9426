"""Answers what a connection waits for: the only place where the protocol meets `await`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from apps.gateway.broker import connecting, ingress, ports, subscribing
from apps.gateway.broker.chores import FEW
from apps.gateway.broker.pending import (
    PendingAuth,
    PendingConnect,
    PendingPublish,
    PendingSuback,
    PendingSubscribe,
    PendingTurn,
    PendingUnsubscribe,
)
from apps.gateway.broker.ports import Challenge, ConnectRequest, Verdict
from apps.gateway.broker.states import CLOSED, CONNECTING
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt import reasons, topics, wire
from apps.gateway.mqtt.errors import MqttError

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection
    from apps.gateway.broker.ports import Acl, Authenticator

logger = logging.getLogger(__name__)

UNAVAILABLE = Verdict(reasons.SERVER_UNAVAILABLE)


async def decide(connection: Connection, authenticator: Authenticator, clock: Callable[[], float]) -> None:
    """Decide what is pending until nothing is, and let the connection read on.

    A provider that raises never lets anybody in: CONNACK 0x88, a denial otherwise.
    """
    while True:
        pending = connection.pending
        if pending is None:
            return
        if isinstance(pending, PendingConnect):
            began = time.monotonic()
            await _authenticate(connection, authenticator, pending.request, pending.request.auth_data, clock)
            connection.node.stats.connect_seconds.observe(time.monotonic() - began)
        elif isinstance(pending, PendingAuth):
            await _authenticate(connection, authenticator, _request(connection), pending.data, clock)
        elif isinstance(pending, PendingPublish):
            await _publish(connection, pending, clock)
        elif isinstance(pending, PendingSuback):
            await _suback(connection, pending, clock)
        elif isinstance(pending, PendingUnsubscribe):
            await _unsubscribe(connection, pending, clock)
        elif isinstance(pending, PendingTurn):
            await asyncio.sleep(0)
            connection.resume(clock())
        else:
            await _subscribe(connection, pending, clock)


def _request(connection: Connection) -> ConnectRequest:
    """What is known of a client in the middle of an exchange."""
    return ConnectRequest(
        client_id=connection.client_id,
        level=connection.level,
        username=connection.username,
        password=None,
        clean_start=False,
        keepalive=0,
        peer=connection.peer,
        auth_method=connection.auth_method,
    )


async def _authenticate(
    connection: Connection,
    authenticator: Authenticator,
    request: ConnectRequest,
    data: bytes | None,
    clock: Callable[[], float],
) -> None:
    claimed = False
    asked: dict[str, int] = {}
    try:
        answer = await _ask(connection, authenticator, request, data)
        if (
            isinstance(answer, Verdict)
            and answer.acl is not None
            and not await _will_allowed(connection, answer.acl)
        ):
            answer = Verdict(reasons.NOT_AUTHORIZED, reason_string="the will may not be published")
        if isinstance(answer, Verdict) and answer.accepted:
            answer = await _claim(connection, answer)
            claimed = answer.accepted
            asked = await _resumed(connection, answer)
    except Exception:
        logger.exception("authentication of client %r failed", request.client_id)
        answer = UNAVAILABLE
    try:
        if isinstance(answer, Challenge):
            connecting.challenge(connection, answer.data, clock())
        else:
            connecting.decided(connection, answer, request, clock(), asked)
    except MqttError as error:
        connection.fail(error)
    ownership = connection.node.ownership
    if ownership is not None and connection.session is None and claimed:
        ownership.changed(request.client_id)


async def _claim(connection: Connection, verdict: Verdict) -> Verdict:
    """Let the client in if no other node of the cluster has it."""
    ownership, connect = connection.node.ownership, connection.connect
    if ownership is None or connect is None or connection.state != CONNECTING:
        return verdict
    will = None
    delay = 0
    if connect.will is not None:
        will = connecting.will_message(connect.will, connection.client_id)
        delay = min(
            props.integer(connect.will.properties, props.WILL_DELAY_INTERVAL, 0),
            props.integer(connect.properties, props.SESSION_EXPIRY_INTERVAL, 0),
        )
    reason = await ownership.claim(connection.client_id, connect.clean_start, will, delay)
    return Verdict(reason) if reason else verdict


async def _resumed(connection: Connection, verdict: Verdict) -> dict[str, int]:
    """What the ACL had to be asked about the subscriptions that go on, by filter. Those that it denies end.

    A few in each loop turn, before the client is let in. Raises what the ACL raises: a client whose rights
    nobody can tell is not let in for now.
    """
    acl, connect = verdict.acl, connection.connect
    if acl is None or (connect is not None and connect.clean_start):
        return {}
    session = connection.session or connection.node.sessions.get(connection.client_id)
    if session is None:
        return {}
    answers: dict[str, int] = {}
    denied: list[str] = []
    few = subscribing.at_once(acl)
    for count, (name, subscription) in enumerate(list(session.subscriptions.items()), 1):
        if count % few == 0:
            await asyncio.sleep(0)
        granted = acl.subscribe(subscription.filter, subscription.qos)
        if granted == ports.UNKNOWN:
            granted = await acl.ask_subscribe(subscription.filter, subscription.qos)
            answers[subscription.filter] = granted
        if granted == ports.DENIED:
            denied.append(name)
    if len(denied) > FEW:  # few wait until the client is let in
        for count, name in enumerate(denied, 1):
            if count % FEW == 0:
                await asyncio.sleep(0)
            subscribing.apply(connection, session, name, ports.DENIED)
    return answers


async def _ask(
    connection: Connection, authenticator: Authenticator, request: ConnectRequest, data: bytes | None
) -> Verdict | Challenge:
    if request.auth_method is None:
        return await authenticator.connect(replace(request, left=lambda: connection.state == CLOSED))
    if connection.exchange is None:
        connection.exchange = authenticator.exchange(request)
        if connection.exchange is None:  # [MQTT-4.12.0-1]
            return Verdict(reasons.BAD_AUTHENTICATION_METHOD)
    return await connection.exchange.step(data)


async def _will_allowed(connection: Connection, acl: Acl) -> bool:
    connect = connection.connect
    if connect is None or connect.will is None:
        return True
    topic = connect.will.topic
    grant = acl.publish(topic) if not topics.is_system(topic) else ports.NOTHING
    if grant == ports.UNKNOWN:
        grant = await acl.ask_publish(topic)
    return connecting.will_allowed(connection, connect, grant)


async def _publish(connection: Connection, pending: PendingPublish, clock: Callable[[], float]) -> None:
    topic = pending.topic
    grant = ports.NOTHING
    if connection.acl is not None:
        try:
            grant = await connection.acl.ask_publish(topic)
        except Exception:
            logger.exception("publish authorization of client %r failed", connection.client_id)
    ingress.allow(connection, wire.string(topic), topic, grant)
    connection.resume(clock())


async def _suback(connection: Connection, pending: PendingSuback, clock: Callable[[], float]) -> None:
    bus = connection.node.bus
    applied = bus is None or await bus.wait_applied()
    try:
        subscribing.announced(connection, pending, applied, clock())
    except MqttError as error:
        connection.fail(error)


async def _subscribe(connection: Connection, pending: PendingSubscribe, clock: Callable[[], float]) -> None:
    """Ask the ACL where it does not know, then subscribe, a few filters in each loop turn."""
    packet = pending.packet
    asked: dict[str, int] = {}
    acl = connection.acl
    few = subscribing.at_once(acl)
    for index, wanted in enumerate(packet.filters[: connection.limits.max_subscribe_filters]):
        if (index + 1) % few == 0:
            await asyncio.sleep(0)
        try:
            _, filter = topics.split_share(wanted.filter)
            if acl is not None and acl.subscribe(filter, wanted.qos) == ports.UNKNOWN:
                asked[filter] = await acl.ask_subscribe(filter, wanted.qos)
        except MqttError:
            continue  # a malformed filter is refused without being asked
        except Exception:
            logger.exception("subscribe authorization of client %r failed", connection.client_id)
    try:
        work = subscribing.Subscribing(connection, packet, asked)
        while connection.state != CLOSED and not work.step(few):
            if len(packet.filters) > few:
                await asyncio.sleep(0)
        if connection.state != CLOSED and work.finish():
            connection.resume(clock())
    except MqttError as error:
        connection.fail(error)


async def _unsubscribe(
    connection: Connection, pending: PendingUnsubscribe, clock: Callable[[], float]
) -> None:
    try:
        while connection.state != CLOSED:
            await asyncio.sleep(0)
            if subscribing.unsubscribe_some(connection, pending):
                connection.resume(clock())
                return
    except MqttError as error:
        connection.fail(error)
