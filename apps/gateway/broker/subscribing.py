"""SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from apps.gateway.broker import ports
from apps.gateway.broker.completion import Waiter
from apps.gateway.broker.messages import Delivery, identifier_properties
from apps.gateway.broker.pending import PendingSuback, PendingSubscribe
from apps.gateway.broker.session import Session, Subscription
from apps.gateway.broker.states import CLOSED
from apps.gateway.mqtt import codec, packets, reasons, topics
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt.errors import MqttError
from apps.gateway.mqtt.packets import Packet

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection
    from apps.gateway.broker.ports import Acl


def on_subscribe(connection: Connection, packet: Packet, now: float) -> None:
    """Subscribe at once where the ACL knows; else wait until it has been asked."""
    subscribe = cast(packets.Subscribe, packet)
    decisions = [_decide(connection, each) for each in subscribe.filters]
    if ports.UNKNOWN in decisions:
        connection.wait_for(PendingSubscribe(subscribe))
        return
    _subscribe(connection, subscribe, decisions, now)


def _decide(connection: Connection, wanted: packets.Filter) -> int:
    """The QoS granted, a reason code >= 0x80, or ports.UNKNOWN."""
    limits = connection.limits
    try:
        _, filter = topics.split_share(wanted.filter)
        topics.check_filter(filter, limits.max_topic_length, limits.max_topic_levels)
    except MqttError as error:
        if connection.level == pt.MQTT_3_1:  # its SUBACK has no failure code
            raise
        return error.reason
    if connection.acl is None:
        return reasons.NOT_AUTHORIZED
    answer = connection.acl.subscribe(filter, wanted.qos)
    return answer if answer == ports.UNKNOWN else code(answer, wanted.qos)


def code(answer: int, qos: int) -> int:
    """What an Acl answered, as a SUBACK's reason code: never more than was asked for."""
    return min(answer, qos) if answer >= 0 else reasons.NOT_AUTHORIZED


def subscribe_allowed(
    connection: Connection, subscribe: packets.Subscribe, asked: dict[str, int], now: float
) -> None:
    """The ACL has been asked: `asked` holds its answers by filter (without a share prefix)."""
    if connection.state == CLOSED:
        return
    decisions: list[int] = []
    for each in subscribe.filters:
        decision = _decide(connection, each)
        if decision == ports.UNKNOWN:
            decision = code(asked.get(topics.split_share(each.filter)[1], ports.DENIED), each.qos)
        decisions.append(decision)
    if _subscribe(connection, subscribe, decisions, now):
        connection.resume(now)


def _subscribe(
    connection: Connection, subscribe: packets.Subscribe, decisions: list[int], now: float
) -> bool:
    """False: its SUBACK waits."""
    session = connection.session
    if session is None:
        return True
    refused = 0x80  # the one failure code of 3.1.1
    identifiers = props.subscription_identifiers(subscribe.properties)
    identifier = identifiers[0] if identifiers else 0
    fresh: list[tuple[Subscription, packets.Filter, bool]] = []
    if connection.bridge:
        _as_bridge(subscribe.filters)
    for index, wanted in enumerate(subscribe.filters):
        decision = decisions[index]
        if decision >= refused:
            if decision == reasons.NOT_AUTHORIZED:
                connection.node.denied(connection, "subscribe", wanted.filter)
            continue
        existed = wanted.filter in session.subscriptions
        subscription = put(session, wanted, decision, identifier)
        if subscription is None:
            decisions[index] = reasons.QUOTA_EXCEEDED
            continue
        fresh.append((subscription, wanted, existed))
    answer = decisions
    if connection.level == pt.MQTT_3_1:  # no failure code; as mosquitto, the QoS asked for, and nothing comes
        answer = [
            each.qos if decision >= refused else decision
            for each, decision in zip(subscribe.filters, decisions, strict=True)
        ]
    elif connection.level != pt.MQTT_5:
        answer = [min(decision, refused) for decision in decisions]
    suback = codec.encode(packets.Suback(subscribe.packet_id, answer), connection.level)
    bus = connection.node.bus
    if fresh and bus is not None and bus.has_unapplied():
        connection.wait_for(PendingSuback(suback, fresh))
        return False
    _answer(connection, suback, fresh, now)
    return True


def _as_bridge(filters: list[packets.Filter]) -> None:
    """Nothing goes back to a bridge, and the retain flag stays: it has no options to say so before 5.0."""
    for each in filters:
        each.no_local = not each.filter.startswith("$share/")
        each.retain_as_published = True


def announced(connection: Connection, pending: PendingSuback, applied: bool, now: float) -> None:
    """The other nodes know of the subscriptions, or took too long to say so (not `applied`)."""
    if connection.state == CLOSED:
        return
    session = connection.session
    if not applied and session is not None and session.durable is not None:
        raise MqttError(reasons.SERVER_BUSY, "the subscriptions are not known to every node")
    _answer(connection, pending.suback, pending.fresh, now)
    connection.resume(now)


def _answer(
    connection: Connection, suback: bytes, fresh: list[tuple[Subscription, packets.Filter, bool]], now: float
) -> None:
    session = connection.session
    if session is not None and session.durable is not None:
        DurableAnswer(connection, suback, fresh)
    else:
        _answer_now(connection, suback, fresh, now)


class DurableAnswer(Waiter):
    """A SUBACK or UNSUBACK that waits until the session's subscriptions are stored."""

    def __init__(
        self, connection: Connection, answer: bytes, fresh: list[tuple[Subscription, packets.Filter, bool]]
    ) -> None:
        self._connection = connection
        self._answer = answer
        self._fresh = fresh
        self._completion = connection.node.completion()
        self._completion.then(self)

    def completed(self) -> None:
        connection = self._connection
        if connection.state == CLOSED:
            return
        reason = self._completion.reason
        try:
            if reason:
                raise MqttError(reason, "the subscriptions could not be stored")
            _answer_now(connection, self._answer, self._fresh, connection.node.now)
        except MqttError as error:
            connection.fail(error)


def _answer_now(
    connection: Connection, suback: bytes, fresh: list[tuple[Subscription, packets.Filter, bool]], now: float
) -> None:
    connection.answer(suback)
    session = connection.session
    for subscription, wanted, existed in fresh:
        if session is not None and wants_retained(subscription, wanted, existed):
            send_retained(session, subscription, now)


def put(session: Session, wanted: packets.Filter, qos: int, identifier: int) -> Subscription | None:
    """Subscribe a session to a filter that was checked, or change its options; None: there is no room."""
    node = session.node
    share, filter = topics.split_share(wanted.filter)
    existed = wanted.filter in session.subscriptions
    if not existed and len(session.subscriptions) >= node.limits.max_subscriptions:
        return None
    subscription = Subscription(
        session, filter, share, qos, wanted.no_local, wanted.retain_as_published, identifier
    )
    if not existed and not node.count_bytes(subscription.size):
        return None
    session.subscriptions[wanted.filter] = subscription
    if session.durable is not None:
        session.durable.store.subscribe(session.durable.key, subscription)
    node.router.subscribe(subscription)
    node.observer.changed(session.client_id)
    return subscription


def remove(session: Session, filter: str) -> bool:
    """Unsubscribe a session from a filter as it was subscribed; False: it was not."""
    subscription = session.subscriptions.pop(filter, None)
    if subscription is None:
        return False
    if session.replay is not None:
        session.replay.remove(filter)
    if session.durable is not None:
        session.durable.store.unsubscribe(session.durable.key, filter)
    session.node.unsubscribe(subscription)
    session.node.observer.changed(session.client_id)
    return True


def wants_retained(subscription: Subscription, wanted: packets.Filter, existed: bool) -> bool:
    """[MQTT-3.3.1-9] to [MQTT-3.3.1-11]"""
    if subscription.share or wanted.retain_handling == 2:
        return False
    return wanted.retain_handling == 0 or not existed


def send_retained(session: Session, subscription: Subscription, now: float) -> None:
    """The retained messages that a new subscription matches, with the retain flag [MQTT-3.3.1-8]."""
    durable = session.durable
    if session.connection is not None or durable is None or not durable.remote:
        session.node.replays.begin(session, subscription)
        return
    identifiers = identifier_properties([subscription.identifier] if subscription.identifier else [])
    for message in session.node.retained.match(
        subscription.filter, now
    ):  # it is this node's for a moment only
        if not (subscription.no_local and message.origin == session.client_id):
            session.deliver(Delivery(message, min(subscription.qos, message.qos), True, identifiers))


def change_acl(connection: Connection, acl: Acl, asked: dict[str, int] | None = None) -> None:
    """Another ACL on a connection: subscriptions that it does not grant end, or get less.

    `asked`: answers to those that it cannot give itself, by filter (without a share prefix). One that is not
    among them was decided by the answers of just now, or will be asked about when somebody can be.
    """
    connection.acl = acl
    connection.forget_publish_grants()
    session = connection.session
    if session is None:
        return
    session.doubt()
    for key, subscription in list(session.subscriptions.items()):
        granted = acl.subscribe(subscription.filter, subscription.qos)
        if granted == ports.UNKNOWN and asked is not None:
            granted = asked.get(subscription.filter, granted)
        if granted == ports.DENIED:
            remove(session, key)
            connection.node.denied(connection, "subscribe", key)
        elif granted != ports.UNKNOWN and granted < subscription.qos:
            subscription.qos = granted
            if session.durable is not None:
                session.durable.store.subscribe(session.durable.key, subscription)
            connection.node.router.subscribe(subscription)
            connection.node.observer.changed(session.client_id)


def undecided(session: Session, acl: Acl) -> dict[str, int]:
    """Filters (without a share prefix) that somebody else has to be asked about, and the QoS to ask for."""
    found: dict[str, int] = {}
    for subscription in session.subscriptions.values():
        if acl.subscribe(subscription.filter, subscription.qos) == ports.UNKNOWN:
            found[subscription.filter] = max(subscription.qos, found.get(subscription.filter, 0))
    return found


def on_unsubscribe(connection: Connection, packet: Packet, now: float) -> None:
    unsubscribe = cast(packets.Unsubscribe, packet)
    session = connection.session
    if session is None:
        return
    answer = [
        reasons.SUCCESS if remove(session, filter) else reasons.NO_SUBSCRIPTION_EXISTED
        for filter in unsubscribe.filters
    ]
    _answer(
        connection, codec.encode(packets.Unsuback(unsubscribe.packet_id, answer), connection.level), [], now
    )
