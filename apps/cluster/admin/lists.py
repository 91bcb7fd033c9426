"""Subscriptions and the drop ledger."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from apps.cluster import permissions, selectors
from apps.cluster.admin.base import NodeFilter, QosFilter, SeenAdmin, actor_of
from apps.cluster.models import Drop, SubscriptionInfo
from apps.gateway.mqtt import topics
from apps.gateway.mqtt.errors import MqttError

MAX_SHOWN = 200  # recipients of a topic


@admin.register(SubscriptionInfo)
class SubscriptionAdmin(SeenAdmin):
    rows = selectors.subscriptions
    permission = permissions.VIEW_SUBSCRIPTION
    keyset = "id"
    list_display = ("filter", "share", "client_link", "node", "qos", "no_local", "retain_as_published")
    list_display_links = None
    list_filter = (QosFilter, NodeFilter)
    lookups = ("client_id", "filter", "share")
    search_fields = ("=client_id", "=filter", "=share")
    search_help_text = _("Client id, filter or share name, in full")
    exported = (
        "client_id",
        "node",
        "filter",
        "share",
        "qos",
        "no_local",
        "retain_as_published",
        "identifier",
    )
    actions_list = ("recipients", "export_list")

    @admin.display(description=_("client"))
    def client_link(self, row: SubscriptionInfo) -> str:
        given = urlencode({"client_id": row.client_id})
        url = f"{reverse('admin:cluster_sessioninfo_changelist')}?{given}"
        return format_html('<a href="{}">{}</a>', url, row.client_id)

    @action(description=_("Who would receive this topic?"), url_path="recipients", icon="alt_route")
    def recipients(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        topic = request.GET.get("topic", "")
        context: dict[str, Any] = {"topic": topic, "title": _("Who would receive this topic?")}
        if topic:
            try:
                topics.check_name(topic)
                found = selectors.recipients(actor_of(request), topic).order_by("id")
                rows = list(found[: MAX_SHOWN + 1])
                context |= {"rows": rows[:MAX_SHOWN], "more": len(rows) > MAX_SHOWN}
            except (MqttError, ValidationError) as error:
                context["trouble"] = str(error)
        page = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, "cluster/recipients.html", page)


@admin.register(Drop)
class DropAdmin(SeenAdmin):
    rows = selectors.drops
    permission = permissions.VIEW_DROP
    list_display = ("last", "reason", "direction", "topic", "client_id", "node", "count")
    list_display_links = None
    list_filter = ("direction", NodeFilter)
    lookups = ("reason", "direction__exact", "client_id", "topic")
    search_fields = ("=client_id", "=topic", "=reason")
    search_help_text = _("Client id, topic or reason, in full")
    exported = ("bucket", "node", "reason", "direction", "client_id", "topic", "count", "first", "last")
