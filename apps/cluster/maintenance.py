"""Draining nodes and recording traces: who may, who did, and which nodes do it."""

from __future__ import annotations

import secrets
from typing import Any, Final

from django.core.exceptions import ValidationError

from apps.cluster import permissions, selectors
from apps.cluster.models import ClusterNode, SessionInfo
from apps.cluster.node_rpc import NodeRpcError, rpc
from apps.common import audit
from apps.common.actors import Actor

MAX_SECONDS: Final = 3600
MAX_BYTES: Final = 8_388_608  # of a trace, on each node
RELOAD: Final = 10.0  # seconds; the database is asked for who could come in
MAX_ASKED: Final = 200  # answers read of one trace on one node at once


def look_at(actor: Actor, session: SessionInfo) -> dict[str, Any]:
    """Live counters of a client. `actor` saw the row already; NodeRpcError when its node does not answer."""
    return rpc.call(selectors.node_of(session), "session", client_id=session.client_id)


def drain(actor: Actor, node: ClusterNode, rate: int = 0) -> dict[str, Any]:
    """Empty a node; `rate` in clients per second, 0: as configured there."""
    return _steer(actor, node, "drain", "drained", rate=rate)


def cancel_drain(actor: Actor, node: ClusterNode) -> dict[str, Any]:
    return _steer(actor, node, "cancel_drain", "stopped draining")


def drain_progress(actor: Actor, node: ClusterNode) -> dict[str, Any]:
    actor.require(permissions.VIEW_NODE)
    return rpc.call(node.name, "drain_progress")


def _steer(actor: Actor, node: ClusterNode, method: str, what: str, **arguments: Any) -> dict[str, Any]:
    actor.require(permissions.DRAIN_NODE)
    answer = rpc.call(node.name, method, **arguments)
    with audit.by(actor):
        audit.did(node, what, **arguments)
    return answer


def configuration(actor: Actor, node: str) -> dict[str, Any]:
    """What is in force on a node, by key with its source; secrets are hidden by the node itself."""
    actor.require(permissions.VIEW_CONFIGURATION)
    return rpc.call(node, "config")


def configuration_diff(actor: Actor, node: str) -> dict[str, Any]:
    """What the node's file and environment say now and is not in force."""
    actor.require(permissions.VIEW_CONFIGURATION)
    return rpc.call(node, "config_diff")


def reload_configuration(actor: Actor, node: str) -> dict[str, Any]:
    """As SIGHUP, with its outcome."""
    actor.require(permissions.RELOAD_CONFIGURATION)
    answer = rpc.call(node, "config_reload", RELOAD)
    with audit.by(actor):
        said = {name: answer[name] for name in ("in_force", "error") if answer[name]}
        audit.did(ClusterNode(name=node), "reloaded", **said)
    return answer


def dump(actor: Actor, node: str) -> dict[str, Any]:
    """The node writes its state to a file of its data directory; where that is, is answered."""
    actor.require(permissions.DUMP_STATE)
    answer = rpc.call(node, "dump", RELOAD)
    with audit.by(actor):
        audit.did(ClusterNode(name=node), "dumped", **answer)
    return answer


def start_trace(
    actor: Actor,
    kind: str,
    value: str,
    seconds: int = 300,
    max_bytes: int = 1_048_576,
    payloads: bool = False,
) -> str:
    """Record on every node; answers the trace's id. Payloads only for those who may see them."""
    actor.require(permissions.TRACE)
    if not 0 < seconds <= MAX_SECONDS:
        raise ValidationError(f"A trace runs for 1 to {MAX_SECONDS} seconds.", code="bad_trace")
    shown = payloads and actor.may(permissions.VIEW_PAYLOAD)
    trace_id = secrets.token_hex(8)
    found = rpc.call_all(
        up(),
        "trace_start",
        id=trace_id,
        kind=kind,
        value=value,
        seconds=seconds,
        max_bytes=min(max_bytes, MAX_BYTES),
        payloads=shown,
    )
    if not found.found:
        raise next(iter(found.missing.values()), NodeRpcError("No node is up.", "no_node"))
    with audit.by(actor):
        audit.did(ClusterNode(name=trace_id), "traced", kind=kind, value=value[:256], payloads=shown)
    return trace_id


def traces(actor: Actor) -> list[dict[str, Any]]:
    """Of all nodes, each once, the newest first."""
    actor.require(permissions.TRACE)
    found: dict[str, dict[str, Any]] = {}
    for answer in rpc.call_all(up(), "traces").found.values():
        for trace in answer["traces"]:
            known = found.setdefault(trace["id"], {**trace, "entries": 0, "bytes": 0, "left_out": 0})
            for name in ("entries", "bytes", "left_out"):
                known[name] += trace[name]
    return sorted(found.values(), key=lambda trace: -trace["until"])


def stop_trace(actor: Actor, trace_id: str, forget: bool = False) -> None:
    actor.require(permissions.TRACE)
    rpc.call_all(up(), "trace_forget" if forget else "trace_stop", id=trace_id)


def read_trace(actor: Actor, trace_id: str, after: dict[str, int] | None = None) -> dict[str, Any]:
    """The entries of all nodes by time; `next`: node -> how many were read; `missing`: node -> why.

    A trace with payloads is read by those only who may see them.
    """
    actor.require(permissions.TRACE)
    after = after or {}
    entries: list[dict[str, Any]] = []
    following: dict[str, int] = {}
    missing: dict[str, str] = {}
    ended = True
    for node in up():
        start = after.get(node, 0)
        try:
            for _ in range(MAX_ASKED):
                answer = rpc.call(node, "trace_read", id=trace_id, after=start)
                entries += answer["read"]
                start = answer["next"]
                if not answer["read"] or start >= answer["entries"]:
                    break
            ended = ended and answer["ended"]
            following[node] = start
        except NodeRpcError as error:
            missing[node] = str(error)
    if not actor.may(permissions.VIEW_PAYLOAD):
        for entry in entries:
            entry.pop("payload", None)
    entries.sort(key=lambda entry: entry["at"])
    return {"entries": entries, "next": following, "missing": missing, "ended": ended}


def up() -> list[str]:
    """The nodes that are to be asked what all know together."""
    names = list(
        selectors.nodes()
        .exclude(state=ClusterNode.State.DOWN)
        .order_by("name")
        .values_list("name", flat=True)
    )
    return names or ([rpc.local] if rpc.local else [])
