"""Lists: cursor pagination, filters and ordering that refuse what they do not know."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError
from django.db.models import QuerySet
from django_filters import TypedChoiceFilter
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.filters import OrderingFilter
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

_PAGING = {"cursor", "page_size", "ordering"}


class Pages(CursorPagination):
    page_size = 100
    max_page_size = 1000
    page_size_query_param = "page_size"
    ordering = "-id"

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get("page_size", "100")
        if not given.isascii() or not given.isdecimal() or not 1 <= int(given[:9]) <= self.max_page_size:
            raise ValidationError(
                {"page_size": [f"A number from 1 to {self.max_page_size}."]}, "out_of_range"
            )
        return int(given)

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> Any:  # type: ignore[override]
        try:
            return super().paginate_queryset(queryset, request, view)
        except (NotFound, DjangoValidationError, DataError, ValueError, OverflowError):
            if self.cursor_query_param in request.query_params:
                refusal = ValidationError({"cursor": ["This cursor is not of this list."]}, "invalid_cursor")
            else:
                refusal = ValidationError({"query": ["No row can have such a value."]}, "out_of_range")
            raise refusal from None


@extend_schema_field({"type": "boolean"})
class Flag(TypedChoiceFilter):
    """true or false. django-filter's own takes anything else for "no filter"."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        choices = [("true", "true"), ("false", "false")]
        super().__init__(*args, choices=choices, coerce=lambda value: value == "true", **kwargs)


class StrictFilters(DjangoFilterBackend):
    """A query parameter that means nothing here is an error: a mistyped filter must not list everything."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        filterset = self.get_filterset_class(view, queryset)
        known = set(filterset.base_filters) if filterset else set()
        for name in request.query_params:
            if name not in known and not (name in _PAGING and getattr(view, "paged", True)):
                raise ValidationError(
                    {name: [f"There is no such filter. Known: {', '.join(sorted(known)) or 'none'}."]},
                    "unknown_parameter",
                )
        found: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return found


class StrictOrdering(OrderingFilter):
    """`ordering` by one column that the view names, descending with a minus; then by id."""

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        given = request.query_params.get(self.ordering_param)
        if not given:
            return tuple(view.ordering)
        name = given.removeprefix("-")
        if name not in view.ordering_fields:
            allowed = ", ".join(view.ordering_fields)
            raise ValidationError({"ordering": [f"One of {allowed}; with - descending."]}, "invalid_ordering")
        return (given, "id") if name != "id" else (given,)
