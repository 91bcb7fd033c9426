"""Nodes and bridges."""

from __future__ import annotations

from typing import Any

import django_filters
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.cluster import permissions, selectors, services
from apps.cluster.api.base import ClusterView
from apps.cluster.bridge import operators
from apps.cluster.models import ClusterNode
from apps.cluster.node_rpc import rpc

LIVE_WITHIN = 1.0  # seconds in which a node has to answer to be shown with live figures


class NodeOut(serializers.ModelSerializer[ClusterNode]):
    live = serializers.BooleanField(help_text="Whether the node answered: `stats` are of now.")

    class Meta:
        model = ClusterNode
        fields = (
            *("id", "name", "state", "version", "host", "listeners", "started_at", "seen_at"),
            *("live", "stats", "bridge"),
        )
        read_only_fields = fields


class NodeFilter(django_filters.FilterSet):
    name = django_filters.CharFilter()
    state = django_filters.ChoiceFilter(choices=ClusterNode.State.choices)


def with_live_stats(nodes: list[ClusterNode]) -> list[ClusterNode]:
    """What they say now, where they do; else what they said last."""
    up = [node.name for node in nodes if node.state != ClusterNode.State.DOWN]
    answers = rpc.call_all(up, "stats", LIVE_WITHIN)
    for node in nodes:
        node.live = node.name in answers.found  # type: ignore[attr-defined]
        node.stats = answers.found.get(node.name, node.stats)
    return nodes


class StatusOut(serializers.Serializer[Any]):
    nodes = serializers.DictField(child=serializers.IntegerField(), help_text="By state.")
    sessions = serializers.IntegerField(help_text="Of the clients that you may see.")
    online = serializers.IntegerField()
    subscriptions = serializers.IntegerField(allow_null=True)
    connections = serializers.IntegerField(help_text="Of the nodes that answered.")
    retained = serializers.IntegerField(help_text="Of the node that has most.")
    missing = serializers.ListField(child=serializers.CharField(), help_text="Nodes that did not answer.")


class StatusView(ClusterView):
    @extend_schema(summary="The cluster at a glance", responses=StatusOut)
    def get(self, request: Request) -> Response:
        nodes = with_live_stats(list(selectors.nodes().exclude(state=ClusterNode.State.DOWN)[:100]))
        live = [node.stats for node in nodes if getattr(node, "live", False)]
        found = selectors.status(self.actor) | {
            "connections": sum(stats.get("connections", 0) for stats in live),
            "retained": max((stats.get("retained", 0) for stats in live), default=0),
            "missing": [node.name for node in nodes if not getattr(node, "live", False)],
        }
        return Response(StatusOut(found).data)


class NodesView(ClusterView):
    filterset_class = NodeFilter
    ordering = ("name",)
    ordering_fields = ("name", "started_at", "seen_at")
    queryset = ClusterNode.objects.all()

    @extend_schema(summary="List nodes", responses=NodeOut(many=True))
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(NodeOut(with_live_stats(list(page or [])), many=True).data)


class NodeView(ClusterView):
    def one(self, pk: int) -> ClusterNode:
        node = selectors.nodes().filter(pk=pk).first()
        if node is None:
            raise Http404
        return node

    @extend_schema(summary="One node", responses=NodeOut)
    def get(self, request: Request, pk: int) -> Response:
        return Response(NodeOut(with_live_stats([self.one(pk)])[0]).data)

    @extend_schema(
        summary="Forget a node",
        description="One that is down, or silent for a minute, and will not come back; 409 while it is up.",
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        services.forget_node(self.actor, self.one(pk))
        return Response(status=204)


class BridgeOut(serializers.Serializer[Any]):
    node = serializers.CharField()
    state = serializers.CharField(help_text="running, paused or down")
    lag = serializers.IntegerField(allow_null=True, help_text="Records that it has not read yet.")
    topics = serializers.ListField(child=serializers.DictField(), required=False)


class BridgesOut(serializers.Serializer[Any]):
    results = BridgeOut(many=True)


class BridgesView(ClusterView):
    @extend_schema(
        summary="Bridges to Kafka and their lag",
        description="503, code no_bridge, where the platform runs without.",
        responses=BridgesOut,
    )
    def get(self, request: Request) -> Response:
        self.actor.require(permissions.VIEW_NODE)
        return Response({"results": operators.control().status()})


class PauseBridgeView(ClusterView):
    @extend_schema(
        summary="Pause a node's bridge",
        description="Kafka keeps the rest.",
        request=None,
        responses=BridgeOut,
    )
    def post(self, request: Request, node: str) -> Response:
        return Response(services.pause_bridge(self.actor, node))


class ResumeBridgeView(ClusterView):
    @extend_schema(summary="Resume a node's bridge", request=None, responses=BridgeOut)
    def post(self, request: Request, node: str) -> Response:
        return Response(services.resume_bridge(self.actor, node))
