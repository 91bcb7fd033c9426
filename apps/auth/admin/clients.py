"""Clients, their credentials and their groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from guardian.admin import GuardedModelAdminMixin
from unfold.admin import TabularInline

from apps.auth import permissions, selectors
from apps.auth.admin.base import DoorAdmin, GroupFilter, actor_of, is_id
from apps.auth.admin.groupforms import GroupForm
from apps.auth.admin.rules import RuleInline, save_rules
from apps.auth.api.bulk import export_csv
from apps.auth.facts import TRANSPORTS
from apps.auth.models import AclRule, Ban, Client, ClientGroup, Credential
from apps.auth.selectors import applying
from apps.auth.selectors.reach import web_client_url
from apps.auth.services import bans, clients, credentials, groups, registering
from apps.auth.services.clients import ClientChanges
from apps.auth.services.credentials import NewCredential
from apps.auth.services.registering import NewClient
from apps.common.errors import Duplicate
from apps.common.forms import CheckedForm


def _warnings(client: Client, username: str) -> list[str]:
    found = applying.warnings([(client.client_id, username)])
    return [each["detail"] for each in found.get(client.client_id, [])]


class ClientForm(CheckedForm):
    transports = forms.MultipleChoiceField(
        choices=[(name, name) for name in TRANSPORTS],
        widget=forms.CheckboxSelectMultiple,
        initial=list(TRANSPORTS),
    )

    class Meta:
        model = Client
        fields = ("client_id", "display_name", "owner", "groups", "enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["transports"] = self.instance.transports


class NewClientForm(ClientForm):
    username = forms.CharField(max_length=256, required=False, help_text=_("Empty: the client id."))
    password = forms.CharField(
        widget=forms.PasswordInput, required=False, help_text=_("Empty: a secret is made and shown once.")
    )
    client_ids = forms.CharField(
        max_length=256, required=False, help_text=Credential._meta.get_field("client_ids").help_text
    )


class CredentialInline(TabularInline):
    model = Credential
    extra = 0
    fields = readonly_fields = ("kind", "shown_name", "client_ids", "valid_until", "created_at")
    show_change_link = True

    def has_view_permission(self, request: HttpRequest, obj: Client | None = None) -> bool:
        return self._reached(request, obj, permissions.VIEW_CREDENTIAL)

    def has_add_permission(self, request: HttpRequest, obj: Client | None = None) -> bool:
        return False

    has_change_permission = has_add_permission

    def has_delete_permission(self, request: HttpRequest, obj: Client | None = None) -> bool:
        return self._reached(request, obj, permissions.DELETE_CREDENTIAL)

    def _reached(self, request: HttpRequest, client: Client | None, permission: str) -> bool:
        actor = actor_of(request)
        if client is None:
            return actor.may_somewhere(permission)
        return selectors.clients(actor, permission).contains(client)


@admin.register(Client)
class ClientAdmin(DoorAdmin):
    reach = selectors.clients
    form = ClientForm
    list_display = ("client_id", "display_name", "owner", "in_groups", "enabled", "last_seen")
    list_filter = ("enabled", ("groups", GroupFilter), "last_seen", "created_at")
    lookups = (
        "enabled__exact",
        "groups__id__exact",
        "groups__isnull",
        "last_seen__gte",
        "last_seen__lt",
        "last_seen__isnull",
        "created_at__gte",
        "created_at__lt",
    )
    search_fields = ("client_id", "display_name", "owner")
    filter_horizontal = ("groups",)
    inlines = (CredentialInline, RuleInline)
    actions = ("enable", "disable", "rotate", "kick", "ban", "export")

    @admin.display(description=_("groups"))
    def in_groups(self, client: Client) -> str:
        return ", ".join(group.name for group in client.groups.all())

    def get_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs if obj else {**kwargs, "form": NewClientForm})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        reads = ("web_client",) if self.may(request, "read", obj, model="messages") else ()
        lost = ("rules_that_cannot_apply",) if self.rules_that_cannot_apply(obj) else ()
        return ("client_id", *lost, "last_seen", "created_at", "updated_at", *reads)

    @admin.display(description=_("rules that cannot apply"))
    def rules_that_cannot_apply(self, client: Client) -> str:
        names = client.credentials.filter(valid_until=None).values_list("username", flat=True)
        return " ".join(dict.fromkeys(each for name in [*names] or [""] for each in _warnings(client, name)))

    @admin.display(description=_("messages"))
    def web_client(self, client: Client) -> str:
        """Subscribed to what the client may publish and subscribe to."""
        return format_html(
            '<a class="text-primary-600 underline" href="{}">Open in web client</a>',
            web_client_url(client.client_id),
        )

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = self._managed(request)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def _managed(self, request: HttpRequest) -> QuerySet[ClientGroup]:
        """The groups between which the operator may move clients."""
        actor = actor_of(request)
        return (
            ClientGroup.objects.all()
            if actor.may(permissions.CHANGE_CLIENT)
            else actor.groups(permissions.CHANGE_CLIENT)
        )

    # ------------------------------------------------------------ writes

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        given = form.cleaned_data
        actor = actor_of(request)
        if change:
            known = {name: given[name] for name in ("display_name", "owner", "enabled", "transports")}
            unseen = obj.groups.exclude(pk__in=self._managed(request))
            clients.update(actor, obj, ClientChanges(**known, groups=[*given["groups"], *unseen]))
            return
        new = NewClient(
            client_id=given["client_id"],
            display_name=given["display_name"],
            owner=given["owner"],
            groups=[group.name for group in given["groups"]],
            enabled=given["enabled"],
            transports=given["transports"],
            username=given["username"],
            password=given["password"],
            client_ids=given["client_ids"],
        )
        request.registered = registering.register(actor, new)  # type: ignore[attr-defined]
        obj.pk = request.registered.client.pk  # type: ignore[attr-defined]
        obj.refresh_from_db()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The groups are saved already."""
        for formset in formsets:
            self.save_formset(request, form, formset, change)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        formset.save(commit=False)
        if formset.model is AclRule:
            save_rules(request, formset)
        else:
            for credential in formset.deleted_objects:
                credentials.remove(actor_of(request), credential)

    def response_add(self, request: HttpRequest, obj: Client, post_url_continue: Any = None) -> HttpResponse:
        made = request.registered  # type: ignore[attr-defined]
        for each in _warnings(obj, made.credential.username):
            messages.warning(request, each)
        return self.secrets_page(request, [(obj.client_id, made.credential.username, made.secret)])

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Who may unregister a client needs no further right for what goes with it."""
        found, counts, _, protected = super().get_deleted_objects(objs, request)
        return found, counts, set(), protected

    def delete_model(self, request: HttpRequest, obj: Client) -> None:
        clients.unregister(actor_of(request), [obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Client]) -> None:
        clients.unregister(actor_of(request), queryset)

    # ------------------------------------------------------------ actions

    def has_kick_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "kick")

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "export")

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "change", model="credential")

    def has_ban_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "add", model="ban")

    @admin.action(description=_("Enable"), permissions=["change"])
    def enable(self, request: HttpRequest, rows: QuerySet[Client]) -> None:
        count = len(clients.set_enabled(actor_of(request), rows, True))
        messages.success(request, _("%(count)d enabled.") % {"count": count})

    @admin.action(description=_("Disable, and disconnect"), permissions=["change"])
    def disable(self, request: HttpRequest, rows: QuerySet[Client]) -> None:
        count = len(clients.set_enabled(actor_of(request), rows, False))
        messages.success(request, _("%(count)d disabled.") % {"count": count})

    @admin.action(description=_("Replace the secret, at once"), permissions=["rotate"])
    def rotate(self, request: HttpRequest, rows: QuerySet[Client]) -> HttpResponse:
        made = credentials.rotate_clients(actor_of(request), rows)
        return self.secrets_page(
            request, [(row.client.client_id, row.username, secret) for row, secret in made]
        )

    @admin.action(description=_("Kick: end the session"), permissions=["kick"])
    def kick(self, request: HttpRequest, rows: QuerySet[Client]) -> None:
        count = clients.kick(actor_of(request), rows)
        messages.success(request, _("%(count)d told to go.") % {"count": count})

    @admin.action(description=_("Ban for good"), permissions=["ban"])
    def ban(self, request: HttpRequest, rows: QuerySet[Client]) -> None:
        actor, count = actor_of(request), 0
        for client in rows:
            try:
                bans.create(actor, Ban.Kind.CLIENT_ID, client.client_id)
                count += 1
            except Duplicate:
                continue
        messages.success(request, _("%(count)d banned.") % {"count": count})

    @admin.action(description=_("Export as CSV"), permissions=["export"])
    def export(self, request: HttpRequest, rows: QuerySet[Client]) -> HttpResponse:
        mine = selectors.clients(actor_of(request), permissions.EXPORT_CLIENTS).prefetch_related("groups")
        text = "".join(export_csv(mine.filter(pk__in=rows.order_by().values("pk"))))
        disposition = {"Content-Disposition": 'attachment; filename="clients.csv"'}
        return HttpResponse(text, content_type="text/csv; charset=utf-8", headers=disposition)


class CredentialForm(forms.ModelForm):  # type: ignore[type-arg]
    password = forms.CharField(widget=forms.PasswordInput, required=False, help_text=_("Of kind password."))

    class Meta:
        model = Credential
        fields = (
            "client",
            "kind",
            "username",
            "client_ids",
            "subject",
            "claim",
            "claim_value",
            "valid_until",
        )


@admin.register(Credential)
class CredentialAdmin(DoorAdmin):
    """Made, rotated and removed, never edited."""

    reach = selectors.credentials
    form = CredentialForm  # type: ignore[assignment]
    list_display = ("client", "kind", "shown_name", "client_ids", "valid", "valid_until", "created_at")
    list_filter = ("kind", "valid_until")
    lookups = ("kind__exact", "valid_until__gte", "valid_until__lt", "valid_until__isnull")
    search_fields = ("client__client_id", "username", "subject", "claim_value")
    list_select_related = ("client",)
    autocomplete_fields = ("client",)
    actions = ("rotate",)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = selectors.clients(actor_of(request), permissions.ADD_CREDENTIAL)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @admin.display(boolean=True)
    def valid(self, credential: Credential) -> bool:
        return credential.is_valid

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "change")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        known = ("client", "kind", "username", "client_ids", "subject", "claim", "claim_value", "valid_until")
        return (*known, "created_at") if obj else (*known[:3], "password", *known[3:])

    def save_model(self, request: HttpRequest, obj: Credential, form: Any, change: bool) -> None:
        given = dict(form.cleaned_data)
        client = given.pop("client")
        row, secret = credentials.add(actor_of(request), client, NewCredential(**given))
        obj.pk, obj.username = row.pk, row.username
        request.made = (client.client_id, row.shown_name, secret)  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        made = request.made  # type: ignore[attr-defined]
        return self.secrets_page(request, [made]) if made[2] else super().response_add(request, obj)

    def delete_model(self, request: HttpRequest, obj: Credential) -> None:
        credentials.remove(actor_of(request), obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Credential]) -> None:
        for credential in queryset:
            credentials.remove(actor_of(request), credential)

    @admin.action(description=_("Replace the secret, at once"), permissions=["rotate"])
    def rotate(self, request: HttpRequest, rows: QuerySet[Credential]) -> HttpResponse:
        made = credentials.rotate_many(actor_of(request), rows)
        return self.secrets_page(
            request, [(row.client.client_id, row.username, secret) for row, secret in made]
        )


@admin.register(ClientGroup)
class GroupAdmin(GuardedModelAdminMixin, DoorAdmin):
    """ "Object permissions" on a group's page puts operators in charge of its clients.

    Who may rename a group may not do that: it takes guardian's permissions, or one could help oneself.
    """

    HANDS_OUT = (
        permissions.CHANGE_GROUP,
        "guardian.change_userobjectpermission",
        "guardian.change_groupobjectpermission",
    )

    form = GroupForm
    reach = selectors.groups
    list_display = ("name", "description", "namespace", "members", "created_at")
    search_fields = ("name", "description")
    ordering = ("name",)
    readonly_fields = ("created_at",)
    inlines = (RuleInline,)

    @admin.display(ordering="members")
    def members(self, group: Any) -> int:
        count: int = group.members
        return count

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).annotate(members=Count("clients"))  # type: ignore[no-untyped-call]

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    def render_change_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        page = super().render_change_form(request, *args, **kwargs)
        if not request.user.has_perms(self.HANDS_OUT):  # without guardian's link
            page.template_name = "admin/change_form.html"
        return page

    def obj_perms_manage_view(self, request: HttpRequest, object_pk: str) -> HttpResponse:
        return self._handing_out(request, super().obj_perms_manage_view, object_pk)

    def obj_perms_manage_user_view(self, request: HttpRequest, object_pk: str, user_id: str) -> HttpResponse:
        return self._handing_out(request, super().obj_perms_manage_user_view, object_pk, user_id)

    def obj_perms_manage_group_view(
        self, request: HttpRequest, object_pk: str, group_id: str
    ) -> HttpResponse:
        return self._handing_out(request, super().obj_perms_manage_group_view, object_pk, group_id)

    def _handing_out(
        self, request: HttpRequest, view: Callable[..., HttpResponse], *ids: str
    ) -> HttpResponse:
        if not request.user.has_perms(self.HANDS_OUT):
            raise PermissionDenied
        if not all(map(is_id, ids)):
            raise Http404
        return view(request, *ids)

    def save_model(self, request: HttpRequest, obj: ClientGroup, form: Any, change: bool) -> None:
        given = form.cleaned_data
        if change:
            groups.update(actor_of(request), obj, given["name"], given["description"], given["namespace"])
        else:
            made = groups.create(actor_of(request), given["name"], given["description"], given["namespace"])
            obj.pk = made.pk

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        formset.save(commit=False)
        save_rules(request, formset)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Who may remove a group needs no further right for the rules that go with it."""
        found, counts, _, protected = super().get_deleted_objects(objs, request)
        return found, counts, set(), protected

    def delete_model(self, request: HttpRequest, obj: ClientGroup) -> None:
        groups.remove(actor_of(request), obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ClientGroup]) -> None:
        for group in queryset:
            groups.remove(actor_of(request), group)
