"""The configuration of nodes, and their state for support."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.cluster import maintenance, selectors
from apps.cluster.api.base import ClusterView


class KeyOut(serializers.Serializer[Any]):
    key = serializers.CharField()
    value = serializers.JSONField(help_text="Secrets are hidden.")
    source = serializers.CharField(help_text="default, file, or the environment variable (or its _FILE).")  # type: ignore[assignment]
    live = serializers.BooleanField(help_text="Whether a change comes in force without a restart.")
    needs_restart = serializers.BooleanField(help_text="Whether it was changed, and waits for one.")


class ConfigurationOut(serializers.Serializer[Any]):
    file = serializers.CharField()
    error = serializers.CharField(help_text="Why the file was not taken when it was last read.")
    rows = KeyOut(many=True)


class DifferenceOut(serializers.Serializer[Any]):
    key = serializers.CharField()
    in_force = serializers.JSONField()
    in_file = serializers.JSONField()
    source = serializers.CharField()  # type: ignore[assignment]
    live = serializers.BooleanField()


class DiffOut(serializers.Serializer[Any]):
    file = serializers.CharField()
    error = serializers.CharField(help_text="Why the file cannot be used.")
    rows = DifferenceOut(many=True)


class ReloadOut(serializers.Serializer[Any]):
    in_force = serializers.ListField(child=serializers.CharField(), help_text="Keys that have changed.")
    needs_restart = serializers.ListField(child=serializers.CharField())
    error = serializers.CharField(help_text="Why everything stays as it was; empty: it does not.")


class DumpOut(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="On the node's machine.")
    bytes = serializers.IntegerField()


def _node(pk: int) -> str:
    node = selectors.nodes().filter(pk=pk).first()
    if node is None:
        raise Http404
    return node.name


class ConfigurationView(ClusterView):
    @extend_schema(summary="The configuration in force on a node", responses=ConfigurationOut)
    def get(self, request: Request, pk: int) -> Response:
        return Response(ConfigurationOut(maintenance.configuration(self.actor, _node(pk))).data)


class DiffView(ClusterView):
    @extend_schema(summary="What a node's file says that is not in force", responses=DiffOut)
    def get(self, request: Request, pk: int) -> Response:
        return Response(DiffOut(maintenance.configuration_diff(self.actor, _node(pk))).data)


class ReloadView(ClusterView):
    @extend_schema(
        summary="Have a node read its configuration again",
        description="As SIGHUP. 200 with `error` where it was refused: then everything is as it was.",
        request=None,
        responses=ReloadOut,
    )
    def post(self, request: Request, pk: int) -> Response:
        return Response(ReloadOut(maintenance.reload_configuration(self.actor, _node(pk))).data)


class DumpView(ClusterView):
    @extend_schema(
        summary="Have a node write its state to a file, for support",
        description="As SIGUSR1: counts, loop lag, tasks, threads, health, configuration; no secrets.",
        request=None,
        responses=DumpOut,
    )
    def post(self, request: Request, pk: int) -> Response:
        return Response(DumpOut(maintenance.dump(self.actor, _node(pk))).data)
