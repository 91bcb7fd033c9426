"""Export rules: what back-end services read of what devices publish."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from apps.cluster.bridge import export_sync
from apps.cluster.models import ExportRule
from apps.common.forms import CheckedForm
from apps.common.lists import LongList


@admin.register(ExportRule)
class ExportRuleAdmin(LongList, ModelAdmin):
    list_display = ("filter", "kafka_topic", "key_template", "enabled", "failed", "last_error", "updated_at")
    list_filter = ("enabled",)
    search_fields = ("filter", "kafka_topic", "note")
    exported = ("filter", "kafka_topic", "key_template", "enabled", "note")
    readonly_fields = ("failed", "last_error", "failed_at")
    fields = (*exported, *readonly_fields, "seen")
    form = CheckedForm
    keyset = "id"

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return lookup == "enabled__exact"

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Locked until the transaction that changes it ends, so that CheckedForm compares for good."""
        if request.method == "POST" and connection.in_atomic_block and object_id.isdecimal():
            ExportRule.objects.select_for_update().filter(pk=object_id[:18]).first()
        return super().get_object(request, object_id, from_field)

    def save_model(self, request: HttpRequest, obj: ExportRule, form: Any, change: bool) -> None:
        export_sync.save(obj)

    def delete_model(self, request: HttpRequest, obj: ExportRule) -> None:
        export_sync.remove([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ExportRule]) -> None:
        export_sync.remove(queryset)
