"""What operators and services do to the cluster: who may, who did, and which node does it.

Each verb raises PermissionDenied, or NodeRpcError where the node does not answer or says no.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from apps.cluster import permissions, selectors
from apps.cluster.bridge import operators
from apps.cluster.directory import writer
from apps.cluster.models import ClusterNode, SessionInfo
from apps.cluster.node_rpc import NodeRpcError, NodeUnavailable, rpc
from apps.common import audit
from apps.common.actors import Actor
from apps.common.errors import Gone
from apps.common.scopes import Scope, scope_of_client
from gmqtt_platform.config import providers

SILENT: Final = timedelta(minutes=1)  # a node writes its row every ten seconds
PATIENCE: Final = 1.0  # seconds in which a node answers that is alive


def _require(actor: Actor, permission: str, session: SessionInfo) -> None:
    if not selectors.sessions(actor, permission).filter(pk=session.pk).exists():
        if SessionInfo.objects.filter(pk=session.pk).exists():
            raise PermissionDenied(f"{actor.name} lacks {permission}")
        raise Gone("This session has ended.")


def _do(
    actor: Actor, permission: str, session: SessionInfo, method: str, what: str, **arguments: Any
) -> dict[str, Any]:
    """Ask the session's node, and note that it was done."""
    return _do_at(selectors.node_of(session), actor, permission, session, method, what, **arguments)


def _do_at(
    node: str, actor: Actor, permission: str, session: SessionInfo, method: str, what: str, **arguments: Any
) -> dict[str, Any]:
    _require(actor, permission, session)
    answer = rpc.call(node, method, client_id=session.client_id, **arguments)
    said = {name: value for name, value in arguments.items() if value not in ("", None)}
    with audit.by(actor):
        audit.did(session, what, **said)
    return answer


def kick(actor: Actor, session: SessionInfo, text: str = "") -> dict[str, Any]:
    """End the connection; a session that outlives it stays."""
    return _do(actor, permissions.KICK_SESSION, session, "kick", "kicked", text=text)


def end_session(actor: Actor, session: SessionInfo) -> None:
    """End the connection and forget subscriptions and queue."""
    _do(actor, permissions.END_SESSION, session, "end_session", "ended")


def subscribe(actor: Actor, session: SessionInfo, filter: str, qos: int, **options: Any) -> dict[str, Any]:
    """`options` as those of a SUBSCRIBE: no_local, retain_as_published, retain_handling.

    The node asks the client's access rules, connected or not; here is asked how far the actor's right goes.
    """
    _require(actor, permissions.SUBSCRIBE_FOR, session)
    prefixes = _prefixes(actor, permissions.SUBSCRIBE_FOR, session)
    if prefixes and not Scope(prefixes).covers(_plain(filter)):
        raise PermissionDenied(f"{actor.name} may subscribe this client below {', '.join(prefixes)} only")
    return _do(
        actor,
        permissions.SUBSCRIBE_FOR,
        session,
        "subscribe",
        "subscribed",
        filter=filter,
        qos=qos,
        **options,
    )


def unsubscribe(actor: Actor, session: SessionInfo, filter: str) -> dict[str, Any]:
    return _do(actor, permissions.SUBSCRIBE_FOR, session, "unsubscribe", "unsubscribed", filter=filter)


def look_into_queue(
    actor: Actor, session: SessionInfo, limit: int = 100, payloads: bool = False
) -> dict[str, Any]:
    """Payloads only for those who may see them. Looking is noted too: what it shows is somebody's."""
    shown = payloads and actor.may(permissions.VIEW_PAYLOAD)
    return _do(actor, permissions.VIEW_QUEUE, session, "queue", "looked into", limit=limit, payloads=shown)


def purge_queue(actor: Actor, session: SessionInfo) -> dict[str, Any]:
    return _do(actor, permissions.PURGE_QUEUE, session, "purge", "purged")


def replay_queue(actor: Actor, session: SessionInfo, to: SessionInfo, limit: int) -> dict[str, Any]:
    """Copies of what waits for one client to another. For both the permission is needed."""
    _require(actor, permissions.PURGE_QUEUE, to)
    _require(actor, permissions.PURGE_QUEUE, session)
    node = selectors.node_of(to if to.online else session)
    named: dict[str, Any] = {"to": to.client_id, "limit": limit}
    prefixes = _prefixes(actor, permissions.PURGE_QUEUE, session)
    if prefixes:
        named["within"] = list(prefixes)
    return _do_at(node, actor, permissions.PURGE_QUEUE, session, "replay", "replayed", **named)


def _prefixes(actor: Actor, permission: str, session: SessionInfo) -> tuple[str, ...]:
    """Of the namespaces to which the actor's permission on the client is bound; () where there are none."""
    bounds = scope_of_client(actor, permission, session.client_id)
    return bounds.prefixes if bounds is not None else ()


def _plain(filter: str) -> str:
    """Without $share/<name>/."""
    return filter.split("/", 2)[-1] if filter.startswith("$share/") else filter


def publish(
    actor: Actor,
    topic: str,
    payload: bytes,
    qos: int = 0,
    retain: bool = False,
    properties: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """`properties`: content_type, response_topic, correlation_data (base64), user_properties (pairs),
    payload_is_text, message_expiry (seconds). Answers `subscribed`: is anybody."""
    actor.require(permissions.PUBLISH_MESSAGE)
    answer = ask_any(
        "publish",
        topic=topic,
        payload=base64.b64encode(payload).decode(),
        qos=qos,
        retain=retain,
        properties=properties or {},
    )
    with audit.by(actor):
        audit.did(_nobody(topic), "published", topic=topic, size=len(payload), qos=qos, retain=retain)
    return answer


def ask_any(method: str, **arguments: Any) -> dict[str, Any]:
    """Ask a node what every node knows or can do."""
    node = selectors.some_node()
    if not node:
        raise NodeUnavailable("No node is up.")
    return rpc.call(node, method, **arguments)


def retained(actor: Actor, filter: str, after: str, limit: int, payloads: bool) -> dict[str, Any]:
    actor.require(permissions.VIEW_RETAINED)
    shown = payloads and actor.may(permissions.VIEW_PAYLOAD)
    return ask_any("retained", filter=filter, after=after, limit=limit, payloads=shown)


def retained_message(actor: Actor, topic: str) -> dict[str, Any]:
    actor.require(permissions.VIEW_RETAINED)
    return ask_any("retained_message", topic=topic, payload=actor.may(permissions.VIEW_PAYLOAD))


def delete_retained(actor: Actor, topic: str) -> None:
    """On every node, as a client would do it: by an empty retained message."""
    actor.require(permissions.DELETE_RETAINED)
    ask_any("retained_message", topic=topic)
    ask_any("publish", topic=topic, payload="", qos=1, retain=True)
    with audit.by(actor):
        audit.did(_nobody(topic), "deleted retained", topic=topic)


def forget_node(actor: Actor, node: ClusterNode) -> None:
    """Take a node that is gone for good out of the list, with the sessions that ended with it.

    Never a live one: it is down, or said nothing for a minute; and it does not answer now.
    """
    actor.require(permissions.DELETE_NODE)
    now = timezone.now()
    before = now if node.state == ClusterNode.State.DOWN else now - SILENT
    if node.seen_at >= before or _answers(node.name):
        raise NodeRpcError("Only a node that is down can be forgotten.", "node_is_up")
    with audit.by(actor), transaction.atomic():
        kept = providers.find("sessions.provider", settings.GMQTT.sessions.provider).kept
        if not writer.forget_node(node.name, before, kept == "cluster"):
            raise NodeRpcError("Only a node that is down can be forgotten.", "node_is_up")
        audit.did(ClusterNode(name=node.name), "forgot")


def _answers(node: str) -> bool:
    try:
        rpc.call(node, "drain_progress", PATIENCE)
    except NodeUnavailable:
        return False
    return True


def pause_bridge(actor: Actor, node: str) -> dict[str, Any]:
    """NoBridge."""
    return _bridge(actor, node, "paused bridge")


def resume_bridge(actor: Actor, node: str) -> dict[str, Any]:
    return _bridge(actor, node, "resumed bridge")


def _bridge(actor: Actor, node: str, what: str) -> dict[str, Any]:
    actor.require(permissions.CONTROL_BRIDGE)
    control = operators.control()
    answer = control.pause(node) if what.startswith("paused") else control.resume(node)
    with audit.by(actor):
        audit.did(ClusterNode(name=node), what)
    return answer


def _nobody(name: str) -> SessionInfo:
    """What an audit entry is about, when it is about a topic."""
    return SessionInfo(client_id=name[:256])
