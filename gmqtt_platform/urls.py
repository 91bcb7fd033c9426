"""HTTP routes. /healthz is answered before routing (apps/console/health.py)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from gmqtt_platform.static import no_documentation

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("api/v1/cluster/", include("apps.cluster.api.urls")),
    path("api/", include("apps.auth.api.urls")),  # the rest of /api/, down to its 404
    path("client/", include("apps.console.client.urls")),
    path("docs/", no_documentation, name="documentation"),  # its pages are static files
    re_path("^docs/", no_documentation),
]
