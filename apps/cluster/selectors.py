"""What is known of the cluster, limited to what the actor may see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.db.models import Count, QuerySet

from apps.cluster import permissions
from apps.cluster.directory import names
from apps.cluster.directory.fields import AsKey
from apps.cluster.models import ClusterNode, Drop, SessionInfo, SubscriptionInfo
from apps.cluster.node_rpc import rpc
from apps.common.actors import Actor

MAX_SHAPES: Final = 2000  # each is a query of a few microseconds


def nodes() -> QuerySet[ClusterNode]:
    return ClusterNode.objects.all()


def sessions(actor: Actor, permission: str = permissions.VIEW_SESSION) -> QuerySet[SessionInfo]:
    """All, or those of clients in the groups to which the permission is limited."""
    return _reached(SessionInfo.objects.all(), actor, permission)


def clients(actor: Actor, permission: str = permissions.VIEW_SESSION) -> QuerySet[SessionInfo]:
    """The sessions that are online."""
    return sessions(actor, permission).filter(online=True)


def subscriptions(actor: Actor) -> QuerySet[SubscriptionInfo]:
    return _reached(SubscriptionInfo.objects.all(), actor, permissions.VIEW_SUBSCRIPTION)


def drops(actor: Actor) -> QuerySet[Drop]:
    return _reached(Drop.objects.all(), actor, permissions.VIEW_DROP)


def _reached(rows: QuerySet[Any], actor: Actor, permission: str) -> QuerySet[Any]:
    if actor.may(permission):
        return rows
    return rows.filter(client_id__in=actor.clients(permission).values_list(AsKey("client_id")))


def topics(actor: Actor) -> QuerySet[Any, Any]:
    """The filters that somebody is subscribed to, each once: rows {"filter": ...}."""
    return subscriptions(actor).order_by("filter").values("filter").distinct()


def subscribers(actor: Actor, filters: Iterable[str]) -> dict[str, dict[str, int]]:
    """Filter -> node -> how many subscriptions to it clients there have."""
    counted = (
        subscriptions(actor)
        .filter(filter__in=list(filters))
        .order_by()
        .values_list("filter", "node")
        .annotate(count=Count("id"))
    )
    found: dict[str, dict[str, int]] = {}
    for filter, node, count in counted:
        found.setdefault(filter, {})[node] = count
    return found


def recipients(actor: Actor, topic: str) -> QuerySet[SubscriptionInfo]:
    """The subscriptions that `topic` matches. Of each shared one only one member would get a message."""
    return subscriptions(actor).filter(filter__in=filters_matching(topic))


def filters_matching(topic: str) -> list[str]:
    """The filters that match it and may be in the directory, as they stand there."""
    levels = topic.split("/")
    found = (_of_shape(shape, levels) for shape in _shapes())
    return [names.topic_key(filter) for filter in found if filter is not None]


def _shapes() -> list[str]:
    """The different shapes of filters, by as many look-ups in their index."""
    found: list[str] = []
    rows = SubscriptionInfo.objects.order_by("shape").values_list("shape", flat=True)
    shape = rows.first()
    while shape is not None and len(found) < MAX_SHAPES:
        found.append(shape)
        shape = rows.filter(shape__gt=shape).first()
    return found


def _of_shape(shape: str, levels: list[str]) -> str | None:
    """The one filter of this shape that matches the topic."""
    marks = shape.removesuffix("#")
    open_ended = marks != shape
    if len(marks) > len(levels) or (not open_ended and len(marks) != len(levels)):
        return None
    if levels[0].startswith("$") and shape[0] in "+#":  # [MQTT-4.7.2-1]
        return None
    chosen = ["+" if mark == "+" else level for mark, level in zip(marks, levels, strict=False)]
    return "/".join([*chosen, "#"] if open_ended else chosen)


def some_node() -> str:
    """A node that can be asked what every node knows; "": none is up."""
    if rpc.local:
        return rpc.local
    up = nodes().exclude(state=ClusterNode.State.DOWN).order_by("-seen_at")
    return up.values_list("name", flat=True).first() or ""


def node_of(session: SessionInfo) -> str:
    """Whom to ask about a session: its node; where that is down and the client away, one that may get it."""
    is_down = ClusterNode.objects.filter(name=session.node, state=ClusterNode.State.DOWN).exists()
    return (some_node() if is_down and not session.online else "") or session.node


def status(actor: Actor) -> dict[str, Any]:
    """How much there is, in the whole cluster."""
    states = dict(nodes().order_by().values_list("state").annotate(count=Count("id")))
    subscribed = actor.may_somewhere(permissions.VIEW_SUBSCRIPTION)
    return {
        "nodes": {state.value: states.get(state.value, 0) for state in ClusterNode.State},
        "sessions": sessions(actor).count(),
        "online": clients(actor).count(),
        "subscriptions": subscriptions(actor).count() if subscribed else None,
    }
