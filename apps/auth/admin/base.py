"""What every admin page of this app shares: rights per object, one door for writes, secrets shown once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from auditlog.models import LogEntry
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DataError, transaction
from django.db.models import DateTimeField, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from apps.auth import permissions, selectors
from apps.common import actors
from apps.common.actors import Actor
from apps.common.errors import Duplicate, Gone
from apps.common.forms import CheckedForm

REFUSALS = (ValidationError, Duplicate, Gone)
# What a database says about a number of more than 64 bits, or a text that it cannot hold.
TOO_ODD = (OverflowError, ValueError, DataError)


def actor_of(request: HttpRequest) -> Actor:
    return actors.of_user(request.user, str(request.META.get("REMOTE_ADDR") or ""))


def is_id(text: str) -> bool:
    """May a row have this primary key?"""
    return text.isascii() and text.isdecimal() and int(text[:20]) < 1 << 63


class GroupFilter(admin.RelatedFieldListFilter):
    """Names the groups that the operator may see, no others."""

    def field_choices(  # type: ignore[override]
        self,
        field: Any,
        request: HttpRequest,
        model_admin: admin.ModelAdmin,  # type: ignore[type-arg]
    ) -> list[tuple[int, str]]:
        return [(group.pk, group.name) for group in selectors.groups(actor_of(request))]


class ListedAdmin(ModelAdmin):
    """A list that takes odd queries for what they are, and is never counted in full."""

    # All that the query of the list may filter by: what its sidebar links to. By any other the list would
    # tell a hash letter by letter (secret__startswith) or hold the node up (client_id__regex).
    lookups: ClassVar[tuple[str, ...]] = ()
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return lookup in self.lookups

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """U+0000 is in no row, and PostgreSQL takes none to compare with."""
        if "\0" in search_term:
            return queryset.none(), False
        return super().get_search_results(request, queryset, search_term)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        try:
            return super().get_changelist_instance(request)
        except TOO_ODD:
            raise IncorrectLookupParameters from None

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        if not all(is_id(chosen) for chosen in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            messages.error(request, _("What was chosen is not in this list."))
            return None
        return super().response_action(request, queryset)


class DoorAdmin(ListedAdmin):
    """Subclasses say by `reach` which rows a permission reaches, and write by the verbs of `services`."""

    form = CheckedForm
    reach: ClassVar[Callable[[Actor, str], QuerySet[Any]] | None] = None  # None: all rows or none

    # ------------------------------------------------------------ rights

    def may(self, request: HttpRequest, verb: str, row: Model | None = None, model: str = "") -> bool:
        actor = actor_of(request)
        permission = f"{permissions.APP}.{verb}_{model or self.opts.model_name}"
        if row is None:
            return actor.may_somewhere(permission)
        return actor.may(permission) or self.reachable(actor, permission).filter(pk=row.pk).exists()

    def reachable(self, actor: Actor, permission: str) -> QuerySet[Any]:
        reach = type(self).reach
        if reach is not None:
            return reach(actor, permission)
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
        rows = self.reachable(actor_of(request), f"{permissions.APP}.view_{self.opts.model_name}")
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows

    # ------------------------------------------------------------ two operators, one row

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Locked until the transaction that changes it ends, so that CheckedForm compares for good."""
        row = super().get_object(request, object_id, from_field)
        if row is None or request.method != "POST" or not transaction.get_connection().in_atomic_block:
            return row
        self.model._default_manager.select_for_update().filter(pk=row.pk).first()
        return super().get_object(request, object_id, from_field)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What the query fills in, but for times, which a form takes as such alone."""
        times = {field.name for field in self.opts.fields if isinstance(field, DateTimeField)}
        given = super().get_changeform_initial_data(request)
        return {name: value for name, value in given.items() if name not in times}

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fields = [name for name in self.get_fields(request, obj) if name != "seen"]
        if obj is not None and self.has_change_permission(request, obj):
            fields.append("seen")
        return [(None, {"fields": fields})]

    # ------------------------------------------------------------ refusals of services

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """A form shows again what was chosen, and a widget that looks that up chokes on what is no id."""
        given = request.POST if request.method == "POST" else request.GET
        for field in (*self.opts.fields, *self.opts.many_to_many):
            chosen = ",".join(given.getlist(field.name)) if field.is_relation else ""
            if not all(is_id(text) for text in chosen.split(",") if text):
                messages.error(request, _("There is no such %(name)s.") % {"name": field.verbose_name})
                return HttpResponseRedirect(request.path)
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
        except (OverflowError, DataError):
            if request.method != "POST":
                raise
            messages.error(request, _("A number is too large."))
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
        context["title"] = _("Change history: %(row)s") % {"row": row}
        context["entries"] = [shown(entry) for entry in entries]
        return TemplateResponse(request, "admin/mqtt_auth/history.html", context)

    def secrets_page(
        self, request: HttpRequest, made: Iterable[tuple[str, str, str | None]]
    ) -> TemplateResponse:
        """(what for, name, secret), on a page that is kept nowhere: no message, no cookie, no cache."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, "made": list(made)}
        page = TemplateResponse(
            request, "admin/mqtt_auth/secrets.html", context | {"title": _("Shown this once")}
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
