"""/healthz, /readyz and /metrics, for load balancers, supervisors and Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase

from apps.common import node_services
from apps.console import metrics


class HealthMiddleware:
    """Answers on the event loop, with no database and no thread.

    A middleware, not views: load balancers ask by address or with no Host header at all, which ALLOWED_HOSTS
    would refuse.
    """

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = ANSWERS.get(request.path_info)
        if answer is None:
            return await self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        found = answer(request)
        response = found if isinstance(found, HttpResponse) else await found
        response.headers["Cache-Control"] = "no-store"
        response._has_been_logged = True  # type: ignore[attr-defined]  # "not ready" is an answer, not an error
        return response


def summary() -> dict[str, Any]:
    """Strangers read this: which part does not work, and no more."""
    services = node_services.current()
    failing = [name for name, check in services.checks.items() if not check()["ok"]] if services else []
    return {"status": "degraded", "failing": failing} if failing else {"status": "ok"}


def for_operators() -> dict[str, Any]:
    """With what is to be done, from the checks that say it."""
    services = node_services.current()
    found = {name: check() for name, check in services.checks.items()} if services else {}
    notes = [f"{name}: {each['note']}" for name, each in found.items() if each.get("note")]
    return {**summary(), "notes": notes}


def reasons() -> dict[str, str]:
    """Why the node is not ready, by part."""
    services = node_services.current()
    if services is None:
        return {"node": "starting"}
    return {name: reason for name, check in services.readiness.items() if (reason := check())}


def _health(request: HttpRequest) -> HttpResponse:
    """The process is alive, or it could not answer."""
    return JsonResponse(summary())


def _ready(request: HttpRequest) -> HttpResponse:
    found = reasons()
    return JsonResponse({"ready": not found, "reasons": found}, status=503 if found else 200)


def _balancer(request: HttpRequest) -> HttpResponse:
    """For load balancers: 404 while clients are to leave at the node's own pace, 503 when it cannot serve.

    HAProxy's `http-check disable-on-404` then sends nobody new and cuts nobody.
    """
    found = reasons()
    status = 404 if list(found) == ["node"] else 503 if found else 200
    return JsonResponse({"ready": not found, "reasons": found}, status=status)


ANSWERS: dict[str, Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]] = {
    "/healthz": _health,
    "/readyz": _ready,
    "/readyz/balancer": _balancer,
    "/metrics": metrics.answer,
    "/metrics/cluster": metrics.cluster_answer,
}
