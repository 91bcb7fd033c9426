"""May the caller use this endpoint at all? Which rows it may touch is for selectors and services."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.common import rbac
from apps.common.api.callers import actor_of


def permission_of(request: Request) -> str | None:
    """By the table in `rbac`; None: nobody may."""
    route = request.resolver_match.url_name if request.resolver_match else None
    method = {"HEAD": "GET"}.get(request.method or "", request.method or "")
    return rbac.ENDPOINTS.get(route or "", {}).get(method)


class TablePermission(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        method = (request.method or "").lower()
        if method not in view.http_method_names or not hasattr(view, method):
            raise MethodNotAllowed(request.method or "")
        wanted = permission_of(request)
        if wanted == rbac.OPEN:
            return True
        if not request.user or not request.user.is_authenticated or wanted is None:
            return False
        return actor_of(request).may_somewhere(wanted)
