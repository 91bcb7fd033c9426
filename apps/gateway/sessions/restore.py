"""From the file into a node that starts: sessions, subscriptions, what is in flight, retained, wills."""

from __future__ import annotations

from apps.gateway.broker import stats as st
from apps.gateway.broker.durable import RELEASED, Durable
from apps.gateway.broker.messages import Delivery
from apps.gateway.broker.node import NEVER, Node
from apps.gateway.broker.ports import SessionStore
from apps.gateway.broker.session import Session, Subscription
from apps.gateway.sessions.database import Database


def everything(database: Database, node: Node, now: float) -> None:
    """Queues come back as counts only. Clients that were connected count as lost just now."""
    store = node.store
    if store is None:
        return
    for message in database.retained(now):
        node.retained.keep(message)
    sessions: dict[int, Session] = {}
    waiting, newest = database.waiting(), database.newest()
    for key, client_id, username, created, expiry, expires_at, online in database.sessions():
        if not expiry:  # it would have ended with its connection
            store.end(key)
            continue
        session = _session(node, store, key, client_id, username, created)
        session.expiry_interval = expiry
        session.expires_at = expires_at
        if online and expiry != NEVER:
            session.expires_at = now + expiry
        if session.expires_at:
            node.timers.at(session.expires_at, session)
        sessions[key] = session
        durable = session.durable
        if durable is None:
            continue
        for row in database.subscriptions(key):
            _subscribe(node, session, *row)
        session.incoming.update(database.incoming(key))
        durable.last_seq = newest.get(key, 0)
        if key in waiting:
            durable.cold, durable.cold_bytes = waiting[key].count, waiting[key].size
            node.stats.queued += durable.cold
        if online:
            store.save(session)
        node.observer.changed(client_id)
    for key, seq, packet_id, state, delivery in database.in_flight():
        if key in sessions:
            _in_flight(sessions[key], seq, packet_id, state == RELEASED, delivery)
    _wills(database, node, now)


def _session(
    node: Node, store: SessionStore, key: int, client_id: str, username: str | None, created: float
) -> Session:
    session = Session(node, client_id, created)
    session.username = username
    session.weight = len(client_id) + len(username or "")
    node.stats.held += session.weight
    session.durable = Durable(session, store, key)
    node.sessions[client_id] = session
    return session


def _subscribe(
    node: Node,
    session: Session,
    name: str,
    filter: str,
    share: str,
    qos: int,
    no_local: int,
    retain_as_published: int,
    identifier: int,
) -> None:
    options = (bool(no_local), bool(retain_as_published), identifier)
    subscription = Subscription(session, filter, share, qos, *options)
    node.stats.held += subscription.size
    session.add(name, subscription)
    node.router.subscribe(subscription)


def _in_flight(session: Session, seq: int, packet_id: int, released: bool, delivery: Delivery) -> None:
    durable = session.durable
    if durable is not None:
        durable.seqs[packet_id] = seq
        session.last_id = packet_id
        if released:
            session.released[packet_id] = None
        else:
            session.put_in_flight(packet_id, delivery)


def _wills(database: Database, node: Node, now: float) -> None:
    for client_id, will, delay, at in database.wills():
        node.stats.held += will.size
        session = node.sessions.get(client_id)
        if session is None or not (at or delay):
            node.publish_will(will, now)
            continue
        session.will = will
        session.will_at = at or now + delay
        node.timers.at(session.will_at, session)


def expired(node: Node, found: list[tuple[int, str, int, int]]) -> None:
    """Messages expired in queues: session key, topic, messages, bytes of each."""
    if not found:
        return
    sessions: dict[int, Durable] = {}
    for session in node.sessions.values():
        if session.durable is not None:
            sessions[session.durable.key] = session.durable
    for key, topic, count, size in found:
        durable = sessions.get(key)
        if durable is not None:
            durable.shrunk({topic: count}, count, size, st.DROP_EXPIRED)
