"""Pages of the console that are no model's."""

from __future__ import annotations

from typing import Any

import segno
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django_otp import login as otp_login

from apps.common import node_services
from apps.console import selectors, twofactor
from apps.console.sampler import Sampler

VIEW = "console.view_sample"


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the first page shows beside Django's own; unfold calls it."""
    listeners = settings.GMQTT.listeners
    context["may_see_dashboard"] = request.user.has_perm(VIEW) and node_services.find(Sampler) is not None
    context["ranges"] = list(selectors.RANGES)
    context["device_address"] = listeners.tcp[0] if listeners.tcp else None
    return context


def history(request: HttpRequest) -> JsonResponse:
    if not request.user.has_perm(VIEW):
        raise PermissionDenied
    name = request.GET.get("range", "5m")
    if name not in selectors.RANGES:
        return JsonResponse({"code": "unknown_range", "ranges": list(selectors.RANGES)}, status=400)
    return JsonResponse({"range": name, "points": selectors.history(name)})


@never_cache
@sensitive_post_parameters("token", "password")
@login_required(login_url="admin:login")
def two_factor(request: HttpRequest) -> HttpResponse:
    """Set an authenticator up, or take it away with the password and while verified."""
    user = request.user
    if not user.is_staff:
        raise PermissionDenied
    enrolled = twofactor.enrolled(user)
    if enrolled and not twofactor.satisfied(user):
        return HttpResponseRedirect(reverse("admin:login"))
    context: dict[str, Any] = {"title": _("Two-factor login"), "enrolled": enrolled}
    if request.method == "POST" and "remove" in request.POST and enrolled:
        if user.check_password(request.POST.get("password", "")):
            twofactor.remove(user)
            messages.success(request, _("The authenticator was removed."))
            return HttpResponseRedirect(reverse("admin:two_factor"))
        messages.error(request, _("The password is wrong."))
    elif request.method == "POST" and not enrolled:
        codes = twofactor.confirm(user, request.POST.get("token", "").strip())
        if codes is None:
            messages.error(request, _("The code is wrong. Is the clock of your device right?"))
        else:
            otp_login(request, twofactor.first_device(user))
            context |= {"codes": codes, "enrolled": True}
    if not context["enrolled"]:
        device = twofactor.begin(user)
        image = segno.make(device.config_url).svg_data_uri(scale=5, border=2, dark="#000", light="#fff")
        context |= {"image": image, "secret": twofactor.secret_of(device)}
    return render(request, "console/two_factor.html", {**admin.site.each_context(request), **context})
