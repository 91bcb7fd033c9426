"""Groups of operators that are there from the start. Changed by an administrator, they stay as changed."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth.models import Group, Permission
from django.db.models import Q

_SEE: Final = "view_"
_CLIENTS: Final = ("view_client", "view_clientgroup", "view_refusal", "view_ban", "kick_client")
_WEB_CLIENT: Final = ("read_messages", "publish_messages")
_CLUSTER_STEERS: Final = (
    "kick_session",
    "subscribe_for",
    "publish_message",
    "drain_node",
    "control_bridge",
    "purge_queue",
    "delete_retained",
    "trace",
)

# Name of the group -> (app label, code names; "view_" stands for all that begin so).
GROUPS: Final[dict[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "viewer": (
        ("mqtt_auth", (_SEE,)),
        ("cluster", ("view_clusternode", "view_sessioninfo", "view_subscriptioninfo", "view_drop")),
        ("console", (_SEE,)),
    ),
    "operator": (
        ("mqtt_auth", (*_CLIENTS, *_WEB_CLIENT)),
        ("cluster", (_SEE, *_CLUSTER_STEERS, "add_exportrule", "change_exportrule", "delete_exportrule")),
        ("console", (_SEE,)),
    ),
    "security": (
        ("mqtt_auth", ("*",)),
        ("cluster", ("view_clusternode", "view_sessioninfo", "view_subscriptioninfo", "kick_session")),
        ("console", (_SEE,)),
        ("auditlog", (_SEE,)),
    ),
    "administrator": (
        ("mqtt_auth", ("*",)),
        ("cluster", ("*",)),
        ("console", ("*",)),
        ("auditlog", (_SEE,)),
        ("auth", ("*",)),
    ),
}


def create(using: str = "default", **kwargs: Any) -> None:
    """After each `migrate`: groups that are missing. A receiver of `post_migrate`."""
    for name, grants in GROUPS.items():
        if Group.objects.using(using).filter(name=name).exists():
            continue
        wanted = Q(pk__in=())
        for app, names in grants:
            for code in names:
                rule = Q(content_type__app_label=app)
                if code == _SEE:
                    rule &= Q(codename__startswith=code)
                elif code != "*":
                    rule &= Q(codename=code)
                wanted |= rule
        found = Permission.objects.using(using).filter(wanted)
        if found:  # the permissions of an app that is migrated later are not there yet
            Group.objects.using(using).create(name=name).permissions.set(found)
