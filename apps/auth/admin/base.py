"""What every admin page of this app shares: rights per object, one door for writes, secrets shown once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from auditlog.models import LogEntry
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from apps.auth import actors, rbac
from apps.auth.actors import Actor
from apps.auth.errors import Duplicate, Gone

REFUSALS = (ValidationError, Duplicate, Gone)


def actor_of(request: HttpRequest) -> Actor:
    return actors.of_user(request.user, str(request.META.get("REMOTE_ADDR") or ""))


class DoorAdmin(admin.ModelAdmin):
    """Subclasses say by `reach` which rows a permission reaches, and write by the verbs of `services`."""

    reach: ClassVar[Callable[[Actor, str], QuerySet[Any]] | None] = None  # None: all rows or none
    list_per_page = 50
    show_full_result_count = False

    # ------------------------------------------------------------ rights

    def may(self, request: HttpRequest, verb: str, row: Model | None = None, model: str = "") -> bool:
        actor = actor_of(request)
        permission = f"{rbac.APP}.{verb}_{model or self.opts.model_name}"
        if row is None:
            return actor.may_somewhere(permission)
        return actor.may(permission) or self.reachable(actor, permission).filter(pk=row.pk).exists()

    def reachable(self, actor: Actor, permission: str) -> QuerySet[Any]:
        if self.reach is not None:
            return type(self).reach(actor, permission)
        rows = self.model._default_manager.all()
        return rows if actor.may(permission) else rows.none()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "view")

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may(request, "view", obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "add")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may(request, "delete", obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self.reachable(actor_of(request), f"{rbac.APP}.view_{self.opts.model_name}")

    # ------------------------------------------------------------ refusals of services

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._told(request, super().changeform_view, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._told(request, super().delete_view, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._told(request, super().changelist_view, *args, **kwargs)

    def _told(
        self, request: HttpRequest, view: Callable[..., HttpResponse], *args: Any, **kwargs: Any
    ) -> Any:
        """What a verb refuses, and the form did not foresee, is told on the page that asked."""
        try:
            return view(request, *args, **kwargs)
        except REFUSALS as error:
            for text in error.messages if isinstance(error, ValidationError) else [str(error)]:
                messages.error(request, text)
        except PermissionDenied as error:
            if request.method != "POST" or not str(error):
                raise
            messages.error(request, str(error))
        return HttpResponseRedirect(request.get_full_path())

    # ------------------------------------------------------------ pages

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The audit trail of the row, which knows services and the platform, too."""
        row = self.get_object(request, object_id)
        if row is None or not self.has_view_permission(request, row):
            raise PermissionDenied
        entries = LogEntry.objects.get_for_object(row).order_by("-id")[:200]
        context = {**self.admin_site.each_context(request), "opts": self.opts, "object": row}
        context |= {"title": f"Change history: {row}", "entries": [shown(entry) for entry in entries]}
        return TemplateResponse(request, "admin/mqtt_auth/history.html", context)

    def secrets_page(
        self, request: HttpRequest, made: Iterable[tuple[str, str, str | None]]
    ) -> TemplateResponse:
        """(what for, name, secret), on a page that is kept nowhere: no message, no cookie, no cache."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, "made": list(made)}
        page = TemplateResponse(
            request, "admin/mqtt_auth/secrets.html", context | {"title": "Shown this once"}
        )
        return page


def shown(entry: LogEntry) -> dict[str, Any]:
    """An entry of the audit trail as the pages show it."""
    about = entry.additional_data or {}
    return {
        "at": entry.timestamp,
        "by": about.get("name", "system"),
        "key": about.get("by", "system"),
        "address": entry.remote_addr or "",
        "action": entry.get_action_display(),
        "changes": [_change(field, change) for field, change in (entry.changes or {}).items()],
    }


def _change(field: str, change: Any) -> dict[str, Any]:
    if isinstance(change, dict):  # of a many-to-many relation
        names = ", ".join(map(str, change.get("objects", [])))
        added = change.get("operation") == "add"
        return {"field": field, "before": "" if added else names, "after": names if added else ""}
    before, after = change
    return {"field": field, "before": before, "after": after}
