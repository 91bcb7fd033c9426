"""The page with the configuration in force on a node, and the source of each value."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from apps.cluster import maintenance, permissions
from apps.cluster.admin.base import actor_of
from apps.cluster.admin.messages import page_of
from apps.cluster.node_rpc import NodeRpcError


def configuration(request: HttpRequest) -> HttpResponse:
    """`?node=` a node, else the first. POST: it reads its file again, as SIGHUP has it do."""
    actor = actor_of(request)
    actor.require(permissions.VIEW_CONFIGURATION)
    nodes = maintenance.up()
    node = request.GET.get("node") or next(iter(nodes), "")
    context: dict[str, Any] = {"nodes": nodes, "node": node}
    try:
        if request.method == "POST":
            _reload(request, node)
            return HttpResponseRedirect("?" + urlencode({"node": node}))
        if node:
            context["found"] = found = maintenance.configuration(actor, node)
            for row in found["rows"]:
                row["value"] = json.dumps(row["value"], ensure_ascii=False)
            context["tables"] = _by_table(found["rows"])
            context["diff"] = maintenance.configuration_diff(actor, node)
    except NodeRpcError as error:
        context["trouble"] = str(error)
    context["may_reload"] = actor.may(permissions.RELOAD_CONFIGURATION)
    return page_of(request, "cluster/configuration.html", _("Configuration"), **context)


def _by_table(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        tables.setdefault(row["key"].rpartition(".")[0], []).append(row)
    return list(tables.items())


def _reload(request: HttpRequest, node: str) -> None:
    done = maintenance.reload_configuration(actor_of(request), node)
    if done["error"]:
        messages.error(request, done["error"])
        return
    if done["in_force"]:
        messages.success(request, _("In force: %(keys)s") % {"keys": ", ".join(done["in_force"])})
    if done["needs_restart"]:
        messages.warning(request, _("Needs a restart: %(keys)s") % {"keys": ", ".join(done["needs_restart"])})
    if not done["in_force"] and not done["needs_restart"]:
        messages.success(request, _("Nothing has changed."))


def urls() -> list[Any]:
    return [path("configuration/", admin.site.admin_view(configuration), name="cluster_configuration")]
