"""/client/: the web client and the tokens by which operators use it."""

from __future__ import annotations

from django.urls import path

from apps.console.client import views

urlpatterns = [
    path("", views.page, name="web-client"),
    path("token/", views.token, name="web-client-token"),
]
