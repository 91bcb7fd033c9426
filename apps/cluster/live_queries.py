"""What operators look at while it happens: rates of topics, slow subscribers, one client, Kafka.

Nothing here changes anything. Where nodes do not answer, what the others said is shown, with who is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from asgiref.sync import async_to_sync

from apps.auth import permissions as auth_permissions
from apps.cluster import permissions, selectors
from apps.cluster.bridge import operators
from apps.cluster.directory import names
from apps.cluster.maintenance import up
from apps.cluster.models import SessionInfo
from apps.cluster.node_rpc import NodeAnswers, NodeRpcError, NodeUnavailable, rpc
from apps.common.actors import Actor

MAX_FILTERS: Final = 20  # that one page shows
MAX_SLOW: Final = 100
SOON: Final = 1.0  # seconds that a page waits for nodes


def topic_rates(actor: Actor, filters: Sequence[str]) -> dict[str, Any]:
    """What was published on each node since somebody began to look; a rate is the difference of two answers.

    {"nodes": node -> {"at": UNIX seconds, "counts": filter -> [messages, bytes]}, "missing": node -> why}.
    """
    actor.require(permissions.VIEW_SUBSCRIPTION)
    found = rpc.call_all(up(), "topic_rates", filters=list(filters)[:MAX_FILTERS])
    return {"nodes": found.found, "missing": {node: str(why) for node, why in found.missing.items()}}


def slow(actor: Actor) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The clients for whom most waits, of all nodes, as far as the actor may see them; and who is missing."""
    found = rpc.call_all(up(), "slow", limit=MAX_SLOW)
    rows = [{**row, "node": node} for node, answer in found.found.items() for row in answer["slow"]]
    rows.sort(key=lambda row: (not row["congested"], -row["queued_bytes"] - row["unsent_bytes"]))
    keys = {names.client_key(row["client_id"]): row for row in rows}
    seen = selectors.sessions(actor).filter(client_id__in=list(keys)).values_list("client_id", "pk")
    for key, pk in seen:
        keys[key]["pk"] = pk
    shown = [row for row in rows if "pk" in row or actor.may(permissions.VIEW_SESSION)]
    return shown[:MAX_SLOW], {node: str(why) for node, why in found.missing.items()}


def client(actor: Actor, session: SessionInfo) -> tuple[dict[str, Any] | NodeRpcError, list[dict[str, Any]]]:
    """Of a client whose row the actor saw: its live counters, or why they are missing; and its recent events.

    Those are of every node that it was on, the latest first.
    """
    nodes, node = up(), selectors.node_of(session)
    if node not in nodes:
        return NodeUnavailable(f"The node {node} is down."), []

    async def ask() -> tuple[dict[str, Any] | NodeRpcError, NodeAnswers]:
        counters = rpc.acall(node, "session", SOON, client_id=session.client_id)
        events = rpc.acall_all(nodes, "events", SOON, client_id=session.client_id)
        found, happened = await asyncio.gather(counters, events, return_exceptions=True)
        if isinstance(happened, BaseException):
            raise happened
        if isinstance(found, BaseException) and not isinstance(found, NodeRpcError):
            raise found
        return found, happened

    found, happened = async_to_sync(ask)()
    rows = [{**event, "node": node} for node, answer in happened.found.items() for event in answer["events"]]
    return found, sorted(rows, key=lambda event: -event["at"])


def explain(actor: Actor, session: SessionInfo, action: str, topic: str) -> dict[str, Any]:
    """Which access rule decides; PermissionDenied for who may not see the client's rules. NodeRpcError."""
    if not selectors.sessions(actor, auth_permissions.VIEW_RULE).filter(pk=session.pk).exists():
        actor.require(auth_permissions.VIEW_RULE)
    return rpc.call(
        selectors.node_of(session),
        "acl_explain",
        client_id=session.client_id,
        username=session.username,
        action=action,
        topic=topic,
    )


def kafka(actor: Actor) -> dict[str, Any]:
    """As `operators.KafkaLog.overview`. Raises NoBridge."""
    actor.require(permissions.VIEW_NODE)
    return operators.log().overview()
