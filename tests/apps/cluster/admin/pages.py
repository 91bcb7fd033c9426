"""Operators in the cluster's admin, for its tests."""

from __future__ import annotations

from auditlog.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client as Browser

from apps.cluster.models import SessionInfo
from tests.apps.cluster.factories import SessionFactory

ADMIN = "/admin/cluster"


def browser(*permissions: str, superuser: bool = False) -> Browser:
    user = User.objects.create_user("someone", is_staff=True, is_superuser=superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    found = Browser(headers={"host": "localhost"})
    found.force_login(user)
    return found


def row(client_id: str) -> SessionInfo:
    return SessionFactory(client_id=client_id, node="test")


def audited() -> list[str]:
    entries = LogEntry.objects.filter(action=LogEntry.Action.ACCESS).order_by("id")
    return [name for entry in entries for name in (entry.changes or {})]
