"""Every route of the REST API, and the status that each role gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver

NO, FORBIDDEN = 401, 403


CALLERS = ("nobody", "gateway", "registrar", "viewer", "admin", "alice", "bob", "charlie")


# Status of nobody, gateway, registrar, viewer, admin, alice, bob, charlie.
TABLE: dict[tuple[str, str], tuple[int, ...]] = {
    ("clients/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("clients/", "POST"): (NO, 403, 201, 403, 201, 201, 201, 403),
    ("clients/bulk/", "POST"): (NO, 403, 200, 403, 200, 200, 200, 403),
    ("clients/export/", "GET"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("clients/<int:pk>/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("clients/<int:pk>/", "PATCH"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("clients/<int:pk>/", "DELETE"): (NO, 403, 204, 403, 204, 204, 204, 403),
    ("clients/<int:pk>/enable/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("clients/<int:pk>/disable/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("clients/<int:pk>/rotate/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("clients/<int:pk>/kick/", "POST"): (NO, 403, 403, 403, 202, 202, 202, 403),
    ("credentials/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("credentials/", "POST"): (NO, 403, 403, 403, 201, 201, 201, 403),
    ("credentials/<int:pk>/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("credentials/<int:pk>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 204, 403),
    ("credentials/<int:pk>/rotate/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("groups/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("groups/", "POST"): (NO, 403, 403, 403, 201, 201, 403, 403),
    ("groups/<int:pk>/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("groups/<int:pk>/", "PATCH"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("groups/<int:pk>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("acl/rules/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("acl/rules/", "POST"): (NO, 403, 403, 403, 201, 201, 403, 403),
    ("acl/rules/<int:pk>/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("acl/rules/<int:pk>/", "PATCH"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("acl/rules/<int:pk>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("acl/explain", "POST"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("bans/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("bans/", "POST"): (NO, 403, 403, 403, 201, 201, 403, 403),
    ("bans/<int:pk>/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("bans/<int:pk>/", "PATCH"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("bans/<int:pk>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("service-accounts/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("service-accounts/", "POST"): (NO, 403, 403, 403, 201, 201, 403, 403),
    ("service-accounts/<int:pk>/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("service-accounts/<int:pk>/", "PATCH"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("service-accounts/<int:pk>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("service-accounts/<int:pk>/rotate/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("roles/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("roles/", "POST"): (NO, 403, 403, 403, 201, 201, 403, 403),
    ("roles/<int:pk>/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("roles/<int:pk>/", "PATCH"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("roles/<int:pk>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("refusals/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("audit/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    # Proves itself in the body, so who is logged in does not matter.
    ("auth/token", "POST"): (200, 200, 200, 200, 200, 200, 200, 200),
    ("auth/connect", "POST"): (NO, 200, 403, 403, 200, 200, 403, 403),
    ("auth/publish", "POST"): (NO, 200, 403, 403, 200, 200, 403, 403),
    ("auth/subscribe", "POST"): (NO, 200, 403, 403, 200, 200, 403, 403),
    ("schema/", "GET"): (200, 200, 200, 200, 200, 200, 200, 200),
    ("docs/", "GET"): (200, 200, 200, 200, 200, 200, 200, 200),
}


def routes(patterns: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        else:
            yield path, pattern
