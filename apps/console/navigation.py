"""The console's sidebar. An entry is there for those who may see its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

# Group -> (title, icon, admin model as "app_model", or the name of a page and the permission it needs).
PAGES: tuple[tuple[Any, tuple[tuple[Any, str, str], ...]], ...] = (
    (
        _("Live"),
        (
            (_("Clients online"), "sensors", "cluster_sessioninfo"),
            (_("Subscriptions"), "rss_feed", "cluster_subscriptioninfo"),
            (_("Topics"), "account_tree", "cluster_topics cluster.view_subscriptioninfo"),
            (_("Slow subscribers"), "hourglass_bottom", "cluster_slow cluster.view_sessioninfo"),
            (_("Dropped messages"), "delete_sweep", "cluster_drop"),
            (_("Traces"), "troubleshoot", "cluster_traces cluster.trace"),
        ),
    ),
    (
        _("Messages"),
        (
            (_("Publish a message"), "send", "cluster_publish cluster.publish_message"),
            (_("Retained messages"), "push_pin", "cluster_retained cluster.view_retained"),
        ),
    ),
    (
        _("Clients and rights"),
        (
            (_("Clients"), "devices", "mqtt_auth_client"),
            (_("Client groups"), "workspaces", "mqtt_auth_clientgroup"),
            (_("ACL rules"), "rule", "mqtt_auth_aclrule"),
            (_("Bans"), "block", "mqtt_auth_ban"),
            (_("Refused and denied"), "gpp_bad", "mqtt_auth_refusal"),
        ),
    ),
    (
        _("Cluster"),
        (
            (_("Nodes"), "dns", "cluster_clusternode"),
            ("Kafka", "conversion_path", "cluster_kafka cluster.view_clusternode"),
            (_("Export rules"), "output", "cluster_exportrule"),
            (_("Configuration"), "settings", "cluster_configuration cluster.view_configuration"),
        ),
    ),
    (
        _("Administration"),
        (
            (_("Users"), "person", "auth_user"),
            (_("Operator groups"), "group", "auth_group"),
            (_("Service accounts"), "key", "mqtt_auth_serviceaccount"),
            (_("Audit log"), "history", "auditlog_logentry"),
        ),
    ),
)


def _documentation() -> list[dict[str, Any]]:
    """In the operator's language, where it is built."""
    if settings.DOCUMENTATION is None:
        return []
    link = reverse("documentation") + ("zh/" if get_language() == "zh-hans" else "")
    return [{"title": _("Documentation"), "icon": "menu_book", "link": link, "active": False}]


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    first = {"title": _("Dashboard"), "icon": "monitoring", "link": reverse("admin:index")}
    web_client = {
        "title": _("Web client"),
        "icon": "terminal",
        "link": f"{reverse('web-client')}?connect=operator",  # as himself, at once
        "active": False,  # it has no sidebar; the theme would compare /client/ with parts of other paths
    }
    api = {"title": "API", "icon": "api", "link": reverse("docs"), "active": False}
    groups: list[dict[str, Any]] = [{"title": "", "items": [first, web_client, api, *_documentation()]}]
    for title, pages in PAGES:
        items = [
            {"title": name, "icon": icon, "link": link, "permission": _may(model)}
            for name, icon, model in pages
            if (link := _link(model))
        ]
        groups.append({"title": title, "separator": True, "items": items})
    # The theme would mark every entry whose path the page's begins with.
    links = [str(item["link"]) for group in groups[1:] for item in group["items"]]
    here = max((link for link in links if request.path.startswith(link)), key=len, default="")
    for group in groups[1:]:
        for item in group["items"]:
            item["active"] = item["link"] == here
    return groups


def _link(model: str) -> str:
    try:
        page, _space, permission = model.partition(" ")
        return reverse(f"admin:{page}" if permission else f"admin:{page}_changelist")
    except NoReverseMatch:  # a page that this installation does not have
        return ""


def _may(model: str) -> Callable[[HttpRequest], bool]:
    """As the page itself answers: rights on single objects open it, too."""

    def may(request: HttpRequest) -> bool:
        permission = model.partition(" ")[2]
        if permission:
            return bool(request.user.has_perm(permission))
        from django.contrib import admin

        for registered, page in admin.site._registry.items():
            if f"{registered._meta.app_label}_{registered._meta.model_name}" == model:
                return bool(page.has_module_permission(request) and page.has_view_permission(request))
        return False

    return may
