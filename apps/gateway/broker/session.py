"""A client's session (section 4.1): what outlives its connection, and the way messages go out to it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, cast

from apps.gateway.broker import limits as lim
from apps.gateway.broker import ports
from apps.gateway.broker import stats as st
from apps.gateway.broker.completion import PUBREL
from apps.gateway.broker.messages import OVERHEAD, Delivery, Message, identifier_properties
from apps.gateway.broker.topictree import levels_size
from apps.gateway.mqtt import reasons, topics
from apps.gateway.mqtt.errors import ProtocolError

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection
    from apps.gateway.broker.durable import Durable
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.ports import Acl
    from apps.gateway.broker.pressure import Crowd
    from apps.gateway.broker.remote import Remote
    from apps.gateway.broker.replay import Replay
    from apps.gateway.broker.shared import SharedGroup
    from apps.gateway.broker.subscribing import AclReview


MAX_DOUBTS: Final = 4096  # topics whose answer is remembered while a queue is looked through


class Subscription:
    """One client's subscription to one filter, with its options (section 3.8.3.1)."""

    __slots__ = (
        "client_id",
        "filter",
        "identifier",
        "known_kept",
        "no_local",
        "qos",
        "retain_as_published",
        "session",
        "share",
    )

    def __init__(
        self,
        session: Session,
        filter: str,
        share: str,
        qos: int,
        no_local: bool = False,
        retain_as_published: bool = False,
        identifier: int = 0,
    ) -> None:
        self.session = session
        self.client_id = session.client_id
        self.filter = filter  # without $share/<share>/
        self.share = share  # "" = not shared
        self.qos = qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.identifier = identifier  # 0 = none
        self.known_kept = False  # `kept`, as the other nodes have been told

    @property
    def kept(self) -> bool:
        """Does a cluster queue for it, wherever its client is? Then that chooses it of a shared one, too."""
        durable = self.session.durable
        return durable is not None and durable.remote and self.qos > 0

    @property
    def size(self) -> int:
        """Bytes to count against the node's budget."""
        return len(self.filter) + len(self.share) + OVERHEAD + levels_size(self.filter)

    @property
    def is_wild(self) -> bool:
        return "+" in self.filter or "#" in self.filter


class Session:
    """Subscriptions, the window of unacknowledged publishes each way, and the queue behind it.

    `unacked` keeps the order in which its deliveries were sent: they are repeated in that order
    [MQTT-4.6.0-1]. `held` counts the bytes of what is in flight and queued.
    """

    __slots__ = (
        "armed",
        "client_id",
        "connection",
        "created",
        "crowd",
        "doubts",
        "durable",
        "ended",
        "expires_at",
        "expiry_interval",
        "held",
        "incoming",
        "last_id",
        "node",
        "queue",
        "queue_bytes",
        "released",
        "repeats",
        "replay",
        "review",
        "subscriptions",
        "unacked",
        "username",
        "weight",
        "wildcards",
        "will",
        "will_acl",
        "will_at",
    )

    def __init__(self, node: Node, client_id: str, now: float) -> None:
        self.node = node
        self.client_id = client_id
        self.username: str | None = None
        self.weight = 0  # bytes of both names, counted against the node's budget
        self.created = now
        self.connection: Connection | None = None
        self.crowd: Crowd | None = None  # it is online, and its queue more than half full
        self.durable: Durable | None = None  # a store keeps the session
        self.subscriptions: dict[str, Subscription] = {}  # by the filter as the client wrote it
        self.wildcards = 0  # of them, those whose filter has one
        self.unacked: dict[int, Delivery] = {}  # sent, no PUBACK or PUBREC yet
        self.repeats: deque[int] | None = None  # of `unacked`, not yet sent again on this connection
        self.replay: Replay | None = None  # retained messages that it is still to get
        self.released: dict[int, None] = {}  # PUBREL sent, no PUBCOMP yet
        self.incoming: set[int] = set()  # QoS 2 received, no PUBREL yet
        self.queue: deque[Delivery] | None = None
        self.queue_bytes = 0  # the part of `held` that is queued
        self.held = 0
        self.last_id = 0
        self.expiry_interval = 0  # seconds after the connection's end
        self.expires_at = 0.0  # 0.0 = not counting down
        self.ended = False  # it is nobody's any more, and gets nothing
        self.review: AclReview | None = None  # its subscriptions are looked through, by new rights
        self.armed = 0.0  # when the timers look at it; 0.0 = not at all
        self.will: Message | None = None  # waiting for its delay interval
        self.will_at = 0.0
        self.will_acl: Acl | None = None  # of the connection that left it; None: not known
        # While what was queued before the client's rights changed is still there: topic -> may it have it?
        self.doubts: dict[str, bool] | None = None

    def add(self, name: str, subscription: Subscription) -> None:
        """`name`: the filter as the client wrote it. In the place of what it had under that."""
        if name not in self.subscriptions:
            self.wildcards += subscription.is_wild
        self.subscriptions[name] = subscription

    def take_out(self, name: str) -> Subscription | None:
        subscription = self.subscriptions.pop(name, None)
        if subscription is not None:
            self.wildcards -= subscription.is_wild
        return subscription

    # Delivery ------------------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        """Send now where the window and the wire allow it, else queue (QoS 0: only ever send)."""
        connection = self.connection
        if delivery.qos == 0:
            if connection is not None:
                connection.send_qos0(delivery)
            return
        if self.durable is not None:
            self.durable.deliver(delivery)
        elif connection is None or not self.may_send(delivery):
            self.enqueue(delivery)
        elif connection.fits(delivery):
            connection.send_publish(delivery, self.take_identifier(delivery), False)

    def deliver_retained(self, subscription: Subscription, message: Message) -> None:
        """A retained message that a new subscription matches [MQTT-3.3.1-8]."""
        if subscription.no_local and message.origin == self.client_id:
            return
        identifiers = identifier_properties([subscription.identifier] if subscription.identifier else [])
        self.deliver(Delivery(message, min(subscription.qos, message.qos), True, identifiers))

    def may_send(self, delivery: Delivery) -> bool:
        """Is there room for the message in the window and in the budgets, and nothing before it?"""
        node = self.node
        size = delivery.size
        return (
            self.has_room()
            and self.held + size <= node.limits.max_queued_bytes
            and node.stats.held + size <= node.limits.node_bytes
        )

    def take_identifier(self, delivery: Delivery) -> int:
        """Put the message in flight under the next free packet identifier."""
        packet_id = self.last_id
        while True:  # ends: the window is smaller than the number of identifiers
            packet_id = packet_id + 1 if packet_id < 65_535 else 1
            if packet_id not in self.unacked and packet_id not in self.released:
                break
        self.last_id = packet_id
        self.put_in_flight(packet_id, delivery)
        return packet_id

    def put_in_flight(self, packet_id: int, delivery: Delivery) -> None:
        self.unacked[packet_id] = delivery
        self.held += delivery.size
        self.node.stats.held += delivery.size

    def enqueue(self, delivery: Delivery) -> None:
        """Queue within the limits, or drop by the configured policy, counted."""
        if self.ended:  # its subscriptions are just leaving the trie
            return
        node = self.node
        limits = node.limits
        size = delivery.size
        queue = self.queue
        policy = limits.queue_full_policy
        while (
            self.held + size > limits.max_queued_bytes
            or node.stats.held + size > limits.node_bytes
            or (queue is not None and len(queue) >= limits.max_queued_messages)
        ):
            node_has_room = node.stats.held + size <= limits.node_bytes
            reason = st.DROP_QUEUE if node_has_room else st.DROP_NODE
            if policy == lim.DROP_OLDEST and queue and self._can_hold(size):
                self._forget(queue.popleft(), reason)
                continue
            self.node.dropped(self.client_id, reason, delivery.message.topic, 1)
            if self.connection is not None:
                node.overflows += 1
            if policy == lim.DISCONNECT and self.connection is not None:
                self.connection.close_later(reasons.QUOTA_EXCEEDED)
            if not queue:
                self.queue = None
            return
        if queue is None:
            queue = deque()
            self.queue = queue
            node.observer.changed(self.client_id)
        if not delivery.queued_at:
            delivery.queued_at = node.now
        self.append(delivery)
        if self.connection is not None and self.fill > lim.HALF:
            node.pressure.rise(self, node.now)

    @property
    def fill(self) -> int:
        """How full it is, of `limits.FULL`: by bytes or by messages, whichever is more."""
        limits = self.node.limits
        size, count = self.held, self.backlog
        if self.durable is not None:
            size += self.durable.cold_bytes
        most = max(limits.max_queued_messages, lim.FEW)
        return max(size * lim.FULL // limits.max_queued_bytes, count * lim.FULL // most)

    def append(self, delivery: Delivery) -> None:
        """Queue in memory what the limits allow."""
        queue = self.queue
        if queue is None:
            queue = deque()
            self.queue = queue
        queue.append(delivery)
        size = delivery.size
        self.queue_bytes += size
        self.node.stats.queued += 1
        self.held += size
        self.node.stats.held += size

    def drop_first(self, reason: str) -> None:
        """Drop the oldest of what is queued in memory."""
        queue = self.queue
        if queue is not None:
            self._forget(queue.popleft(), reason)
            if not queue:
                self.queue = None

    def delete_at(self, place: int) -> None:
        """Take one out of the queue in memory."""
        queue = self.queue
        if queue is not None:
            self._unqueue(queue[place])
            del queue[place]
            if not queue:
                self.queue = None

    def empty_queue(self) -> None:
        """Nothing of the queue is in memory any more."""
        queue = self.queue
        if queue is not None:
            self.queue = None
            for delivery in queue:
                self._unqueue(delivery)

    def _can_hold(self, size: int) -> bool:
        """Would the message fit if nothing else were queued?"""
        limits = self.node.limits
        if self.held - self.queue_bytes + size > limits.max_queued_bytes:
            return False
        return self.node.stats.held - self.queue_bytes + size <= limits.node_bytes

    def _unqueue(self, delivery: Delivery) -> None:
        self.queue_bytes -= delivery.size
        self.held -= delivery.size
        self.node.stats.held -= delivery.size
        self.node.stats.queued -= 1

    def _forget(self, delivery: Delivery, reason: str) -> None:
        self._unqueue(delivery)
        self.node.dropped(self.client_id, reason, delivery.message.topic, 1)

    def pump(self, now: float) -> None:
        """Move to the wire what the window allows: what is to be sent again, then from the queue."""
        connection = self.connection
        if self.repeats is not None and connection is not None:
            self._repeat(connection, self.repeats)
        queue = self.queue
        durable = self.durable
        if connection is None:
            return
        if self.replay is not None:
            self.replay.wake()
        if self.crowd is not None and self.fill < lim.QUARTER:
            self.node.pressure.fall(self)
        if queue is None:
            self._looked_through()
            if durable is not None:
                durable.page()
            return
        while (
            queue and not connection.congested and len(self.unacked) + len(self.released) < connection.window
        ):
            delivery = queue.popleft()
            seq = durable.order.popleft() if durable is not None else 0
            if delivery.message.expires and delivery.message.expires <= now:
                self._forget(delivery, st.DROP_EXPIRED)  # [MQTT-3.3.2-5]
                if durable is not None:
                    durable.forget(seq)
                continue
            if self.doubts is not None and not self._may_have(delivery):
                self._forget(delivery, st.DROP_REVOKED)
                if durable is not None:
                    durable.forget(seq)
                continue
            self._unqueue(delivery)
            if not connection.fits(delivery):
                if durable is not None:
                    durable.forget(seq)
            elif durable is not None:
                durable.send_queued(connection, delivery, seq)
            else:
                connection.send_publish(delivery, self.take_identifier(delivery), False)
        if not queue:
            self.queue = None
            self._looked_through()
        if durable is not None:
            durable.page()

    # Rights that changed --------------------------------------------------------------------------

    def doubt(self) -> None:
        """The client's rights changed: ask again for what waits, when its turn comes."""
        self.doubts = {} if self.queue is not None or self.durable is not None else None

    def drop_denied(self) -> None:
        """The client is back: what was in flight and it may no longer have is not sent again."""
        for packet_id in list(self.unacked):
            delivery = self.unacked[packet_id]
            if not self._may_have(delivery):
                self.acknowledge(packet_id, 0)
                self.node.dropped(self.client_id, st.DROP_REVOKED, delivery.message.topic, 1)

    def _looked_through(self) -> None:
        if self.doubts is not None and (self.durable is None or not self.durable.cold):
            self.doubts = None

    def _may_have(self, delivery: Delivery) -> bool:
        """May the client, by its rights of now, subscribe to the message's topic?"""
        doubts = self.doubts
        topic = delivery.message.topic
        known = doubts.get(topic) if doubts is not None else None
        if known is None:
            known = self._reads(topic)
            if doubts is not None:
                if len(doubts) >= MAX_DOUBTS:
                    doubts.clear()
                doubts[topic] = known
        return known

    def _reads(self, topic: str) -> bool:
        connection = self.connection
        acl = connection.acl if connection is not None else None
        if acl is None:
            return False
        answer = acl.subscribe(topic, 0)
        if answer != ports.UNKNOWN:
            return answer >= 0
        # Nobody can be waited for here; the subscriptions that are left have been asked about.
        for subscription in self.subscriptions.values():  # noqa: SIM110 - mypyc compiles a loop better
            if topics.matches(subscription.filter, topic):
                return True
        return False

    @property
    def backlog(self) -> int:
        """Messages that are queued, in memory or not."""
        if self.durable is not None:
            return self.durable.queued
        return len(self.queue) if self.queue is not None else 0

    @property
    def backlog_bytes(self) -> int:
        return self.queue_bytes + (self.durable.cold_bytes if self.durable is not None else 0)

    def has_room(self) -> bool:
        """Would a message go out at once?"""
        connection = self.connection
        return (
            connection is not None
            and self.queue is None
            and not connection.congested
            and len(self.unacked) + len(self.released) < connection.window
        )

    def acknowledge(self, packet_id: int, qos: int) -> bool:
        """PUBACK (`qos` 1) or a refusing PUBREC (2) came; `qos` 0: we give up.

        False: no such packet identifier.
        """
        if not self._take_back(packet_id, qos):
            return False
        if self.durable is not None:
            self.durable.remove(packet_id)
        return True

    def _take_back(self, packet_id: int, qos: int) -> bool:
        delivery = self.unacked.get(packet_id)
        if delivery is None:
            return False
        if qos and delivery.qos != qos:  # section 4.3: it would end a message that was not received
            raise ProtocolError(f"acknowledged as QoS {qos}, sent at QoS {delivery.qos}")
        del self.unacked[packet_id]
        self.held -= delivery.size
        self.node.stats.held -= delivery.size
        return True

    def release(self, packet_id: int) -> bool:
        """PUBREC came: the message is the client's, only the identifier is still taken."""
        if not self._take_back(packet_id, 2):
            return packet_id in self.released
        self.released[packet_id] = None
        if self.durable is not None:
            self.durable.released(packet_id)
        return True

    def complete(self, packet_id: int) -> None:
        """PUBCOMP came: the identifier is free."""
        if packet_id in self.released:
            del self.released[packet_id]
            if self.durable is not None:
                self.durable.remove(packet_id)

    def take_in(self, packet_id: int) -> None:
        """A QoS 2 message came under this identifier: it is known until its PUBREL."""
        self.incoming.add(packet_id)
        if self.durable is not None:
            self.durable.store.incoming(self.durable, packet_id, True)

    def let_go(self, packet_id: int) -> None:
        """The identifier of an incoming QoS 2 message is free again."""
        self.incoming.discard(packet_id)
        if self.exactly_once:
            cast("Remote", self.durable).is_free(packet_id)
        if self.durable is not None:
            self.durable.store.incoming(self.durable, packet_id, False)

    @property
    def exactly_once(self) -> bool:
        """Is what a QoS 2 message of the client's is known by stored before it is handed on?"""
        return self.durable is not None and self.durable.remote

    def barrier(self) -> None:
        """What this loop turn acknowledges must wait for what is being stored already."""
        if self.durable is not None:
            self.durable.store.barrier()

    def resend(self, now: float) -> None:
        """After a reconnect: everything in flight again, in its order [MQTT-4.4.0-1]."""
        connection = self.connection
        if connection is None:
            return
        durable = self.durable
        if durable is not None and self.released:
            durable.store.barrier()
        for packet_id in self.released:
            connection.acknowledge(PUBREL, packet_id, 0)
        self.repeats = None
        for packet_id in self.unacked:
            if durable is None or packet_id not in durable.uncommitted:
                self.repeat_later(packet_id)
        self.pump(now)

    def repeat_later(self, packet_id: int) -> None:
        """Send what is in flight again as soon as the window and the wire allow it."""
        if self.repeats is None:
            self.repeats = deque()
        self.repeats.append(packet_id)

    def _repeat(self, connection: Connection, repeats: deque[int]) -> None:
        """Send again what the window allows: this connection's may be smaller [MQTT-3.3.4-9]."""
        while repeats and not connection.congested:
            if len(self.unacked) - len(repeats) + len(self.released) >= connection.window:
                return
            packet_id = repeats.popleft()
            delivery = self.unacked.get(packet_id)
            if delivery is None:
                continue  # acknowledged on the strength of the connection before
            if connection.fits(delivery):
                connection.send_publish(delivery, packet_id, True)
            else:
                self.acknowledge(packet_id, 0)
        if not repeats:
            self.repeats = None

    # End -----------------------------------------------------------------------------------------

    def give_up_shared(self, ending: bool) -> list[Delivery]:
        """Take out what another member of a shared subscription can get instead (section 4.8.2).

        Queued copies and those sent at QoS 1; a QoS 2 copy once sent belongs to this client
        [MQTT-4.8.2-5]. While the session lives (not `ending`), only where another member is online.
        """
        given: list[Delivery] = []
        groups: dict[SharedGroup, bool] = {}
        for packet_id in list(self.unacked):
            delivery = self.unacked[packet_id]
            if delivery.qos == 1 and _passes_on(delivery, ending, groups):
                self.acknowledge(packet_id, 0)
                given.append(delivery)
        if self.queue is not None:
            kept: deque[Delivery] = deque()
            durable = self.durable
            for delivery in self.queue:
                seq = durable.order.popleft() if durable is not None else 0
                if _passes_on(delivery, ending, groups):
                    self._unqueue(delivery)
                    given.append(delivery)
                    if durable is not None:
                        durable.forget(seq)
                else:
                    kept.append(delivery)
                    if durable is not None:
                        durable.order.append(seq)
            self.queue = kept or None
        return given

    def purge(self) -> int:
        """Drop what is queued, not what is in flight; answers how many messages that was."""
        count = 0
        durable = self.durable
        topics: dict[str, int] = {}
        for delivery in self.queue or ():
            count += 1
            topic = delivery.message.topic
            topics[topic] = topics.get(topic, 0) + 1
            if durable is not None:
                durable.forget(durable.order.popleft())
        self.empty_queue()
        for topic, dropped in topics.items():
            self.node.dropped(self.client_id, st.DROP_PURGED, topic, dropped)
        if durable is not None:
            count += durable.purge()
        if count:
            self.node.observer.changed(self.client_id)
        return count

    def discard(self) -> None:
        """The session ends: what it still holds is dropped and counted."""
        self.ended = True
        lost = len(self.unacked) + (len(self.queue) if self.queue is not None else 0)
        if self.durable is not None:
            lost += self.durable.end()
            self.durable = None
        if lost:
            self.node.dropped(self.client_id, st.DROP_SESSION, "", lost)
        self._clear()

    def leave(self) -> None:
        """The session goes on elsewhere."""
        self.ended = True
        if self.durable is not None:
            self.durable.leave()
            self.durable = None
        self._clear()

    def _clear(self) -> None:
        self.node.replays.end(self)
        self.review = None
        self.node.pressure.fall(self)
        self.node.stats.held -= self.held
        self.node.stats.queued -= len(self.queue) if self.queue is not None else 0
        self.held = 0
        self.queue_bytes = 0
        self.unacked.clear()
        self.repeats = None
        self.released.clear()
        self.incoming.clear()
        self.queue = None


def _passes_on(delivery: Delivery, ending: bool, groups: dict[SharedGroup, bool]) -> bool:
    """Can another member have this copy? `groups` remembers the answers."""
    group = delivery.group
    if group is None or ending:
        return group is not None
    known = groups.get(group)
    if known is None:
        known = group.anybody()
        groups[group] = known
    return known
