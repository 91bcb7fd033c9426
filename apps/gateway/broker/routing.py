"""From a topic to the sessions that get it: the trie's answer, kept per topic until it changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from apps.gateway.broker import ports
from apps.gateway.broker import stats as st
from apps.gateway.broker.limits import DROP_QOS_0, REFUSE_PUBLISHES
from apps.gateway.broker.messages import Delivery, Message, identifier_properties
from apps.gateway.broker.topictree import LEVEL, TopicTree, levels_size
from apps.gateway.broker.trie import SubscriptionTrie
from apps.gateway.mqtt import reasons, wire

if TYPE_CHECKING:
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.ports import Choice
    from apps.gateway.broker.session import Session, Subscription
    from apps.gateway.broker.shared import SharedGroup


class Target:
    """A session that gets a topic, once, however many of its subscriptions match [MQTT-3.3.4-2]."""

    __slots__ = ("identifiers", "local", "own", "qos", "remote", "retain_as_published", "session")

    def __init__(
        self, session: Session, qos: int, local: bool, as_published: bool, identifiers: bytes
    ) -> None:
        self.session = session
        self.qos = qos  # the highest that was granted
        self.local = local  # False: not to be sent its own messages but as `own` says
        self.own: Target | None = None
        self.retain_as_published = as_published
        self.identifiers = identifiers  # encoded properties
        self.remote = session.durable is not None and session.durable.remote  # gets QoS 0 only, from here

    def of(self, origin: str) -> Target | None:
        """What counts for a message of the client `origin` [MQTT-3.8.3-3]."""
        return self if self.local or self.session.client_id != origin else self.own


# What `dispatch` answers where all who wanted a message are online with a full queue, and nobody got it. A
# 5.0 publisher hears 0x97; others get their acknowledgement, for they could only be disconnected.
OVERFLOW: Final = 0x100 | reasons.QUOTA_EXCEEDED
CACHED_LENGTH: Final = 512  # characters; routes of longer topics are made for each message
LEVELS: Final = 4  # levels that a cached route has of its own on average, above which the oldest ones go
ROUTE: Final = 600  # bytes that a cached route costs beside its topic and the topic's levels
NEW_TOPIC: Final = 50  # what a new topic costs in units of `Router.work`
COPY: Final = 3  # what a message costs for each who gets it
MAX_OUTDATED: Final = 256  # cached routes that one subscription outdates one by one; else it outdates all
MAX_VISITED: Final = 2048  # levels of the cached topics that it visits to find them


class Charge:
    """The cached routes that one client has caused: it bears their bytes, and they go with it."""

    __slots__ = ("count", "routes")

    def __init__(self) -> None:
        self.routes: deque[Route] = deque()  # the oldest first; some are no longer cached
        self.count = 0  # of those that are


class Route:
    """Who gets one topic."""

    __slots__ = (
        "bus",
        "cached",
        "charge",
        "durable",
        "empty",
        "generation",
        "groups",
        "newer",
        "older",
        "plain",
        "raw_topic",
        "special",
        "topic",
    )

    def __init__(self, topic: str, generation: int) -> None:
        self.topic = topic
        self.raw_topic = wire.string(topic)
        self.generation = generation
        self.plain: list[Target] = []  # every copy is the same but for its QoS
        self.special: list[Target] = []  # no local, subscription identifiers, or a queue that a cluster fills
        self.groups: list[SharedGroup] = []
        self.durable = False  # a store keeps the session of one of them
        self.bus = 0  # who else wants it: `ports.MessageBus.wants`, and TRACED
        self.empty = True  # nobody does
        self.cached = False
        self.charge: Charge | None = None  # whose doing it is that it is cached; None: the node's own
        self.older: Route | None = None  # its neighbours by age in the cache
        self.newer: Route | None = None

    @property
    def size(self) -> int:
        """Bytes that it costs while it is cached."""
        return ROUTE + 2 * len(self.raw_topic) + levels_size(self.topic)


class PublishGrant:
    """What one connection may publish to one topic, and who gets it."""

    __slots__ = ("grant", "reported", "route")

    def __init__(self, grant: int, route: Route) -> None:
        self.grant = grant  # sum of ports.QOS_0, QOS_1, QOS_2, RETAIN
        self.route = route
        self.reported = False  # a denial was, to the observer


class Router:
    """Owns the subscriptions. A route is current while its generation is the router's."""

    def __init__(self, node: Node, capacity: int) -> None:
        self._node = node
        self._capacity = capacity
        self._routes: TopicTree[Route] = TopicTree()
        self.trie = SubscriptionTrie()
        self._oldest: Route | None = None
        self._newest: Route | None = None
        self.generation = 0
        self.charged = 0  # bytes of cached routes that are counted against `node_bytes`
        self.work = 0  # what all that was asked of it cost so far, in units of about 0.2 us

    @property
    def memory(self) -> int:
        """Bytes that the cached routes cost, roughly."""
        return ROUTE * len(self._routes) + LEVEL * self._routes.levels

    # Subscriptions -------------------------------------------------------------------------------

    def subscribe(self, subscription: Subscription) -> None:
        before = self.trie.add(subscription)
        here = subscription.session
        self._invalidate(subscription.filter)
        bus = self._node.bus
        if bus is None:
            return
        if before is None:
            bus.subscribed(subscription.filter, subscription.share)
        if subscription.share and here.connection is not None:
            if before is not None and before.session is here:
                self.present(before, False)
            self.present(subscription, True)

    def unsubscribe(self, subscription: Subscription) -> None:
        before = self.trie.count
        self.trie.remove(subscription)
        self._invalidate(subscription.filter)
        bus = self._node.bus
        if bus is not None and self.trie.count != before:
            if subscription.share and subscription.session.connection is not None:
                self.present(subscription, False)
            bus.unsubscribed(subscription.filter, subscription.share)

    def denied(self, topic: str) -> Route:
        """In the place of a route, for a topic to which a client may not publish. Never cached."""
        return Route(topic, self.generation)

    def present(self, subscription: Subscription, here: bool) -> None:
        """A member of a shared subscription is online now, or no longer is."""
        if here:
            subscription.known_kept = subscription.kept
        bus = self._node.bus
        if bus is not None:
            bus.present(subscription.filter, subscription.share, here, subscription.known_kept)

    def outdate(self, filter: str | None) -> None:
        """Who outside wants what `filter` matches has changed; None: any topic."""
        self._invalidate("#" if filter is None else filter)

    def _invalidate(self, filter: str) -> None:
        """Outdate just the cached routes that `filter` matches; all of them where that is quicker.

        So a subscription costs the same however many topics are cached.
        """
        outdated = None
        if not filter.startswith(("+", "#")):
            outdated = self._routes.few(filter, MAX_OUTDATED, MAX_VISITED)
        if outdated is None:
            self.generation += 1
            return
        for route in outdated:
            route.generation = -1

    # Routes --------------------------------------------------------------------------------------

    def route(self, topic: str, charge: Charge | None = None) -> Route:
        """The current route of a topic. `charge`: of the client that bears its place in the cache."""
        if len(topic) > CACHED_LENGTH:  # the cache is bounded in bytes, too
            route = self._made(topic)
            route.generation = -1
            return route
        known = self._routes.get(topic)
        if known is not None:
            if known.generation != self.generation:
                self._resolve(known)
            return known
        route = self._made(topic)
        self._cache(route, charge)
        return route

    def _cache(self, route: Route, charge: Charge | None) -> None:
        """The newest, in the place of older ones: first of all of the same client's."""
        if charge is not None:
            while charge.count >= self._node.limits.route_cache_per_client:
                self._forget_first(charge)
        routes = self._routes
        while self._oldest is not None and (
            len(routes) >= self._capacity or routes.levels >= LEVELS * self._capacity
        ):
            self._forget(self._oldest)
        if charge is not None:
            if not self._node.count_bytes(route.size):
                route.generation = -1  # made for each message, like those of long topics
                return
            self.charged += route.size
            charge.routes.append(route)
            charge.count += 1
        route.cached = True
        route.charge = charge
        newest = self._newest
        route.older = newest
        if newest is None:
            self._oldest = route
        else:
            newest.newer = route
        self._newest = route
        routes.set(route.topic, route)

    def _forget_first(self, charge: Charge) -> None:
        """The oldest of a client's that are cached."""
        while charge.routes:
            route = charge.routes.popleft()
            if route.cached:
                self._forget(route)
                return

    def _forget(self, route: Route) -> None:
        """Who still has it will ask for a current one."""
        route.cached = False
        route.generation = -1
        self._routes.pop(route.topic)
        charge = route.charge
        if charge is not None:
            route.charge = None
            charge.count -= 1
            self.charged -= route.size
            self._node.uncount_bytes(route.size)
        older, newer = route.older, route.newer
        if older is None:
            self._oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self._newest = older
        else:
            newer.older = older
        route.older = None
        route.newer = None

    def forget_some(self, charge: Charge, most: int) -> int:
        """Forget `most` of a client's that has gone; answers how many."""
        count = 0
        while charge.routes and count < most:
            route = charge.routes.popleft()
            count += 1
            if route.cached:
                self._forget(route)
        return count

    def _made(self, topic: str) -> Route:
        route = Route(topic, self.generation)
        self._resolve(route)
        return route

    def _resolve(self, route: Route) -> None:
        """Find out who gets its topic now."""
        topic = route.topic
        route.generation = self.generation
        route.plain = []
        route.special = []
        route.durable = False
        route.bus = 0
        matches = self.trie.match(topic)
        self.work += NEW_TOPIC + matches.visited
        by_session: dict[str, list[Subscription]] = {}
        for subscription in matches.subscriptions:
            same = by_session.get(subscription.client_id)
            if same is None:
                by_session[subscription.client_id] = [subscription]
            else:
                same.append(subscription)
        for subscriptions in by_session.values():
            target = _target(subscriptions)
            if target.local and not target.identifiers and not target.remote:
                route.plain.append(target)
            else:
                route.special.append(target)
            if target.session.durable is not None and not target.remote:
                route.durable = True
        route.groups = matches.groups
        if route.groups and self._node.store is not None and self._node.store.own:
            route.durable = True
        if self._node.bus is not None:
            route.bus = self._node.bus.wants(topic)
        if self._node.tracer is not None and self._node.tracer.wants(topic):
            route.bus |= ports.TRACED
        route.empty = not (route.plain or route.special or route.groups or route.bus)

    # Dispatch ------------------------------------------------------------------------------------

    def dispatch(self, route: Route, message: Message) -> int:
        """Hand `message` to everybody who wants it. The route must be current.

        Answers success, "no matching subscribers", or the reason why it was not taken: then nobody has it.
        """
        if route.durable and message.qos and self._node.store_full:
            return reasons.QUOTA_EXCEEDED
        if self._node.strain >= DROP_QOS_0:
            if not message.qos:
                self._node.dropped(message.origin, st.DROP_MEMORY, message.topic, 1)
                return reasons.SUCCESS
            if self._node.strain >= REFUSE_PUBLISHES:
                return reasons.QUOTA_EXCEEDED
        if route.bus:
            return self._dispatch_to_bus(route, message)
        if route.empty:
            return reasons.NO_MATCHING_SUBSCRIBERS
        before = self._node.overflows
        self.dispatch_here(route, message, None)
        if self._node.overflows != before and message.qos:
            return self._overflowed(route, self._node.overflows - before)
        return reasons.SUCCESS

    def _overflowed(self, route: Route, count: int) -> int:
        """Have so many drops left anybody with the message?"""
        wanted = len(route.plain) + len(route.special) + len(route.groups)
        return OVERFLOW if count >= wanted else reasons.SUCCESS

    def _dispatch_to_bus(self, route: Route, message: Message) -> int:
        node = self._node
        if route.bus & ports.TRACED and node.tracer is not None:
            names = [target.session.client_id for target in (*route.plain, *route.special)]
            node.tracer.published(message, names, [group.key for group in route.groups])
        bus = node.bus
        wants = route.bus & ~ports.TRACED
        if bus is None or not wants:
            if not (route.plain or route.special or route.groups):
                return reasons.NO_MATCHING_SUBSCRIBERS
            self.dispatch_here(route, message, None)
            return reasons.SUCCESS
        choice: Choice | None = None
        if wants & ports.BUS_SHARED:
            choice = bus.choose(route.topic, [group.key for group in route.groups], message.qos)
        completion = node.completion() if message.qos else None
        reason = bus.publish(message, wants, choice, completion)
        if reason and message.qos:
            return reason
        if reason:  # a publisher of QoS 0 cannot be told: those on this node have it all the same
            node.dropped("", st.DROP_CLUSTER, route.topic, 1)
        self.dispatch_here(route, message, choice.here if choice is not None else None)
        return reasons.SUCCESS

    def dispatch_here(self, route: Route, message: Message, shares: Collection[str] | None) -> None:
        """Hand `message` to this node's targets; of the shared subscriptions only to `shares`, None: all."""
        qos = message.qos
        self.work += COPY * (len(route.plain) + len(route.special))
        if message.retain:
            self._dispatch_retained(route, message)
        else:
            copy0: Delivery | None = None
            copy1: Delivery | None = None
            copy2: Delivery | None = None
            for target in route.plain:
                granted = target.qos if target.qos < qos else qos
                if granted == 1:
                    if copy1 is None:
                        copy1 = Delivery(message, 1)
                    target.session.deliver(copy1)
                elif granted == 0:
                    if copy0 is None:
                        copy0 = Delivery(message, 0)
                    target.session.deliver(copy0)
                else:
                    if copy2 is None:
                        copy2 = Delivery(message, 2)
                    target.session.deliver(copy2)
        for target in route.special:
            wanted = target.of(message.origin)
            if wanted is not None:
                granted = wanted.qos if wanted.qos < qos else qos
                if granted and wanted.remote:
                    continue
                retain = message.retain and wanted.retain_as_published
                wanted.session.deliver(Delivery(message, granted, retain, wanted.identifiers))
        for group in route.groups:
            if shares is None or group.key in shares:
                self.dispatch_shared(group, message)

    def _dispatch_retained(self, route: Route, message: Message) -> None:
        """As `dispatch_here` for the plain targets, with the retain flag as each asked [MQTT-3.3.1-12/13]."""
        copies: dict[int, Delivery] = {}
        for target in route.plain:
            granted = min(target.qos, message.qos)
            key = granted << 1 | target.retain_as_published
            copy = copies.get(key)
            if copy is None:
                copy = Delivery(message, granted, target.retain_as_published)
                copies[key] = copy
            target.session.deliver(copy)

    def dispatch_shared(self, group: SharedGroup, message: Message) -> None:
        """To the next member whose maximum packet size it fits; where it fits nobody's, the last drops it."""
        for left in range(len(group.members) - 1, -1, -1):
            member = group.choose(message.qos)
            self.work += COPY + group.looked
            if member is None:
                break
            retain = message.retain and member.retain_as_published
            identifiers = identifier_properties([member.identifier] if member.identifier else [])
            copy = Delivery(message, min(member.qos, message.qos), retain, identifiers, group)
            connection = member.session.connection
            if not left or connection is None or connection.takes(copy):
                member.session.deliver(copy)
                return
        self._node.dropped("", st.DROP_NO_MEMBER, message.topic, 1)

    def forward(
        self,
        route: Route,
        packets: bytes,
        count: int,
        largest: int,
        payload_bytes: int,
        level: int,
        origin: str,
    ) -> None:
        """Hand a run of `count` QoS 0 PUBLISH packets of one topic on as they came.

        `packets` are whole packets in `level`'s encoding (3 for 3.x, else 5) without properties;
        `largest` is the size of the biggest, `payload_bytes` that of all payloads. What cannot go out
        verbatim is sent message by message.
        """
        if self._node.strain >= DROP_QOS_0:
            self._node.dropped(origin, st.DROP_MEMORY, route.topic, count)
            return
        if route.bus:
            for payload in payloads(packets, len(route.raw_topic), level):
                self.dispatch(
                    route, Message(route.topic, payload, 0, False, b"", 0.0, origin, route.raw_topic)
                )
            return
        others: list[Target] | None = None
        self.work += len(route.plain) + COPY * count * len(route.special)
        for target in route.plain:
            connection = target.session.connection
            if connection is None:
                continue
            if connection.verbatim == level and largest <= connection.max_packet_out:
                connection.send_run(packets, count, payload_bytes, route.topic)
            elif others is None:
                others = [target]
            else:
                others.append(target)
        if others is None and not route.special and not route.groups:
            return
        for payload in payloads(packets, len(route.raw_topic), level):
            message = Message(route.topic, payload, 0, False, b"", 0.0, origin, route.raw_topic)
            if others is not None:
                self.work += COPY * len(others)
                copy = Delivery(message, 0)
                for target in others:
                    target.session.deliver(copy)
            for target in route.special:
                wanted = target.of(origin)
                if wanted is not None:
                    wanted.session.deliver(Delivery(message, 0, False, wanted.identifiers))
            for group in route.groups:
                self.dispatch_shared(group, message)


def _target(subscriptions: list[Subscription]) -> Target:
    """One client's matching subscriptions as one target: highest QoS, all identifiers."""
    local = [subscription for subscription in subscriptions if not subscription.no_local]
    target = _merged(subscriptions, len(local) == len(subscriptions))
    if local and not target.local:
        target.own = _merged(local, True)
    return target


def _merged(subscriptions: list[Subscription], local: bool) -> Target:
    first = subscriptions[0]
    qos = 0
    as_published = False
    identifiers: list[int] = []
    for subscription in subscriptions:
        qos = max(qos, subscription.qos)
        as_published = as_published or subscription.retain_as_published
        if subscription.identifier:
            identifiers.append(subscription.identifier)
    return Target(first.session, qos, local, as_published, identifier_properties(identifiers))


def payloads(packets: bytes, topic_size: int, level: int) -> list[bytes]:
    """The payloads of a run of QoS 0 PUBLISH packets without properties."""
    found: list[bytes] = []
    pos = 0
    skip = topic_size + (1 if level == 5 else 0)
    while pos < len(packets):
        length, start = wire.read_varint(packets, pos + 1, len(packets))
        pos = start + length
        found.append(packets[start + skip : pos])
    return found
