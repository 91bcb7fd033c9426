"""What was refused, and who changed what: to be read, not to be written."""

from __future__ import annotations

from typing import Any

from auditlog.models import LogEntry
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _

from apps.auth.admin.base import ListedAdmin, shown
from apps.auth.models import Refusal
from apps.common.lists import LongList


class ReadOnly(LongList, ListedAdmin):  # type: ignore[misc]
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Refusal)
class RefusalAdmin(ReadOnly):
    list_display = (
        "at",
        "action",
        "client_id",
        "username",
        "address",
        "code",
        "reason",
        "topic",
        "rule_id",
        "node",
    )
    list_filter = ("action", "reason_code", "node", "at")
    lookups = ("action__exact", "reason_code", "node", "at__gte", "at__lt")
    search_fields = ("=client_id", "=username", "=address", "topic")
    exported = (
        *("at", "action", "client_id", "username", "address", "reason_code", "reason", "topic"),
        *("rule_id", "node"),
    )

    @admin.display(description=_("code"), ordering="reason_code")
    def code(self, refusal: Refusal) -> str:
        return f"0x{refusal.reason_code:02X}"


admin.site.unregister(LogEntry)


@admin.register(LogEntry)
class AuditAdmin(ReadOnly):
    """In the place of auditlog's own page, which knows no service accounts."""

    list_display = ("timestamp", "by", "action", "content_type", "object_repr", "remote_addr", "summary")
    list_display_links = ("object_repr",)
    list_filter = ("action", "content_type", "timestamp")
    lookups = ("action__exact", "content_type__id__exact", "timestamp__gte", "timestamp__lt")
    search_fields = ("=object_repr", "=remote_addr", "=actor__username")
    list_select_related = ("content_type",)
    exported = (
        *("timestamp", "actor__username", "remote_addr", "action", "content_type__model", "object_pk"),
        *("object_repr", "changes"),
    )
    fields = (
        "timestamp",
        "by",
        "remote_addr",
        "action",
        "content_type",
        "object_repr",
        "object_id",
        "details",
    )

    @admin.display
    def by(self, entry: LogEntry) -> str:
        return str(shown(entry)["by"])

    @admin.display(description=_("changes"))
    def summary(self, entry: LogEntry) -> str:
        return ", ".join(entry.changes or {})

    @admin.display(description=_("changes"))
    def details(self, entry: LogEntry) -> str:
        lines = ((c["field"], c["before"], c["after"]) for c in shown(entry)["changes"])
        return format_html(
            "<table>{}</table>", format_html_join("", "<tr><th>{}</th><td>{}</td><td>→ {}</td></tr>", lines)
        )
