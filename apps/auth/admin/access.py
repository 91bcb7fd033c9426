"""Service accounts and roles."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from apps.auth.admin.base import DoorAdmin, actor_of
from apps.auth.models import Role, ServiceAccount
from apps.auth.services import accounts
from apps.common import rbac
from apps.common.forms import CheckedForm


@admin.register(ServiceAccount)
class AccountAdmin(DoorAdmin):
    list_display = ("name", "access_key", "has_roles", "enabled", "expires_at", "rotated_at")
    list_filter = ("enabled", "roles")
    lookups = ("enabled__exact", "roles__id__exact", "roles__isnull")
    search_fields = ("name", "access_key", "description")
    fields = ("name", "description", "roles", "enabled", "expires_at")
    filter_horizontal = ("roles",)
    actions = ("rotate",)

    @admin.display(description=_("roles"))
    def has_roles(self, account: ServiceAccount) -> str:
        return ", ".join(role.name for role in account.roles.all())

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServiceAccount]:
        return super().get_queryset(request).prefetch_related("roles")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("access_key", *self.fields, "created_at", "rotated_at") if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("access_key", "created_at", "rotated_at")

    def save_model(self, request: HttpRequest, obj: ServiceAccount, form: Any, change: bool) -> None:
        given = form.cleaned_data
        if change:
            accounts.update(actor_of(request), obj, **{name: given[name] for name in form.changed_data})
            return
        account, secret = accounts.create(actor_of(request), **given)
        obj.pk = account.pk
        request.made = (account.name, account.access_key, secret)  # type: ignore[attr-defined]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The roles are saved already."""

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        return self.secrets_page(request, [request.made])  # type: ignore[attr-defined]

    def delete_model(self, request: HttpRequest, obj: ServiceAccount) -> None:
        accounts.remove(actor_of(request), obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ServiceAccount]) -> None:
        for account in queryset:
            accounts.remove(actor_of(request), account)

    @admin.action(description=_("Replace the secret, at once"), permissions=["change"])
    def rotate(self, request: HttpRequest, rows: QuerySet[ServiceAccount]) -> HttpResponse:
        made = accounts.rotate_many(actor_of(request), rows)
        return self.secrets_page(request, [(row.name, row.access_key, secret) for row, secret in made])


class RoleForm(CheckedForm):
    permissions = forms.MultipleChoiceField(
        choices=[(name, name) for name in sorted(rbac.PERMISSIONS)],
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )

    class Meta:
        model = Role
        fields = ("name", "description", "permissions")


@admin.register(Role)
class RoleAdmin(DoorAdmin):
    form = RoleForm
    list_display = ("name", "description", "builtin")
    search_fields = ("name", "description")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not (obj and obj.builtin) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not (obj and obj.builtin) and super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Role, form: Any, change: bool) -> None:
        given = form.cleaned_data
        if change:
            accounts.update_role(actor_of(request), obj, **given)
        else:
            obj.pk = accounts.create_role(actor_of(request), **given).pk

    def delete_model(self, request: HttpRequest, obj: Role) -> None:
        accounts.remove_role(actor_of(request), obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Role]) -> None:
        for role in queryset:
            accounts.remove_role(actor_of(request), role)
