"""What every view of this API shares."""

from __future__ import annotations

from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request

from apps.common.actors import Actor
from apps.common.api.callers import actor_of
from apps.common.api.limits import check_length
from apps.common.api.permissions import permission_of

M = TypeVar("M", bound=Model)


class Strict(serializers.Serializer[Any]):
    """A field that nobody knows is an error, so that a mistyped one is not lost."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := set(data) - set(self.fields)):
            raise serializers.ValidationError(
                {str(name): ["There is no such field."] for name in sorted(unknown, key=str)}, "unknown_field"
            )
        return super().to_internal_value(data)


class ApiView(GenericAPIView[Any]):
    http_method_names = ["get", "head", "post", "patch", "delete"]
    max_body = 1 << 20  # bytes
    throttle_scope = "api"
    ordering: tuple[str, ...] = ("-id",)
    ordering_fields: tuple[str, ...] = ("id",)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        check_length(request, self.max_body)
        super().initial(request, *args, **kwargs)

    @property
    def actor(self) -> Actor:
        return actor_of(self.request)

    @property
    def permission(self) -> str:
        return permission_of(self.request) or ""

    def given(self, serializer: type[serializers.Serializer[Any]], partial: bool = False) -> dict[str, Any]:
        """The request's body, checked."""
        found = serializer(data=self.request.data, partial=partial, context={"actor": self.actor})
        found.is_valid(raise_exception=True)
        return dict(found.validated_data)

    def listed(self, rows: QuerySet[Any], serializer: type[serializers.Serializer[Any]]) -> Any:
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(serializer(page, many=True).data)


def found(reachable: QuerySet[M], visible: QuerySet[M], pk: int) -> M:
    """The row among those that the caller may reach; 403 when it may only see it, else 404."""
    row = reachable.filter(pk=pk).first()
    if row is None:
        if visible.filter(pk=pk).exists():
            raise PermissionDenied("You may see this and no more.")
        raise Http404
    return row
