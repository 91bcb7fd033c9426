"""The admin site: unfold's, with the dashboard as its first page and two-factor login."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.urls import path
from unfold.sites import UnfoldAdminSite

from apps.console import twofactor


class ConsoleSite(UnfoldAdminSite):
    index_template = "console/index.html"
    login_form = twofactor.LoginForm

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        if isinstance(user, AnonymousUser) or not super().has_permission(request):
            return False
        return twofactor.satisfied(user)

    def get_urls(self) -> list[Any]:
        from apps.console import views

        return [
            path("console/history/", self.admin_view(views.history), name="console_history"),
            path("two-factor/", views.two_factor, name="two_factor"),
            *super().get_urls(),
        ]
