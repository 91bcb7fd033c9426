"""The page of the web client, and the tokens by which operators connect as themselves."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.contrib.staticfiles import finders
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import get_language
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.auth.services import operators

# Nothing from elsewhere, nothing inline, and no text becomes a script. `ws: wss:` because people also try
# other servers with this client; a link cannot make it connect to one (webclient/src/page.js).
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "worker-src 'self'",
        "connect-src 'self' ws: wss:",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types gmqtt-worker",
    )
)
MAX_BODY = 4096  # bytes


@require_safe
@never_cache
def page(request: HttpRequest) -> HttpResponse:
    """For operators; for visitors where anybody may connect to MQTT anyway."""
    operator = admin.site.has_permission(request)
    if not operator and not _open_to_all():
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    built = finders.find("webclient/app.js") is not None
    context: dict[str, Any] = {
        "operator": request.user.get_username() if operator else "",
        "csrf": get_token(request) if operator else "",
        "path": settings.GMQTT.listeners.websocket_path,
        "client_language": "zh-hans" if get_language() == "zh-hans" else "en",
        "login": f"{reverse('admin:login')}?next={request.path}",
        "connect": "operator" if operator and _by_our_link(request) else "",
    }
    if built:
        response = render(request, "console/client.html", context)
    else:
        response = render(request, "console/client_missing.html", status=503)
    response["Content-Security-Policy"] = POLICY
    return response


@require_POST
@never_cache
def token(request: HttpRequest) -> JsonResponse:
    """{"client_id"?: of an earlier token} -> {"token", "client_id", "username", "expires_in", "left_out"}."""
    if not admin.site.has_permission(request):
        return JsonResponse({"error": "sign_in"}, status=401)
    client_id = _client_id(request)
    if client_id is None:
        return JsonResponse({"error": "malformed"}, status=400)
    try:
        issued = operators.issue(request.user, str(request.META.get("REMOTE_ADDR") or ""), client_id)
    except PermissionDenied:
        return JsonResponse({"error": "forbidden"}, status=403)
    return JsonResponse(
        {
            "token": issued.token,
            "client_id": issued.client_id,
            "username": issued.username,
            "expires_in": issued.expires_in,
            "left_out": issued.left_out,
        }
    )


def _client_id(request: HttpRequest) -> str | None:
    """None: the body is not what it should be."""
    if len(request.body) > MAX_BODY:
        return None
    try:
        given = json.loads(request.body or b"{}")
    except ValueError:
        return None
    client_id = given.get("client_id", "") if isinstance(given, dict) else None
    return client_id if isinstance(client_id, str) else None


def _open_to_all() -> bool:
    auth = settings.GMQTT.auth
    return bool(auth.lets_anyone_in)


def _by_our_link(request: HttpRequest) -> bool:
    """?connect=operator connects at once, but only for who clicked a link on a page of ours."""
    asked = request.GET.get("connect") == "operator"
    return asked and request.headers.get("Sec-Fetch-Site") == "same-origin"
