"""One node: its sessions, who is connected, what happens when a connection comes and goes.

The node owns the parts (`router`, `retained`, `timers`, `stats`) and the one list of connections that
have something to send. It has no loop and no clock: the server calls `flush` when `wake` asked for it
and `tick` about twice a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from apps.gateway.broker import closing, ports, systopics
from apps.gateway.broker.chores import FEW, Chores, Expiring, Forgetting, HandingOver, Unsubscribing
from apps.gateway.broker.completion import Completion
from apps.gateway.broker.drain import Drain
from apps.gateway.broker.histogram import Timed
from apps.gateway.broker.limits import Limits
from apps.gateway.broker.messages import Delivery, Message
from apps.gateway.broker.pressure import Pressure
from apps.gateway.broker.replay import Replays
from apps.gateway.broker.retained import RetainedStore
from apps.gateway.broker.routing import OVERFLOW, Router
from apps.gateway.broker.session import Session, Subscription
from apps.gateway.broker.states import CLOSED, CONNECTED
from apps.gateway.broker.stats import DROP_CLUSTER, DROP_DENIED, DROP_RETAINED, Stats
from apps.gateway.broker.timers import Timers
from apps.gateway.mqtt import reasons, topics
from apps.gateway.mqtt.reasons import QUOTA_EXCEEDED

if TYPE_CHECKING:
    from collections.abc import Collection

    from apps.gateway.broker.connection import Connection
    from apps.gateway.broker.outbound import Outbound
    from apps.gateway.broker.ports import (
        Acl,
        ConnectRequest,
        MessageBus,
        Observer,
        SessionOwnership,
        SessionStore,
        Tracer,
        Verdict,
    )

DENIED: Final = 250  # what it costs to record a denial, in units of `Router.work`
NEVER: Final = 0xFFFFFFFF  # session expiry interval: the session does not expire


class Node:
    def __init__(
        self,
        name: str,
        version: str,
        limits: Limits,
        observer: Observer,
        wake: Callable[[], None],
        assign: Callable[[], str],
        now: float,
        sys_interval: float = 10.0,
    ) -> None:
        """`wake` is called when there is output to flush; `assign` makes up client identifiers."""
        self.name = name
        self.version = version
        self.limits = limits
        self.observer = observer
        self.bus: MessageBus | None = None  # set before the node listens; None: it is alone
        self.ownership: SessionOwnership | None = None  # as `bus`
        self.store: SessionStore | None = None  # as `bus`; None: sessions are lost with the process
        self.tracer: Tracer | None = None
        # Finds out whether a will may still be published, and calls `settle_will`; None: nobody to ask.
        self.ask_will: Callable[[Message, Acl | None], None] | None = None
        self.drain: Drain | None = None  # the node is being emptied
        self.open_completion: Completion | None = None  # of this loop turn
        self.now = now
        self.stats = Stats(now)
        self.router = Router(self, limits.route_cache)
        self.retained = RetainedStore(limits.max_retained_messages, limits.max_retained_bytes)
        self.replays = Replays(self)
        self.chores = Chores(self)
        self._expiring = Expiring(self)
        self.pressure = Pressure()
        self.overflows = 0  # messages dropped because the queue of a client that is online was full
        self.sessions: dict[str, Session] = {}
        self.timers = Timers(self)
        self.closing = False
        self._wake = wake
        self._awake = False  # a flush is on its way
        self._assign = assign
        self.clock: Callable[[], float] | None = None  # monotonic seconds, for durations; None: not measured
        self.loads = systopics.Loads(self.stats)
        self._sys_interval = sys_interval
        self._sys_next = now
        self._dirty: list[Outbound] = []
        self._to_close: list[Outbound] = []
        self._throttled: list[Connection] = []
        self._admitted = 0.0  # CONNECTs let in by the rate limit, as a bucket that empties with time
        self._admitted_at = now

    # Connections ------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """A transport came up: its CONNECT has `connect_timeout` seconds."""
        self.timers.watch(connection, self.now)

    def assign_client_id(self) -> str:
        return self._assign()

    def full(self, client_id: str) -> bool:
        """Is there no place for one more connection? A client that comes again takes its old one's."""
        if self.stats.connections < self.limits.max_connections:
            return False
        session = self.sessions.get(client_id)
        return session is None or session.connection is None

    def admit(self, client_id: str, now: float) -> int:
        """0, or the reason why the client cannot be let in now."""
        limits = self.limits
        if self.closing:
            return reasons.SERVER_SHUTTING_DOWN
        if self.drain is not None:
            return reasons.USE_ANOTHER_SERVER
        if self.full(client_id):
            return reasons.SERVER_BUSY
        if limits.connect_rate:
            elapsed = max(now - self._admitted_at, 0.0)
            self._admitted = max(self._admitted - elapsed * limits.connect_rate, 0.0)
            self._admitted_at = now
            if self._admitted >= limits.connect_rate:
                return reasons.CONNECTION_RATE_EXCEEDED
            self._admitted += 1.0
        return reasons.SUCCESS

    def attach(self, connection: Connection, clean_start: bool, expiry_interval: int, now: float) -> bool:
        """Give an accepted client its session; True: one it had before [MQTT-3.1.2-4] to [MQTT-3.1.2-6]."""
        client_id = connection.client_id
        session = self.sessions.get(client_id)
        if session is not None and session.expires_at and session.expires_at <= now:
            self.session_due(session, now)
            session = self.sessions.get(client_id)
        if session is not None and session.connection is not None:
            text = "another connection has taken over this client identifier"
            closing.close(session.connection, reasons.SESSION_TAKEN_OVER, text, now)  # [MQTT-3.1.4-3]
            session = self.sessions.get(client_id)
        if session is not None and clean_start:
            self.end_session(session, now)
            session = None
        present = session is not None
        store = self.store
        if session is None:
            session = Session(self, client_id, now)
            self.sessions[client_id] = session
            if store is not None and expiry_interval:
                session.durable = store.begin(session)
        session.connection = connection
        session.username = connection.username
        weight = connection.weight
        self.stats.held += weight - session.weight
        session.weight = weight
        session.expiry_interval = expiry_interval
        session.expires_at = 0.0
        if session.will is not None:  # a delayed will is off when the client is back [MQTT-3.1.3-9]
            self.cancel_will(client_id, session.will)
            session.will = None
        if store is not None:
            if session.durable is not None:
                store.save(session)
                session.durable.attached()
            if connection.will is not None:
                store.will(client_id, connection.will, connection.will_delay, 0.0)
        connection.session = session
        self._present(session, True)
        connection.clean_start = clean_start
        connection.state = CONNECTED
        stats = self.stats
        stats.connects += 1
        stats.connections += 1
        if stats.connections > stats.max_connections:
            stats.max_connections = stats.connections
        self.observer.connected(client_id, connection.username, connection.peer, connection.level)
        return present

    def detach(self, connection: Connection, reason: int, text: str, now: float) -> None:
        """A connection ended: its will, and what becomes of its session."""
        session = connection.session
        if session is None:  # it never was let in
            return
        connection.session = None
        session.connection = None
        self.pressure.fall(session)
        self._present(session, False)
        self.stats.connections -= 1
        self.stats.disconnects += 1
        self.observer.disconnected(session.client_id, reason, text)
        if self.ownership is not None:
            self.ownership.changed(session.client_id)
        will = connection.will
        connection.will = None
        if will is not None and connection.will_delay and session.expiry_interval:
            session.will = will
            session.will_acl = connection.acl
            session.will_at = now + connection.will_delay
            self.timers.at(session.will_at, session)
            if self.store is not None:
                self.store.will(session.client_id, will, connection.will_delay, session.will_at)
        elif will is not None:
            self.publish_will(will, now, connection.acl, True)
        if not session.expiry_interval:
            self.end_session(session, now)
            return
        if session.expiry_interval != NEVER:
            session.expires_at = now + session.expiry_interval
            self.timers.at(session.expires_at, session)
        self._hand_over(session.give_up_shared(False))
        durable = session.durable
        if durable is not None:
            durable.go_cold()
            durable.store.save(session)

    def _present(self, session: Session, here: bool) -> None:
        if self.bus is not None:
            for subscription in session.subscriptions.values():
                if subscription.share:
                    self.router.present(subscription, here)

    def end_session(self, session: Session, now: float) -> None:
        """Forget a session whose connection is gone [MQTT-3.1.2-23]."""
        self.sessions.pop(session.client_id, None)
        given = session.give_up_shared(True)
        session.ended = True
        self._unsubscribe_all(session)
        self.uncount_bytes(session.weight)
        self._hand_over(given)
        session.discard()
        self.observer.changed(session.client_id)
        if self.ownership is not None:
            self.ownership.changed(session.client_id)
        will = session.will
        if will is not None:  # at the session's end at the latest [MQTT-3.1.2-8]
            session.will = None
            self.publish_will(will, now, session.will_acl)

    def _unsubscribe_all(self, session: Session) -> None:
        """At once where they are few; else it gets nothing by them from now on."""
        subscriptions = list(session.subscriptions.values())
        session.subscriptions = {}
        session.wildcards = 0
        if len(subscriptions) > FEW:
            self.chores.add(Unsubscribing(self, subscriptions))
            return
        for subscription in subscriptions:
            self.unsubscribe(subscription)

    def _hand_over(self, given: list[Delivery]) -> None:
        """What a member of a shared subscription leaves goes to the others."""
        if len(given) > FEW:
            self.chores.add(HandingOver(self, given))
            return
        for delivery in given:
            if delivery.group is not None:
                self.router.dispatch_shared(delivery.group, delivery.message)

    def forget_routes(self, connection: Connection) -> None:
        """The routes that an ended connection has caused."""
        charge = connection.charge
        connection.charge = None
        if charge is None:
            return
        if len(charge.routes) > FEW:
            self.chores.add(Forgetting(self, charge))
        else:
            self.router.forget_some(charge, FEW)

    def park(self, session: Session, force: bool) -> None:
        """A cluster keeps the session of a client that is not here: it leaves the memory of this node.

        Unless this node still has to publish a delayed will; `force`: another node does that now.
        """
        client_id = session.client_id
        if session.connection is not None or self.sessions.get(client_id) is not session:
            return
        if not force and session.will is not None:
            return
        del self.sessions[client_id]
        self._unsubscribe_all(session)
        if session.will is not None:
            self.uncount_bytes(session.will.size)
            session.will = None
        self.uncount_bytes(session.weight)
        session.leave()
        if self.ownership is not None:
            self.ownership.changed(client_id)

    def session_due(self, session: Session, now: float) -> None:
        """A time that the session set has come."""
        if session.connection is not None or self.sessions.get(session.client_id) is not session:
            return
        will = session.will
        if will is not None and session.will_at <= now:
            session.will = None
            self.publish_will(will, now, session.will_acl)
            if self.ownership is not None:
                self.ownership.changed(session.client_id)
        if session.expires_at and session.expires_at <= now:
            self.stats.sessions_expired += 1
            self.end_session(session, now)
            return
        if session.will is not None:
            self.timers.at(session.will_at, session)
        if session.expires_at:
            self.timers.at(session.expires_at, session)

    def kick(self, client_id: str, reason: int, text: str, now: float, revoked: bool = False) -> bool:
        """Disconnect a client; False: it is not connected here.

        `revoked`: it may no longer be here at all, so its will is not published either.
        """
        session = self.sessions.get(client_id)
        if session is None or session.connection is None:
            return False
        will = session.connection.will
        if revoked and will is not None:
            session.connection.will = None
            self.cancel_will(client_id, will)
            self.dropped(client_id, DROP_DENIED, will.topic, 1)
        closing.close(session.connection, reason, text, now)
        return True

    def start_drain(self, rate: int, reference: str, now: float) -> None:
        """Let nobody in any more, and disconnect `rate` clients a second; `drain = None` calls it off."""
        self.drain = Drain(self, rate, reference, now)

    def forget(self, client_id: str, now: float) -> None:
        """End a client's session, and its connection if it has one."""
        session = self.sessions.get(client_id)
        if session is None:
            return
        session.expiry_interval = 0
        if session.connection is not None:
            text = "the session was removed"
            closing.close(session.connection, reasons.ADMINISTRATIVE_ACTION, text, now)
        else:
            self.end_session(session, now)

    def expire_at(self, connection: Connection, when: float | None) -> None:
        """The client's credentials end at `when` (UNIX seconds; None: they do not)."""
        connection.expires_at = when if when is not None else 0.0
        self.timers.watch(connection, self.now)

    # Messages ---------------------------------------------------------------------------------------

    def publish(self, message: Message) -> bool:
        """Publish for the node itself; False: nobody is subscribed."""
        if message.retain:
            self.retain(message)
        route = self.router.route(message.topic)
        if self.router.dispatch(route, message) == QUOTA_EXCEEDED:
            self.dropped("", DROP_CLUSTER, message.topic, 1)
        return not route.empty

    def submit(self, message: Message) -> tuple[int, Completion | None]:
        """Publish for somebody who wants to know what became of it.

        Answers success, "no matching subscribers" or the reason why it was not taken; and the completion that
        says when it is durable, where there is one.
        """
        if message.retain and not self.retain(message):
            return QUOTA_EXCEEDED, None
        reason = self.router.dispatch(self.router.route(message.topic), message)
        return QUOTA_EXCEEDED if reason == OVERFLOW else reason, self.open_completion

    def inject(self, message: Message, shares: Collection[str] | None = None) -> bool:
        """A message from outside, for this node's subscribers; False: nobody is subscribed here.

        `shares` are the shared subscriptions ("<share name>/<filter>") that this node serves, None: all.
        What is retained came by `keep`.
        """
        route = self.router.route(message.topic)
        self.router.dispatch_here(route, message, shares)
        return bool(route.plain or route.special or route.groups)

    def bus_changed(self, filter: str | None) -> None:
        """Other nodes want something else than before of what `filter` matches; None: of anything."""
        self.router.outdate(filter)

    def completion(self) -> Completion:
        """The completion of this loop turn: hold it for what must be durable before it is acknowledged."""
        if self.open_completion is None:
            self.open_completion = Completion()
            if self.clock is not None:
                self.open_completion.then(Timed(self.stats.ack_seconds, self.clock))
            self.rouse()
        return self.open_completion

    def cancel_will(self, client_id: str, will: Message) -> None:
        """A will is off, or it is published now."""
        self.uncount_bytes(will.size)
        if self.store is not None:
            self.store.will(client_id, None, 0, 0.0)

    def publish_will(self, will: Message, now: float, acl: Acl | None = None, current: bool = False) -> None:
        """Publish a will, if its client still may.

        `acl` is the client's; `current`: of a connection that is open until now, and so kept up to date.
        """
        self.cancel_will(will.origin, will)
        if systopics.is_bridge_state(will.topic, will.origin):  # no ACL knows it
            self.settle_will(will, ports.PUBLISH_ALL, now)
            return
        grant = acl.publish(will.topic) if acl is not None else ports.UNKNOWN
        if self.ask_will is not None and (not current or grant == ports.UNKNOWN):
            self.ask_will(will, acl)
        else:  # where nobody can be asked what was decided at CONNECT stands
            self.settle_will(will, ports.PUBLISH_ALL if grant == ports.UNKNOWN else grant, now)

    def settle_will(self, will: Message, grant: int, now: float) -> None:
        """Its client may publish `grant` to the will's topic now."""
        if not ports.granted(will, grant):
            self.dropped(will.origin, DROP_DENIED, will.topic, 1)
            return
        if will.expires:  # until now a lifetime, not a time
            will.expires += now
        self.publish(will)

    def count_bytes(self, size: int) -> bool:
        """Count bytes that a client makes the node keep; False: the node's budget is used up."""
        if self.stats.held + size > self.limits.node_bytes:
            return False
        self.stats.held += size
        return True

    def uncount_bytes(self, size: int) -> None:
        self.stats.held -= size

    def unsubscribe(self, subscription: Subscription) -> None:
        self.uncount_bytes(subscription.size)
        self.router.unsubscribe(subscription)

    def keep(self, message: Message) -> bool:
        """Keep the topic's last message, which came from outside; False: no room, counted."""
        if self._keep(message, True):
            return True
        self.dropped("", DROP_RETAINED, message.topic, 1)
        return False

    def retain(self, message: Message) -> bool:
        """Keep the topic's last message, here and on every node; False: no room, counted."""
        if self._keep(message, False):
            if self.bus is None:
                return True
            completion = self.completion() if message.qos else None
            if not self.bus.retain(message, completion):
                return True
        self.dropped("", DROP_RETAINED, message.topic, 1)
        return False

    def _keep(self, message: Message, known: bool) -> bool:
        store = self.store
        if store is not None and store.own and message.qos and store.full:
            return False
        if not self.retained.keep(message, known):
            return False
        if store is not None and not topics.is_system(message.topic):
            store.retain(message)
        return True

    @property
    def store_full(self) -> bool:
        return self.store is not None and self.store.full

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None:
        """Every message that is dropped passes here."""
        self.stats.drops[reason] += count
        self.observer.dropped(client_id, reason, topic, count)

    def denied(self, connection: Connection, action: str, topic: str) -> None:
        self.router.work += DENIED
        self.observer.denied(connection.client_id, connection.username, connection.peer, action, topic)

    def refused(self, request: ConnectRequest, verdict: Verdict) -> None:
        self.observer.refused(request, verdict.reason, verdict.reason_string or reasons.name(verdict.reason))

    # Output -----------------------------------------------------------------------------------------

    def touch(self, connection: Outbound) -> None:
        """The connection has its first output of this loop turn."""
        if not self._dirty:
            self.rouse()
        self._dirty.append(connection)

    def rouse(self) -> None:
        """Have `flush` called at the end of this loop turn."""
        if not self._awake:
            self._awake = True
            self._wake()

    def close_completion(self) -> None:
        """The loop turn is over."""
        completion = self.open_completion
        if completion is not None:
            self.open_completion = None
            completion.close()

    def close_later(self, connection: Outbound) -> None:
        """Close the connection, with the reason in `close_reason`, when no dispatch is under way."""
        self.rouse()
        self._to_close.append(connection)

    def flush(self) -> None:
        """One write for each connection that has output."""
        if not self.replays.is_idle:
            self.replays.run()
        if not self.chores.is_idle:
            self.chores.run()
        self._awake = False
        if self.store is not None:
            self.store.flush()
        self.close_completion()
        dirty = self._dirty
        self._dirty = []
        for connection in dirty:
            connection.flush()
        if self._to_close:
            to_close = self._to_close
            self._to_close = []
            for closing_connection in to_close:
                text = "more output is waiting than allowed"
                closing.close(
                    cast("Connection", closing_connection), closing_connection.close_reason, text, self.now
                )
        if not self.replays.is_idle or not self.chores.is_idle:
            self.rouse()

    # Time -------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        self.now = now
        self.timers.run(now)
        if self.retained.expire(now, FEW) == FEW and not self._expiring.is_due:
            self._expiring.is_due = True
            self.chores.add(self._expiring)
        self.replays.retry()
        self.pressure.tick(now)
        if self._throttled:
            self._refill(now)
        if self.drain is not None:
            self.drain.run(now)
        if self.tracer is not None:
            self.tracer.tick(now)
        if self._sys_interval and now >= self._sys_next:
            self._sys_next = now + self._sys_interval
            systopics.publish(self, now)

    def throttle(self, connection: Connection) -> None:
        """The connection spent more than its publish rate; `tick` pays it back."""
        if not connection.throttled:
            connection.throttled = True
            self._throttled.append(connection)

    def _refill(self, now: float) -> None:
        """A client that spent n publishes too many waits n / rate seconds."""
        rate = self.limits.publish_rate
        still: list[Connection] = []
        for connection in self._throttled:
            if connection.state == CLOSED:
                continue
            connection.tokens += (now - connection.refilled) * rate
            connection.refilled = now
            if connection.tokens < 0.0:
                still.append(connection)
                continue
            connection.throttled = False
            connection.tokens = min(connection.tokens, float(rate))
            connection.read_on()
        self._throttled = still

    def shut_down(self, now: float) -> None:
        """Say goodbye to every client; wills are published by the rules of a lost connection."""
        self.closing = True
        for session in list(self.sessions.values()):
            if session.connection is not None:
                closing.close(session.connection, reasons.SERVER_SHUTTING_DOWN, "", now)
        self.flush()
