"""/healthz, for load balancers and supervisors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase


class HealthMiddleware:
    """Answers /healthz on the event loop, with no database and no thread.

    A middleware, not a view: load balancers ask by address or with no Host header at all, which ALLOWED_HOSTS
    would refuse.
    """

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info != "/healthz":
            return await self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return JsonResponse(_health(), headers={"Cache-Control": "no-store"})


# Set by the composition root: name -> a quick function whose `ok` is False while that part does not work.
checks: dict[str, Callable[[], dict[str, Any]]] = {}


def _health() -> dict[str, Any]:
    """The process is alive, or it could not answer. Strangers read this: which part, and no more."""
    failing = [name for name, check in checks.items() if not check()["ok"]]
    return {"status": "degraded", "failing": failing} if failing else {"status": "ok"}
