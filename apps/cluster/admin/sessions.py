"""Clients and their sessions, online and offline: what one does now, its queue, and what to do about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from apps.auth import rbac
from apps.cluster import selectors, services, steering
from apps.cluster.admin import messages as pages
from apps.cluster.admin.base import NodeFilter, SeenAdmin, TransportFilter, VersionFilter, actor_of
from apps.cluster.fabric import FabricError
from apps.cluster.models import SessionInfo

SHOWN = 100  # subscriptions, drops and queued messages on a client's page
VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5.0"}
TIMES = ("created_at", "connected_at", "last_seen", "expires_at", "credentials_expire_at")


@admin.register(SessionInfo)
class SessionAdmin(SeenAdmin):
    rows = selectors.sessions
    permission = rbac.VIEW_SESSION
    keyset = "client_id"
    list_display = (
        "client_id",
        "online",
        "username",
        "address",
        "version",
        "transport",
        "node",
        "connected_at",
        "keepalive",
        "clean_start",
        "subscriptions",
        "inflight",
        "queued",
        "expires_at",
    )
    list_filter = ("online", NodeFilter, TransportFilter, VersionFilter)
    lookups = ("online__exact", "client_id", "username", "address")
    search_fields = ("client_id__startswith", "=username", "=address")
    search_help_text = _("Beginning of a client id, user name or address in full")
    exported = (
        "client_id",
        "online",
        "node",
        "username",
        "address",
        "port",
        "transport",
        "level",
        "clean_start",
        "keepalive",
        "connected_at",
        "disconnected_at",
        "expires_at",
        "subscriptions",
        "inflight",
        "queued",
        "queued_bytes",
    )
    actions = ("kick_all",)
    detail_template = "cluster/session.html"
    verbs = {
        "kick": rbac.KICK_SESSION,
        "end": rbac.END_SESSION,
        "subscribe": rbac.SUBSCRIBE_FOR,
        "unsubscribe": rbac.SUBSCRIBE_FOR,
        "look": rbac.VIEW_QUEUE,
        "purge": rbac.PURGE_QUEUE,
    }

    def get_urls(self) -> list[Any]:
        return [*pages.urls(), *super().get_urls()]

    @admin.display(description=_("version"))
    def version(self, session: SessionInfo) -> str:
        return VERSIONS.get(session.level, "–")

    def has_kick_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).may_somewhere(rbac.KICK_SESSION)

    @admin.action(description=_("Disconnect the chosen clients"), permissions=["kick"])
    def kick_all(self, request: HttpRequest, chosen: QuerySet[SessionInfo]) -> None:
        sessions = list(chosen)
        try:
            failed = services.kick_all(actor_of(request), sessions)
        except PermissionDenied:
            messages.error(request, _("You may not disconnect all of these."))
            return
        for client_id, why in list(failed.items())[:10]:
            messages.error(request, f"{client_id}: {why}")
        done = len(sessions) - len(failed)
        text = ngettext("%(count)d client disconnected.", "%(count)d clients disconnected.", done)
        messages.success(request, text % {"count": done})

    def detail(self, request: HttpRequest, row: SessionInfo) -> dict[str, Any]:
        actor = actor_of(request)
        found: dict[str, Any] = {
            "subscriptions": selectors.subscriptions(actor).filter(client_id=row.client_id)[:SHOWN],
            "drops": selectors.drops(actor).filter(client_id=row.client_id).order_by("-id")[:SHOWN],
            "version": VERSIONS.get(row.level, "–"),
        }
        try:
            live = steering.look_at(actor, row)
            for name in TIMES:
                if live.get(name):
                    live[name] = datetime.fromtimestamp(live[name], UTC)
            found["live"] = live
        except FabricError as error:
            found["error"] = str(error)
        return found

    # The forms of a client's page ----------------------------------------------------------------------

    def kick(self, request: HttpRequest, session: SessionInfo) -> None:
        actor = actor_of(request)
        self.told(request, lambda: services.kick(actor, session), _("The client was disconnected."))

    def end(self, request: HttpRequest, session: SessionInfo) -> HttpResponse | None:
        actor = actor_of(request)
        text = _("The session was ended.")
        return self.back() if self.told(request, lambda: services.end_session(actor, session), text) else None

    def subscribe(self, request: HttpRequest, session: SessionInfo) -> None:
        actor, filter = actor_of(request), request.POST.get("filter", "")
        qos = {"0": 0, "1": 1, "2": 2}.get(request.POST.get("qos", ""), 0)
        self.told(request, lambda: services.subscribe(actor, session, filter, qos), _("Subscribed."))

    def unsubscribe(self, request: HttpRequest, session: SessionInfo) -> None:
        actor, filter = actor_of(request), request.POST.get("filter", "")
        self.told(request, lambda: services.unsubscribe(actor, session, filter), _("Unsubscribed."))

    def purge(self, request: HttpRequest, session: SessionInfo) -> None:
        actor = actor_of(request)
        self.told(request, lambda: services.purge_queue(actor, session), _("The queue was purged."))

    def look(self, request: HttpRequest, session: SessionInfo) -> HttpResponse | None:
        """The first messages of the queue, on a page of their own that is not kept."""
        actor = actor_of(request)
        found: dict[str, Any] = {}

        def ask() -> None:
            found.update(services.look_into_queue(actor, session, SHOWN, payloads=True))

        if not self.told(request, ask, _("This was noted in the audit log.")):
            return None
        context = {**self.admin_site.each_context(request), "opts": self.opts, "row": session}
        return TemplateResponse(
            request,
            "cluster/queue.html",
            {**context, **found, "messages_found": found["messages"], "title": str(session)},
        )
