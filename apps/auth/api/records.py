"""What was refused, and who changed what."""

from __future__ import annotations

from typing import Any

import django_filters
from auditlog.models import LogEntry
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.auth.models import Refusal
from apps.common.api.base import ApiView

_TYPES = (
    *("client", "credential", "clientgroup", "aclrule", "ban", "role", "serviceaccount"),
    *("clusternode", "sessioninfo", "exportrule"),
    *("user", "group", "userobjectpermission", "groupobjectpermission"),
)
_ACTIONS = {
    LogEntry.Action.CREATE: "create",
    LogEntry.Action.UPDATE: "update",
    LogEntry.Action.DELETE: "delete",
}


class RefusalOut(serializers.ModelSerializer[Refusal]):
    class Meta:
        model = Refusal
        fields = (
            "id",
            "at",
            "action",
            "client_id",
            "username",
            "address",
            "transport",
            "reason_code",
            "reason",
            "topic",
            "rule_id",
            "node",
        )
        read_only_fields = fields


class RefusalFilter(django_filters.FilterSet):
    client_id = django_filters.CharFilter()
    username = django_filters.CharFilter()
    address = django_filters.CharFilter()
    action = django_filters.ChoiceFilter(choices=Refusal.Action.choices)
    reason_code = django_filters.NumberFilter()
    node = django_filters.CharFilter()
    after = django_filters.IsoDateTimeFilter("at", "gte")
    before = django_filters.IsoDateTimeFilter("at", "lt")


class RefusalsView(ApiView):
    filterset_class = RefusalFilter
    queryset = Refusal.objects.all()

    @extend_schema(
        summary="List refused connections and denied actions",
        description="The latest of them: the table is bounded.",
        responses=RefusalOut(many=True),
    )
    def get(self, request: Request) -> Response:
        return self.listed(self.get_queryset(), RefusalOut)


class AuditOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField(source="timestamp")
    by = serializers.SerializerMethodField(help_text="user:ID, service:ID or system.")
    name = serializers.SerializerMethodField(help_text="What the actor was called then.")
    address = serializers.IPAddressField(source="remote_addr", allow_null=True)
    action = serializers.SerializerMethodField(help_text="create, update, delete, or what else was done.")
    type = serializers.CharField(source="content_type.model")
    object_id = serializers.IntegerField()
    object = serializers.CharField(source="object_repr")
    changes = serializers.JSONField(help_text="Field: [before, after]. Of secrets, only that they changed.")

    def get_by(self, entry: LogEntry) -> str:
        return str((entry.additional_data or {}).get("by", "system"))

    def get_name(self, entry: LogEntry) -> str:
        return str((entry.additional_data or {}).get("name", "system"))

    def get_action(self, entry: LogEntry) -> str:
        return _ACTIONS.get(entry.action) or next(iter(entry.changes or {}), "access")


class AuditFilter(django_filters.FilterSet):
    type = django_filters.ChoiceFilter("content_type__model", choices=[(name, name) for name in _TYPES])
    object_id = django_filters.NumberFilter()
    object = django_filters.CharFilter("object_repr", label="What it was called, such as a client id.")
    by = django_filters.CharFilter("additional_data__by", label="user:ID, service:ID or system.")
    action = django_filters.ChoiceFilter(
        choices=[(name, name) for name in _ACTIONS.values()], method="_action"
    )
    after = django_filters.IsoDateTimeFilter("timestamp", "gte")
    before = django_filters.IsoDateTimeFilter("timestamp", "lt")

    def _action(self, rows: QuerySet[LogEntry], name: str, value: str) -> QuerySet[LogEntry]:
        return rows.filter(action={word: number for number, word in _ACTIONS.items()}[value])


class AuditView(ApiView):
    filterset_class = AuditFilter
    queryset = LogEntry.objects.select_related("content_type")

    @extend_schema(
        summary="List who changed what",
        description="Every write of an operator or a service, with before and after.",
        responses=AuditOut(many=True),
    )
    def get(self, request: Request) -> Response:
        return self.listed(self.get_queryset(), AuditOut)
