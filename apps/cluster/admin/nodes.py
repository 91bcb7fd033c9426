"""The nodes: what they say of themselves, draining, the bridge."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.cluster import maintenance, permissions, selectors, services
from apps.cluster.admin.base import SeenAdmin, actor_of
from apps.cluster.models import ClusterNode
from apps.cluster.node_rpc import NodeRpcError
from apps.common.actors import Actor


def _nodes(actor: Actor) -> QuerySet[ClusterNode]:
    return selectors.nodes() if actor.may(permissions.VIEW_NODE) else selectors.nodes().none()


@admin.register(ClusterNode)
class NodeAdmin(SeenAdmin):
    rows = _nodes
    permission = permissions.VIEW_NODE
    keyset = "name"
    list_display = ("name", "state", "version", "connections", "sessions", "host", "bridge_state", "seen_at")
    list_filter = ("state",)
    lookups = ("state__exact",)
    search_fields = ("name__startswith",)
    exported = ("name", "state", "version", "host", "started_at", "seen_at")
    detail_template = "cluster/node.html"
    verbs = {
        "drain": permissions.DRAIN_NODE,
        "cancel_drain": permissions.DRAIN_NODE,
        "pause_bridge": permissions.CONTROL_BRIDGE,
        "resume_bridge": permissions.CONTROL_BRIDGE,
        "forget": permissions.DELETE_NODE,
    }

    @admin.display(description=_("connections"))
    def connections(self, node: ClusterNode) -> Any:
        return node.stats.get("connections", "–")

    @admin.display(description=_("sessions"))
    def sessions(self, node: ClusterNode) -> Any:
        return node.stats.get("sessions", "–")

    @admin.display(description=_("bridge"))
    def bridge_state(self, node: ClusterNode) -> str:
        lag = node.bridge.get("lag")
        return f"{node.bridge.get('state', '–')}" + (f" ({lag})" if lag is not None else "")

    def detail(self, request: HttpRequest, row: ClusterNode) -> dict[str, Any]:
        gone = row.state == ClusterNode.State.DOWN or row.seen_at < timezone.now() - services.SILENT
        try:
            return {"draining": maintenance.drain_progress(actor_of(request), row), "gone": False}
        except (NodeRpcError, PermissionDenied) as error:
            return {"trouble": str(error), "gone": gone}

    def drain(self, request: HttpRequest, node: ClusterNode) -> None:
        actor = actor_of(request)
        self.told(request, lambda: maintenance.drain(actor, node), _("The node is being drained."))

    def cancel_drain(self, request: HttpRequest, node: ClusterNode) -> None:
        actor = actor_of(request)
        self.told(request, lambda: maintenance.cancel_drain(actor, node), _("The node takes clients again."))

    def pause_bridge(self, request: HttpRequest, node: ClusterNode) -> None:
        actor = actor_of(request)
        self.told(request, lambda: services.pause_bridge(actor, node.name), _("The bridge is paused."))

    def resume_bridge(self, request: HttpRequest, node: ClusterNode) -> None:
        actor = actor_of(request)
        self.told(request, lambda: services.resume_bridge(actor, node.name), _("The bridge goes on."))

    def forget(self, request: HttpRequest, node: ClusterNode) -> HttpResponse | None:
        actor = actor_of(request)
        done = self.told(request, lambda: services.forget_node(actor, node), _("The node is forgotten."))
        return self.back() if done else None
