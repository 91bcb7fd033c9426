"""Who calls the REST API, and from where."""

from __future__ import annotations

from rest_framework.request import Request

from apps.common.actors import Actor, of_user


def actor_of(request: Request) -> Actor:
    """Of an authenticated request."""
    if isinstance(request.user, Actor):
        return request.user
    return of_user(request.user, address_of(request))


def address_of(request: Request) -> str:
    """The caller's IP address, "" when it is not known."""
    return str(request.META.get("REMOTE_ADDR") or "")
