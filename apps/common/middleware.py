"""Tells the audit trail whose request it is, for pages that are not ours: users, groups, object rights."""

from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from apps.common import audit


@sync_and_async_middleware
def audited(get_response: Any) -> Any:
    """Behind AuthenticationMiddleware."""
    if iscoroutinefunction(get_response):

        async def awaited(request: HttpRequest) -> HttpResponseBase:
            with audit.by(request):
                response: HttpResponseBase = await get_response(request)
                return response

        return awaited

    def called(request: HttpRequest) -> HttpResponseBase:
        with audit.by(request):
            response: HttpResponseBase = get_response(request)
            return response

    return called
