"""The database's side of the directory: what recorder.py gathered is written here, in a thread."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import Q

from apps.cluster.directory import names
from apps.cluster.directory.upsert import Upsert
from apps.cluster.models import ClusterNode, SessionInfo, SubscriptionInfo

COLUMNS: Final = (
    *("client_id", "node", "epoch", "online", "username", "address", "port", "transport", "level"),
    *("clean_start", "keepalive", "created_at", "connected_at", "disconnected_at", "reason_code", "reason"),
    *("expiry_interval", "expires_at", "subscriptions", "inflight", "queued", "queued_bytes"),
)
_COUNTS: Final = ("expiry_interval", "expires_at", "subscriptions", "inflight", "queued", "queued_bytes")
_END: Final = ("online", "disconnected_at", "reason_code", "reason")

# A client that moved stands where it connected last, whichever node writes last: by the epoch of its
# ownership, and by the nodes' clocks where there is none.
_CONNECTED = Upsert(
    SessionInfo,
    COLUMNS,
    ("client_id",),
    COLUMNS[1:],
    where='{t}."node" = excluded."node" OR NOT {t}."online" OR {t}."epoch" < excluded."epoch"'
    ' OR ({t}."epoch" = excluded."epoch" AND {t}."connected_at" <= excluded."connected_at")',
)
_ENDED = Upsert(SessionInfo, COLUMNS, ("client_id",), (*_END, *_COUNTS), where='{t}."node" = excluded."node"')
_COUNTED = Upsert(SessionInfo, COLUMNS, ("client_id",), _COUNTS, where='{t}."node" = excluded."node"')

_SUBSCRIPTION: Final = (
    *("client_id", "node", "filter", "share", "shape"),
    *("qos", "no_local", "retain_as_published", "identifier"),
)
_SUBSCRIBED = Upsert(
    SubscriptionInfo,
    _SUBSCRIPTION,
    ("client_id", "share", "filter"),
    ("node", "qos", "no_local", "retain_as_published", "identifier"),
)

# filter, share, qos, no local, retain as published, identifier
Subscribed = tuple[str, str, int, bool, bool, int]


@dataclass
class Batch:
    """What changed. Rows hold COLUMNS; client ids are as the database has them."""

    connected: list[Sequence[Any]] = field(default_factory=list)  # with all that is known of the connection
    ended: list[Sequence[Any]] = field(default_factory=list)  # connections that ended; the session stays
    counted: list[Sequence[Any]] = field(default_factory=list)  # nothing but counters and expiry changed
    gone: list[str] = field(default_factory=list)
    subscriptions: dict[str, list[Subscribed]] = field(default_factory=dict)  # all of a client's


def write(node: str, batch: Batch) -> None:
    with transaction.atomic():
        _forget(node, batch.gone)
        _CONNECTED.run(batch.connected)
        _ENDED.run(batch.ended)
        _COUNTED.run(batch.counted)
        if batch.connected:
            here = [row[0] for row in batch.connected]
            SubscriptionInfo.objects.filter(client_id__in=here).exclude(node=node).update(node=node)
        if batch.subscriptions:
            _write_subscriptions(node, batch.subscriptions)


def _forget(node: str, client_ids: Collection[str]) -> None:
    if client_ids:
        SubscriptionInfo.objects.filter(client_id__in=client_ids, node=node).delete()
        SessionInfo.objects.filter(client_id__in=client_ids, node=node).delete()


def _write_subscriptions(node: str, wanted: dict[str, list[Subscribed]]) -> None:
    stale: dict[tuple[str, str, str], tuple[int, tuple[Any, ...]]] = {}
    known = SubscriptionInfo.objects.filter(client_id__in=wanted).values_list(
        "id", "client_id", "share", "filter", "node", "qos", "no_local", "retain_as_published", "identifier"
    )
    for pk, client_id, share, filter, *rest in known.iterator(chunk_size=2000):
        stale[client_id, share, filter] = pk, tuple(rest)
    rows = []
    for client_id, subscriptions in wanted.items():
        for filter, share, *options in subscriptions:
            filter_key, share_key = names.topic_key(filter), names.client_key(share)
            before = stale.pop((client_id, share_key, filter_key), None)
            if before is None or before[1] != (node, *options):
                rows.append((client_id, node, filter_key, share_key, names.shape(filter), *options))
    pks = [pk for pk, _ in stale.values()]
    for start in range(0, len(pks), 500):
        SubscriptionInfo.objects.filter(pk__in=pks[start : start + 500]).delete()
    _SUBSCRIBED.run(rows)


def begin(node: str, columns: dict[str, Any]) -> None:
    """The node's own row."""
    ClusterNode.objects.update_or_create(name=node, defaults=columns)


def close(node: str, at: datetime, keep: bool) -> None:
    """No client is connected to the node any more: its process ends, or a former one ended without a word.

    `keep`: sessions outlive the process, but for those that end with their connection, or have expired.
    """
    sessions = SessionInfo.objects.filter(node=node)
    ended = sessions if not keep else sessions.filter(Q(expiry_interval=0) | Q(expires_at__lte=at))
    with transaction.atomic():
        SubscriptionInfo.objects.filter(client_id__in=ended.values("client_id"), node=node).delete()
        ended.delete()
        sessions.filter(online=True).update(online=False, disconnected_at=at)


def of_node(node: str, after: str, limit: int) -> list[str]:
    """Client ids of the node's sessions, in order."""
    rows = SessionInfo.objects.filter(node=node, client_id__gt=after).order_by("client_id")
    return list(rows.values_list("client_id", flat=True)[:limit])


def forget(node: str, client_ids: Iterable[str]) -> None:
    """These sessions of the node are gone."""
    with transaction.atomic():
        _forget(node, list(client_ids))


def grown(found: Iterable[tuple[str, int, int]]) -> None:
    """What is queued for clients that are away: client id, messages, bytes."""
    with transaction.atomic():
        for client_id, queued, size in found:
            away = SessionInfo.objects.filter(client_id=client_id, online=False)
            away.update(queued=queued, queued_bytes=size)


def lapsed(client_ids: Collection[str], at: datetime) -> None:
    """These sessions' time was over while no node had them; a client that came back since has another one."""
    with transaction.atomic():
        ended = SessionInfo.objects.filter(client_id__in=client_ids, online=False)
        ended = ended.filter(Q(disconnected_at__lt=at) | Q(disconnected_at=None))
        SubscriptionInfo.objects.filter(client_id__in=ended.values("client_id")).delete()
        ended.delete()


def stopped(node: str, at: datetime, keep: bool) -> None:
    close(node, at, keep)
    ClusterNode.objects.filter(name=node).update(state=ClusterNode.State.DOWN, seen_at=at)


def forget_gone(before: datetime, keep: bool) -> list[str]:
    """Forget every node that was not seen since `before`; answers their names."""
    names = ClusterNode.objects.filter(seen_at__lt=before).values_list("name", flat=True)
    return [name for name in list(names) if forget_node(name, before, keep)]


def forget_node(name: str, before: datetime, keep: bool) -> bool:
    """Take away the row of a node that was not seen since `before`; False: there is none, or it has been.

    `keep`: its clients' sessions are the cluster's. Otherwise they were its own, and go with it.
    """
    with transaction.atomic():
        if not ClusterNode.objects.filter(name=name, seen_at__lt=before).delete()[0]:
            return False
        sessions = SessionInfo.objects.filter(node=name)
        if keep:
            sessions = sessions.filter(online=True)  # of a node that died with nobody to notice
            sessions.update(online=False, disconnected_at=before)
        else:
            SubscriptionInfo.objects.filter(node=name).delete()
            sessions.delete()
    return True
