"""SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from apps.gateway.broker import ports
from apps.gateway.broker.chores import CHANGED, FEW, Chore, RetainedForAbsent
from apps.gateway.broker.completion import Waiter
from apps.gateway.broker.pending import PendingSuback, PendingSubscribe, PendingUnsubscribe
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


ASKED: Final = 25  # what an ACL of few rules takes for an answer, in units of `Router.work`
REFUSED: Final = 0x80  # reason codes from here on; the one failure code of 3.1.1


def on_subscribe(connection: Connection, packet: Packet, now: float) -> None:
    """Subscribe at once where the ACL knows and the filters are few; else wait."""
    subscribe = cast(packets.Subscribe, packet)
    if len(subscribe.filters) > at_once(connection.acl):
        connection.wait_for(PendingSubscribe(subscribe))
        return
    cost = connection.acl.cost if connection.acl is not None else 0
    connection.node.router.work += (CHANGED + cost) * len(subscribe.filters)
    work = Subscribing(connection, subscribe, None)
    if ports.UNKNOWN in work.decisions:
        connection.wait_for(PendingSubscribe(subscribe))
        return
    work.step(FEW)
    work.finish()


def at_once(acl: Acl | None) -> int:
    """How many filters are decided together: fewer where an answer takes long."""
    return max(min(FEW, FEW * ASKED // acl.cost), 1) if acl is not None else FEW


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


class Subscribing:
    """One SUBSCRIBE, some of its filters at a time: `step` until it is true, then `finish`.

    Filters beyond `max_subscribe_filters` are refused with 0x97. Of a filter that the packet names more than
    once the last counts.
    """

    def __init__(
        self, connection: Connection, subscribe: packets.Subscribe, asked: dict[str, int] | None
    ) -> None:
        """`asked`: the ACL's answers by filter (without a share prefix); None: those it has at once."""
        self.decisions: list[int] = []
        self._connection = connection
        self._subscribe = subscribe
        self._asked = asked
        self._next = 0
        self._last: dict[str, int] = {}
        identifiers = props.subscription_identifiers(subscribe.properties)
        self._identifier: int = identifiers[0] if identifiers else 0
        self._fresh: list[tuple[Subscription, packets.Filter, bool]] = []
        if connection.bridge:
            _as_bridge(subscribe.filters)
        if asked is None:
            self._decide_some(FEW)

    def _decide_some(self, most: int) -> None:
        connection = self._connection
        for each in self._subscribe.filters[len(self.decisions) : len(self.decisions) + most]:
            if len(self.decisions) >= connection.limits.max_subscribe_filters:
                self.decisions.append(reasons.QUOTA_EXCEEDED)
                continue
            decision = _decide(connection, each)
            if decision == ports.UNKNOWN and self._asked is not None:
                decision = code(self._asked.get(topics.split_share(each.filter)[1], ports.DENIED), each.qos)
            if decision < REFUSED:
                self._last[each.filter] = len(self.decisions)
            self.decisions.append(decision)

    def step(self, most: int) -> bool:
        """Decide on `most` filters, or subscribe to as many. True: nothing is left but to `finish`."""
        filters = self._subscribe.filters
        if len(self.decisions) < len(filters):
            self._decide_some(most)
            return False
        session = self._connection.session
        end = min(self._next + most, len(filters))
        for index in range(self._next, end):
            if session is not None:
                self._put(session, index, filters[index])
        self._next = end
        return end == len(filters)

    def _put(self, session: Session, index: int, wanted: packets.Filter) -> None:
        decision = self.decisions[index]
        if decision >= REFUSED:
            if decision == reasons.NOT_AUTHORIZED:
                self._connection.node.denied(self._connection, "subscribe", wanted.filter)
            return
        last = self._last.pop(wanted.filter, -1)
        if last < 0:  # again in this packet
            if wanted.filter not in session.subscriptions:
                self.decisions[index] = reasons.QUOTA_EXCEEDED
            return
        wanted = self._subscribe.filters[last]
        existed = wanted.filter in session.subscriptions
        subscription = put(session, wanted, min(self.decisions[last], wanted.qos), self._identifier)
        if subscription is None:
            self.decisions[index] = reasons.QUOTA_EXCEEDED
        else:
            self._fresh.append((subscription, wanted, existed))

    def finish(self) -> bool:
        """Answer. False: the SUBACK waits."""
        connection, subscribe, decisions = self._connection, self._subscribe, self.decisions
        if connection.session is None:
            return True
        answer = decisions
        if connection.level == pt.MQTT_3_1:  # no failure code: as mosquitto says, what was asked for
            answer = [
                each.qos if decision >= REFUSED else decision
                for each, decision in zip(subscribe.filters, decisions, strict=True)
            ]
        elif connection.level != pt.MQTT_5:
            answer = [min(decision, REFUSED) for decision in decisions]
        suback = codec.encode(packets.Suback(subscribe.packet_id, answer), connection.level)
        bus = connection.node.bus
        if self._fresh and bus is not None and bus.has_unapplied():
            connection.wait_for(PendingSuback(suback, self._fresh))
            return False
        _answer(connection, suback, self._fresh)
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
    _answer(connection, pending.suback, pending.fresh)
    connection.resume(now)


def _answer(
    connection: Connection, suback: bytes, fresh: list[tuple[Subscription, packets.Filter, bool]]
) -> None:
    session = connection.session
    if session is not None and session.durable is not None:
        DurableAnswer(connection, suback, fresh)
    else:
        _answer_now(connection, suback, fresh)


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
            _answer_now(connection, self._answer, self._fresh)
        except MqttError as error:
            connection.fail(error)


def _answer_now(
    connection: Connection, suback: bytes, fresh: list[tuple[Subscription, packets.Filter, bool]]
) -> None:
    connection.answer(suback)
    session = connection.session
    for subscription, wanted, existed in fresh:
        if session is not None and wants_retained(subscription, wanted, existed):
            send_retained(session, subscription)


def put(session: Session, wanted: packets.Filter, qos: int, identifier: int) -> Subscription | None:
    """Subscribe a session to a filter that was checked, or change its options; None: there is no room."""
    node = session.node
    share, filter = topics.split_share(wanted.filter)
    existed = wanted.filter in session.subscriptions
    wild = not existed and ("+" in filter or "#" in filter)
    if not existed and len(session.subscriptions) >= node.limits.max_subscriptions:
        return None
    if wild and session.wildcards >= node.limits.max_wildcard_subscriptions:
        return None
    subscription = Subscription(
        session, filter, share, qos, wanted.no_local, wanted.retain_as_published, identifier
    )
    if not existed and not node.count_bytes(subscription.size):
        return None
    session.add(wanted.filter, subscription)
    if session.durable is not None:
        session.durable.store.subscribe(session.durable.key, subscription)
    node.router.subscribe(subscription)
    node.observer.changed(session.client_id)
    return subscription


def remove(session: Session, filter: str) -> bool:
    """Unsubscribe a session from a filter as it was subscribed; False: it was not."""
    subscription = session.take_out(filter)
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


def send_retained(session: Session, subscription: Subscription) -> None:
    """The retained messages that a new subscription matches, with the retain flag [MQTT-3.3.1-8]."""
    durable = session.durable
    if session.connection is not None or durable is None or not durable.remote:
        session.node.replays.begin(session, subscription)
        return
    node = session.node  # the session is this node's for a moment only: it is all given to its queue
    cursor = node.retained.cursor(subscription.filter)
    if cursor is not None:
        node.chores.add(RetainedForAbsent(session, subscription, cursor))


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
    review = AclReview(connection, session, acl, asked or {})
    session.review = review
    if len(session.subscriptions) > at_once(acl):
        connection.node.chores.add(review)
    else:
        review.run(FEW * (ASKED + acl.cost + CHANGED))


class AclReview(Chore):
    """The subscriptions of a session are brought in line with the ACL that its connection has now."""

    def __init__(self, connection: Connection, session: Session, acl: Acl, asked: dict[str, int]) -> None:
        self._connection = connection
        self._session = session
        self._acl = acl
        self._asked = asked
        self._names = list(session.subscriptions)

    def run(self, most: int) -> int:
        session = self._session
        cost = 0
        while self._names and cost < most and session.review is self:
            cost += self._acl.cost
            name = self._names.pop()
            subscription = session.subscriptions.get(name)
            if subscription is None:
                continue
            granted = self._acl.subscribe(subscription.filter, subscription.qos)
            if granted == ports.UNKNOWN:
                granted = self._asked.get(subscription.filter, granted)
            if apply(self._connection, session, name, granted):
                cost += CHANGED
        if not self._names and session.review is self:
            session.review = None
        return cost


def apply(connection: Connection, session: Session, name: str, granted: int) -> bool:
    """End a subscription that is DENIED now, or lower its QoS to what is granted. Was that needed?"""
    subscription = session.subscriptions.get(name)
    if subscription is None:
        return False
    if granted == ports.DENIED:
        remove(session, name)
        connection.node.denied(connection, "subscribe", name)
        return True
    if granted == ports.UNKNOWN or granted >= subscription.qos:
        return False
    subscription.qos = granted
    if session.durable is not None:
        session.durable.store.subscribe(session.durable.key, subscription)
    session.node.router.subscribe(subscription)
    session.node.observer.changed(session.client_id)
    return True


def undecided(session: Session, acl: Acl, names: list[str]) -> dict[str, int]:
    """Of these subscriptions, the filters (without a share prefix) that somebody else has to be asked about,
    and the QoS to ask for."""
    found: dict[str, int] = {}
    for name in names:
        subscription = session.subscriptions.get(name)
        if subscription is None:
            continue
        if acl.subscribe(subscription.filter, subscription.qos) == ports.UNKNOWN:
            found[subscription.filter] = max(subscription.qos, found.get(subscription.filter, 0))
    return found


def on_unsubscribe(connection: Connection, packet: Packet, now: float) -> None:
    pending = PendingUnsubscribe(cast(packets.Unsubscribe, packet))
    if not unsubscribe_some(connection, pending):
        connection.wait_for(pending)


def unsubscribe_some(connection: Connection, pending: PendingUnsubscribe) -> bool:
    """Unsubscribe from a few filters more. True: that was all, and it is answered."""
    session = connection.session
    if session is None:
        return True
    unsubscribe, answer = pending.packet, pending.answer
    session.node.router.work += CHANGED * min(len(unsubscribe.filters) - len(answer), FEW)
    for filter in unsubscribe.filters[len(answer) : len(answer) + FEW]:
        answer.append(reasons.SUCCESS if remove(session, filter) else reasons.NO_SUBSCRIPTION_EXISTED)
    if len(answer) < len(unsubscribe.filters):
        return False
    unsuback = codec.encode(packets.Unsuback(unsubscribe.packet_id, answer), connection.level)
    _answer(connection, unsuback, [])
    return True
