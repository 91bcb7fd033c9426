"""Access rules and bans."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline

from apps.auth import permissions, selectors
from apps.auth.admin.base import DoorAdmin, GroupFilter, actor_of
from apps.auth.models import AclRule, Ban, Client
from apps.auth.services import bans, rules
from apps.common.forms import CheckedForm
from apps.common.lists import LongList
from apps.common.scopes import HIGHEST_ALLOW


class RuleInline(TabularInline):
    """On the page of a client or a group."""

    model = AclRule
    extra = 0
    fields = ("priority", "effect", "action", "filter", "max_qos", "retain", "note")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return super().formfield_for_dbfield(db_field, request, **kwargs | _usual(db_field, request))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._reached(request, obj, permissions.VIEW_RULE, saved=False)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._reached(request, obj, permissions.ADD_RULE)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._reached(request, obj, permissions.CHANGE_RULE)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._reached(request, obj, permissions.DELETE_RULE)

    def _reached(
        self, request: HttpRequest, subject: Model | None, permission: str, saved: bool = True
    ) -> bool:
        """Rules are saved with the page that they stand on: who may not change that changes no rule on it."""
        actor = actor_of(request)
        if subject is None:
            return actor.may_somewhere(permission)
        of_client = isinstance(subject, Client)
        rows: Any = selectors.clients if of_client else selectors.groups
        more = (permissions.CHANGE_CLIENT if of_client else permissions.CHANGE_GROUP,) if saved else ()
        return all(rows(actor, wanted).filter(pk=subject.pk).exists() for wanted in (permission, *more))


def _usual(db_field: Any, request: HttpRequest) -> dict[str, Any]:
    """What the form of a new rule begins with: by rights on a group, the highest priority they give."""
    bounded = db_field.name == "priority" and not actor_of(request).may(permissions.ADD_RULE)
    return {"initial": HIGHEST_ALLOW} if bounded else {}


def save_rules(request: HttpRequest, formset: Any) -> None:
    """What the inline on a client's or a group's page changed, by the verbs."""
    actor = actor_of(request)
    if formset.deleted_objects:
        rules.remove(actor, formset.deleted_objects)
    saved = [
        rules.create(actor, **{name: getattr(rule, name) for name in rules.FIELDS})
        for rule in formset.new_objects
    ]
    for rule, changed in formset.changed_objects:
        saved.append(rules.update(actor, rule, **{name: getattr(rule, name) for name in changed}))
    for rule in saved:
        _warn(request, rule)


def _warn(request: HttpRequest, rule: AclRule) -> None:
    for text in rules.warnings(rule):
        messages.warning(request, f"{rule}: {text}")


@admin.register(AclRule)
class RuleAdmin(DoorAdmin):
    reach = selectors.rules
    list_display = ("priority", "effect", "action", "filter", "subject", "max_qos", "retain", "note")
    list_display_links = ("filter",)
    list_filter = ("effect", "action", ("group", GroupFilter))
    lookups = ("effect__exact", "action__exact", "group__id__exact", "group__isnull")
    search_fields = ("filter", "note", "client__client_id", "group__name")
    list_select_related = ("client", "group")
    autocomplete_fields = ("client", "group")
    ordering = ("-priority", "id")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return super().formfield_for_dbfield(db_field, request, **kwargs | _usual(db_field, request))

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Of clients and groups that are none of the operator's business the form tells no name."""
        rows: Any = selectors.clients if db_field.name == "client" else selectors.groups
        actor = actor_of(request)
        kwargs["queryset"] = rows(actor, permissions.ADD_RULE) | rows(actor, permissions.CHANGE_RULE)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @admin.display(description=_("for"))
    def subject(self, rule: AclRule) -> str:
        return str(rule.client or rule.group or "everyone")

    def save_model(self, request: HttpRequest, obj: AclRule, form: Any, change: bool) -> None:
        given = form.cleaned_data
        if change:
            known = AclRule.objects.get(pk=obj.pk)
            saved = rules.update(
                actor_of(request), known, **{name: given[name] for name in form.changed_data}
            )
        else:
            saved = rules.create(actor_of(request), **given)
            obj.pk = saved.pk
        _warn(request, saved)

    def delete_model(self, request: HttpRequest, obj: AclRule) -> None:
        rules.remove(actor_of(request), [obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[AclRule]) -> None:
        rules.remove(actor_of(request), queryset)


class BanForm(CheckedForm):
    class Meta:
        model = Ban
        fields = ("kind", "value", "until", "reason")

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if "kind" in given and "value" in given:
            given["value"] = bans.spelled(given["kind"], given["value"])
        return given


@admin.register(Ban)
class BanAdmin(LongList, DoorAdmin):  # type: ignore[misc]
    form = BanForm
    list_display = ("kind", "value", "active", "until", "reason", "automatic", "created_at")
    list_display_links = ("value",)
    list_filter = ("kind", "automatic", "until")
    lookups = ("kind__exact", "automatic__exact", "until__gte", "until__lt", "until__isnull")
    search_fields = ("value", "reason")
    exported = ("kind", "value", "until", "reason", "automatic", "created_at")

    @admin.display(boolean=True)
    def active(self, ban: Ban) -> bool:
        return ban.is_active

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("kind", "value", "automatic", "created_at") if obj else ()

    def save_model(self, request: HttpRequest, obj: Ban, form: Any, change: bool) -> None:
        given = form.cleaned_data
        if change:
            bans.update(actor_of(request), obj, until=given["until"], reason=given["reason"])
        else:
            obj.pk = bans.create(actor_of(request), **given).pk

    def delete_model(self, request: HttpRequest, obj: Ban) -> None:
        bans.lift(actor_of(request), [obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Ban]) -> None:
        bans.lift(actor_of(request), queryset)
