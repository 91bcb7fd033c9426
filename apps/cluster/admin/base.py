"""The lists and pages of what the cluster writes. A subclass names its `rows`: what the operator may see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DataError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from apps.cluster import selectors
from apps.cluster.bridge.operators import NoBridge
from apps.cluster.node_rpc import NodeRpcError
from apps.common import actors
from apps.common.actors import Actor
from apps.common.errors import Duplicate, Gone
from apps.common.lists import LongList


def actor_of(request: HttpRequest) -> Actor:
    return actors.of_user(request.user, str(request.META.get("REMOTE_ADDR") or ""))


class _Filter(admin.SimpleListFilter):
    """By one column, with values that are known without looking through the table."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset if value is None else queryset.filter(**{str(self.parameter_name): value})


class NodeFilter(_Filter):
    title = _("node")
    parameter_name = "node"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in selectors.nodes().values_list("name", flat=True)]


class TransportFilter(_Filter):
    title = _("transport")
    parameter_name = "transport"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in ("tcp", "tls", "ws", "wss")]


class VersionFilter(_Filter):
    title = _("MQTT version")
    parameter_name = "level"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("3", "3.1"), ("4", "3.1.1"), ("5", "5.0")]


class QosFilter(_Filter):
    title = "QoS"
    parameter_name = "qos"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(qos), str(qos)) for qos in range(3)]


class SeenAdmin(LongList, ModelAdmin):
    """Rows that the cluster writes: they are looked at, not edited."""

    rows: ClassVar[Callable[[Actor], QuerySet[Any]]]
    permission: ClassVar[str]  # to view
    lookups: ClassVar[tuple[str, ...]] = ()  # all that the query of the list may filter by
    detail_template: ClassVar[str] = ""
    verbs: ClassVar[dict[str, str]] = {}  # what a form on the row's page may ask for -> permission
    list_filter_sheet = True

    # Rights ------------------------------------------------------------------------------------------

    def has_module_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).may_somewhere(self.permission)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if obj is None:
            return self.has_module_permission(request)
        return self.get_queryset(request).filter(pk=obj.pk).exists()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return type(self).rows(actor_of(request))

    # The list ----------------------------------------------------------------------------------------

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """`lookups`, and what the filters of the sidebar ask for."""
        asked = (getattr(each, "parameter_name", None) for each in self.list_filter)
        return lookup in self.lookups or lookup in asked

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """All of the term at once: client ids and topics have spaces, too."""
        if "\0" in search_term:  # is in no row, and PostgreSQL takes none to compare with
            return queryset.none(), False
        if not search_term:
            return queryset, False
        wanted = Q()
        for name in self.search_fields:
            wanted |= Q(**{f"{name[1:]}__exact" if name.startswith("=") else name: search_term})
        return queryset.filter(wanted), False

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        try:
            return super().get_changelist_instance(request)
        except (OverflowError, ValueError, DataError):
            raise IncorrectLookupParameters from None

    # One row -----------------------------------------------------------------------------------------

    def detail(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What the row's page shows; {"trouble": ...} where a node does not answer.

        Not "error": the theme would show that in the place of every message.
        """
        return {}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The row's page; a POST names the verb of one of its forms."""
        row = self.get_object(request, unquote(object_id))
        if not self.detail_template:  # the list says all there is
            return self.back()
        if row is None or not self.has_view_permission(request, row):
            messages.warning(request, _("It is gone, or you may not see it."))
            return self.back()
        if request.method == "POST":
            name = request.POST.get("verb", "")
            if name not in self.verbs:
                raise PermissionDenied
            return getattr(self, name)(request, row) or HttpResponseRedirect(request.path)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "row": row,
            "title": str(row),
            "may": {name: actor_of(request).may_somewhere(needed) for name, needed in self.verbs.items()},
            **self.detail(request, row),
        }
        return TemplateResponse(request, self.detail_template, context)

    def told(self, request: HttpRequest, do: Callable[[], Any], done: Any) -> bool:
        """Do something, and tell how it went on the next page."""
        try:
            do()
        except (NodeRpcError, NoBridge, Gone, Duplicate, ValidationError) as error:
            messages.error(request, ", ".join(error.messages) if hasattr(error, "messages") else str(error))
            return False
        except PermissionDenied:
            messages.error(request, _("You may not do this."))
            return False
        messages.success(request, done)
        return True

    def back(self) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse(f"admin:cluster_{self.opts.model_name}_changelist"))
