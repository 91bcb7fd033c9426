"""Export rules: what back-end services read of what devices publish."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from apps.cluster import exporting
from apps.cluster.models import ExportRule


@admin.register(ExportRule)
class ExportRuleAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("filter", "kafka_topic", "key_template", "enabled", "updated_at")
    list_filter = ("enabled",)
    search_fields = ("filter", "kafka_topic", "note")
    fields = ("filter", "kafka_topic", "key_template", "enabled", "note")

    def save_model(self, request: HttpRequest, obj: ExportRule, form: Any, change: bool) -> None:
        exporting.save(obj)

    def delete_model(self, request: HttpRequest, obj: ExportRule) -> None:
        exporting.remove([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ExportRule]) -> None:
        exporting.remove(queryset)
