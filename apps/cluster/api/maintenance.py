"""Draining nodes, and traces."""

from __future__ import annotations

import json
from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from apps.cluster import maintenance, selectors
from apps.cluster.api.base import ClusterView
from apps.cluster.models import ClusterNode
from apps.common.api.base import Strict


class DrainIn(Strict):
    rate = serializers.IntegerField(
        required=False, min_value=1, max_value=100_000, help_text="Clients a second; else as configured."
    )


class DrainOut(serializers.Serializer[Any]):
    draining = serializers.BooleanField()
    connected = serializers.IntegerField()
    at_start = serializers.IntegerField(required=False, help_text="Clients connected when it began.")
    disconnected = serializers.IntegerField(required=False)
    rate = serializers.IntegerField(required=False)


class DrainView(ClusterView):
    def one(self, pk: int) -> ClusterNode:
        node = selectors.nodes().filter(pk=pk).first()
        if node is None:
            raise Http404
        return node

    @extend_schema(summary="How far a drain is", responses=DrainOut)
    def get(self, request: Request, pk: int) -> Response:
        return Response(DrainOut(maintenance.drain_progress(self.actor, self.one(pk))).data)

    @extend_schema(
        summary="Drain a node",
        description="/readyz answers 503, nobody new is let in, those connected leave at `rate`.",
        request=DrainIn,
        responses=DrainOut,
    )
    def post(self, request: Request, pk: int) -> Response:
        given = DrainIn(data=request.data)
        given.is_valid(raise_exception=True)
        rate = given.validated_data.get("rate", 0)
        return Response(DrainOut(maintenance.drain(self.actor, self.one(pk), rate)).data)

    @extend_schema(summary="Call a drain off", responses={200: DrainOut})
    def delete(self, request: Request, pk: int) -> Response:
        return Response(DrainOut(maintenance.cancel_drain(self.actor, self.one(pk))).data)


class TraceIn(Strict):
    kind = serializers.ChoiceField(("client", "topic", "address"))
    value = serializers.CharField(max_length=1024, trim_whitespace=False)
    seconds = serializers.IntegerField(default=300, min_value=1, max_value=maintenance.MAX_SECONDS)
    max_bytes = serializers.IntegerField(default=1_048_576, min_value=1, max_value=maintenance.MAX_BYTES)
    payloads = serializers.BooleanField(default=False, help_text="For those who may see payloads.")


class TraceOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    kind = serializers.CharField()
    value = serializers.CharField()
    until = serializers.FloatField(help_text="UNIX seconds.")
    entries = serializers.IntegerField()
    bytes = serializers.IntegerField()
    left_out = serializers.IntegerField(help_text="Entries for which there was no room.")
    ended = serializers.BooleanField()


class TracesOut(serializers.Serializer[Any]):
    results = TraceOut(many=True)


class TraceIdOut(serializers.Serializer[Any]):
    id = serializers.CharField()


class EntriesOut(serializers.Serializer[Any]):
    entries = serializers.ListField(child=serializers.DictField())
    next = serializers.DictField(
        child=serializers.IntegerField(), help_text="To be given as `after`, as JSON."
    )
    missing = serializers.DictField(child=serializers.CharField(), help_text="Node: why it did not answer.")
    ended = serializers.BooleanField()


class ReadIn(Strict):
    after = serializers.CharField(required=False, max_length=4096, help_text="`next` of the answer before.")

    def validate_after(self, text: str) -> dict[str, int]:
        try:
            return {str(node): max(int(count), 0) for node, count in json.loads(text).items()}
        except (ValueError, AttributeError, TypeError, RecursionError, OverflowError):
            raise ValidationError("Not the `next` of an answer.", "bad_cursor") from None


class TracesView(ClusterView):
    @extend_schema(summary="Traces that run and ran", responses=TracesOut)
    def get(self, request: Request) -> Response:
        return Response({"results": TraceOut(maintenance.traces(self.actor), many=True).data})

    @extend_schema(summary="Record a trace", request=TraceIn, responses={201: TraceIdOut})
    def post(self, request: Request) -> Response:
        given = TraceIn(data=request.data)
        given.is_valid(raise_exception=True)
        return Response({"id": maintenance.start_trace(self.actor, **given.validated_data)}, status=201)


class TraceView(ClusterView):
    @extend_schema(
        operation_id="cluster_traces_read",
        summary="The entries of a trace",
        parameters=[ReadIn],
        responses=EntriesOut,
    )
    def get(self, request: Request, trace: str) -> Response:
        return Response(
            EntriesOut(maintenance.read_trace(self.actor, trace, self.asked(ReadIn).get("after"))).data
        )

    @extend_schema(summary="Stop a trace and forget it", responses={204: None})
    def delete(self, request: Request, trace: str) -> Response:
        maintenance.stop_trace(self.actor, trace, forget=True)
        return Response(status=204)


class StopTraceView(ClusterView):
    @extend_schema(summary="Stop a trace", request=None, responses={204: None})
    def post(self, request: Request, trace: str) -> Response:
        maintenance.stop_trace(self.actor, trace)
        return Response(status=204)
