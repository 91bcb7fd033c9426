"""Cookies over TLS; what a session may do until its second factor was shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.decorators import sync_and_async_middleware

from apps.console import twofactor


@sync_and_async_middleware
def secure_cookies(get_response: Any) -> Any:
    """Mark the cookies of an answer that goes over TLS, ours or a proxy's, as for TLS only."""

    def marked(request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if request.is_secure():
            for cookie in response.cookies.values():
                cookie["secure"] = True
        return response

    if iscoroutinefunction(get_response):

        async def asynchronously(request: HttpRequest) -> HttpResponse:
            return marked(request, await get_response(request))

        return asynchronously

    def synchronously(request: HttpRequest) -> HttpResponse:
        return marked(request, get_response(request))

    return synchronously


class TwoFactorMiddleware:
    """Behind AuthenticationMiddleware and OTPMiddleware. Service accounts have no session, and pass."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if not user.is_authenticated or twofactor.satisfied(user) or self._is_open(request.path_info):
            return self.get_response(request)
        if not self._is_page(request.path_info):
            return JsonResponse(
                {"status": 403, "code": "second_factor", "detail": "The second factor is missing."},
                status=403,
            )
        if twofactor.enrolled(user):
            return redirect_to_login(request.path_info, reverse("admin:login"))
        return HttpResponseRedirect(reverse("admin:two_factor"))

    def _is_page(self, path: str) -> bool:
        return path.startswith(reverse("admin:index")) or path == reverse("web-client")

    def _is_open(self, path: str) -> bool:
        return path in (reverse("admin:two_factor"), reverse("admin:login"), reverse("admin:logout"))
