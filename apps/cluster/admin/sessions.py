"""Clients and their sessions, online and offline: what one does now, its queue, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from apps.auth import permissions as auth_permissions
from apps.auth.services import bans
from apps.cluster import live_queries, maintenance, permissions, selectors, services
from apps.cluster.admin import configuration, live
from apps.cluster.admin import messages as pages
from apps.cluster.admin.base import NodeFilter, SeenAdmin, TransportFilter, VersionFilter, actor_of
from apps.cluster.directory import names
from apps.cluster.models import SessionInfo
from apps.cluster.node_rpc import NodeRpcError
from apps.common.actors import Actor
from apps.common.errors import Duplicate, Gone
from apps.gateway.mqtt import topics
from apps.gateway.mqtt.errors import MqttError

SHOWN = 100  # subscriptions, drops and queued messages on a client's page
REPLAYED = 1000  # messages at most, as over REST
MAX_TOLD = 10  # of many, those where something was not done
VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5.0"}
TIMES = ("created_at", "connected_at", "last_seen", "expires_at", "credentials_expire_at")


@admin.register(SessionInfo)
class SessionAdmin(SeenAdmin):
    rows = selectors.sessions
    permission = permissions.VIEW_SESSION
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
    actions = ("kick_all", "ban_all", "purge_all")
    detail_template = "cluster/session.html"
    verbs = {
        "kick": permissions.KICK_SESSION,
        "end": permissions.END_SESSION,
        "subscribe": permissions.SUBSCRIBE_FOR,
        "unsubscribe": permissions.SUBSCRIBE_FOR,
        "look": permissions.VIEW_QUEUE,
        "purge": permissions.PURGE_QUEUE,
        "replay": permissions.PURGE_QUEUE,
        "ban": auth_permissions.ADD_BAN,
        "explain": auth_permissions.VIEW_RULE,
    }

    def get_urls(self) -> list[Any]:
        now = path("<int:pk>/now/", self.admin_site.admin_view(self.now), name="cluster_session_now")
        return [now, *pages.urls(), *live.urls(), *configuration.urls(), *super().get_urls()]

    @admin.display(description=_("version"))
    def version(self, session: SessionInfo) -> str:
        return VERSIONS.get(session.level, "–")

    def has_ban_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).may(auth_permissions.ADD_BAN)

    def has_purge_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).may_somewhere(permissions.PURGE_QUEUE)

    def has_kick_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).may_somewhere(permissions.KICK_SESSION)

    @admin.action(description=_("Disconnect the chosen clients"), permissions=["kick"])
    def kick_all(self, request: HttpRequest, chosen: QuerySet[SessionInfo]) -> None:
        done = self._each(request, chosen, services.kick)
        text = ngettext("%(count)d client disconnected.", "%(count)d clients disconnected.", done)
        messages.success(request, text % {"count": done})

    @admin.action(description=_("Ban the chosen clients, for good"), permissions=["ban"])
    def ban_all(self, request: HttpRequest, chosen: QuerySet[SessionInfo]) -> None:
        done = self._each(request, chosen, _ban)
        text = ngettext("%(count)d client banned.", "%(count)d clients banned.", done)
        messages.success(request, text % {"count": done})

    @admin.action(description=_("Purge the queues of the chosen clients"), permissions=["purge"])
    def purge_all(self, request: HttpRequest, chosen: QuerySet[SessionInfo]) -> None:
        done = self._each(request, chosen, services.purge_queue)
        text = ngettext("%(count)d queue purged.", "%(count)d queues purged.", done)
        messages.success(request, text % {"count": done})

    def _each(
        self, request: HttpRequest, chosen: QuerySet[SessionInfo], do: Callable[[Actor, SessionInfo], Any]
    ) -> int:
        """How often it was done; the first of those where it was not are told, with the reason."""
        actor, failed, done = actor_of(request), 0, 0
        for session in chosen:
            try:
                do(actor, session)
            except PermissionDenied:
                why: Any = _("You may not do this.")
            except (NodeRpcError, Gone, Duplicate, ValidationError) as error:
                why = "; ".join(error.messages) if isinstance(error, ValidationError) else error
            else:
                done += 1
                continue
            failed += 1
            if failed <= MAX_TOLD:
                messages.error(request, f"{session.client_id}: {why}")
        if failed > MAX_TOLD:
            messages.error(request, _("And %(count)d more.") % {"count": failed - MAX_TOLD})
        return done

    def detail(self, request: HttpRequest, row: SessionInfo) -> dict[str, Any]:
        actor = actor_of(request)
        found: dict[str, Any] = {
            "subscriptions": selectors.subscriptions(actor).filter(client_id=row.client_id)[:SHOWN],
            "drops": selectors.drops(actor).filter(client_id=row.client_id).order_by("-id")[:SHOWN],
            "version": VERSIONS.get(row.level, "–"),
        }
        live, found["events"] = live_queries.client(actor, row)
        for event in found["events"]:
            event["at"] = datetime.fromtimestamp(event["at"], UTC)
        if isinstance(live, NodeRpcError):
            return found | {"trouble": str(live)}
        for name in TIMES:
            if live.get(name):
                live[name] = datetime.fromtimestamp(live[name], UTC)
        return found | {"live": live}

    def now(self, request: HttpRequest, pk: int) -> JsonResponse:
        """The live counters of a client's page, as JSON: it asks once in a while."""
        actor = actor_of(request)
        session = selectors.sessions(actor).filter(pk=pk).first()
        if session is None:
            return JsonResponse({"code": "not_found"}, status=404)
        try:
            return JsonResponse(maintenance.look_at(actor, session))
        except NodeRpcError as error:
            return JsonResponse({"code": error.code, "detail": str(error)}, status=503)

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

    def replay(self, request: HttpRequest, session: SessionInfo) -> None:
        actor, name = actor_of(request), request.POST.get("to", "")
        to = None
        if "\0" not in name:  # is in no row, and PostgreSQL takes none to compare with
            to = selectors.sessions(actor, permissions.PURGE_QUEUE).filter(client_id=name).first()
        if to is None:
            messages.error(request, _("There is no session of this client id that you may change."))
            return
        text = _("Copies of the first messages went to the other client.")
        self.told(request, lambda: services.replay_queue(actor, session, to, REPLAYED), text)

    def ban(self, request: HttpRequest, session: SessionInfo) -> None:
        actor = actor_of(request)
        self.told(request, lambda: _ban(actor, session), _("The client is banned, for good."))

    def explain(self, request: HttpRequest, session: SessionInfo) -> HttpResponse | None:
        """Which rule decides about a topic, on a page of its own."""
        actor, topic = actor_of(request), request.POST.get("topic", "")
        action = "subscribe" if request.POST.get("action") == "subscribe" else "publish"
        context = {**self.admin_site.each_context(request), "opts": self.opts, "row": session}
        try:
            (topics.check_filter if action == "subscribe" else topics.check_name)(topic)
            context |= live_queries.explain(actor, session, action, topic)
        except MqttError as error:
            context["trouble"] = error.text
        except NodeRpcError as error:
            context["trouble"] = str(error)
        context |= {"action": action, "topic": topic, "title": str(session)}
        return TemplateResponse(request, "cluster/explain.html", context)

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


def _ban(actor: Actor, session: SessionInfo) -> None:
    """Nobody connects with this client id any more. PermissionDenied, Duplicate, ValidationError."""
    if names.is_shortened(session.client_id, names.CLIENT_ID):
        raise ValidationError(_("This client id is too long for a ban; ban its user name or its address."))
    bans.create(actor, "client_id", session.client_id, reason=f"by {actor.name}, from the client's page")
