"""Lists of what may be very long: a page is read from where the one before ended, and nothing is counted.

They are exported as they are filtered.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.views import ChangeList

PAGE: Final = 50
MAX_EXPORTED: Final = 100_000  # rows; filter for the rest
AFTER: Final = "after"
RISKY: Final = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet would begin a formula


class Pages(Paginator):  # type: ignore[type-arg]
    template_name = "admin/mqtt_auth/pages.html"


class KeysetList(ChangeList):
    """One page of rows behind the key in `?after=`."""

    next_url = ""
    first_url = ""

    def get_filters_params(self, params: Any = None) -> Any:
        found = super().get_filters_params(params)
        found.pop(AFTER, None)
        return found

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[str]:
        return [self.model_admin.keyset]

    def get_results(self, request: HttpRequest) -> None:
        key: str = self.model_admin.keyset
        name = key.removeprefix("-")
        rows = self.queryset
        after = request.GET.get(AFTER)
        if after is not None:
            try:
                rows = rows.filter(**{f"{name}__{'lt' if key.startswith('-') else 'gt'}": after})
            except (TypeError, ValueError, ValidationError):
                raise IncorrectLookupParameters from None
            self.first_url = self.get_query_string(remove=[AFTER])
        found = list(rows[: PAGE + 1])
        self.result_list = found[:PAGE]
        if len(found) > PAGE:
            self.next_url = self.get_query_string({AFTER: getattr(found[PAGE - 1], name)})
        self.result_count = len(self.result_list)
        self.full_result_count = None
        self.show_admin_actions = True
        self.show_full_result_count = False
        self.can_show_all = self.multi_page = False
        self.paginator = Pages(self.result_list, PAGE)


class LongList(admin.ModelAdmin):  # type: ignore[type-arg]
    """For a ModelAdmin.

    `keyset` is the one field its rows are ordered by ("-" for descending), and must be unique; `exported` are
    the columns of the CSV file.
    """

    keyset: ClassVar[str] = "-id"
    exported: ClassVar[tuple[str, ...]] = ()
    sortable_by = ()
    list_per_page = PAGE
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions_list: ClassVar[tuple[str, ...]] = ("export_list",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return KeysetList

    @action(description=_("Export as CSV"), url_path="export", icon="download")
    def export_list(self, request: HttpRequest) -> HttpResponseBase:
        """The rows of the list as it is filtered, at most MAX_EXPORTED of them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = self.get_changelist_instance(request).queryset[:MAX_EXPORTED]
        values = rows.values_list(*self.exported).iterator(chunk_size=2000)
        return csv_file(f"{self.opts.model_name}.csv", self.exported, values)


class _Echo:
    """What `csv` writes into: it gives the line back."""

    def write(self, line: str) -> str:
        return line


def csv_file(name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
    """To be downloaded, line by line."""
    writer = csv.writer(_Echo())
    lines = (writer.writerow([safe(value) for value in row]) for row in chain([columns], rows))
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


def safe(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(RISKY):
        return f"'{value}"
    return value
