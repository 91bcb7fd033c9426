"""Pages that show how things are now: the tree of topics with rates, slow subscribers, Kafka."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from apps.cluster import live_queries, permissions
from apps.cluster.admin.base import actor_of
from apps.cluster.admin.messages import page_of
from apps.cluster.bridge.operators import NoBridge, Silent
from apps.cluster.directory import topic_tree
from apps.cluster.node_rpc import NodeRpcError
from apps.gateway.mqtt import topics as mqtt_topics
from apps.gateway.mqtt.errors import MqttError

MAX_LEVELS: Final = 128  # of a path that is shown above the tree


def topics(request: HttpRequest) -> HttpResponse:
    """One level of the tree: `?under=` a filter (none: the roots), `?after=` a place in it.

    `?watch=` filters whose rates are shown; with `?rates` the answer is their counts, as JSON.
    """
    actor = actor_of(request)
    actor.require(permissions.VIEW_SUBSCRIPTION)
    watched = _watched(request)
    if "rates" in request.GET:
        return JsonResponse(live_queries.topic_rates(actor, watched))
    under = request.GET.get("under")
    branches, after = topic_tree.children(actor, under, request.GET.get("after", ""))

    def link(**parameters: Any) -> str:
        wanted = {"under": under, "watch": watched, **parameters}
        return "?" + urlencode({name: each for name, each in wanted.items() if each is not None}, doseq=True)

    return page_of(
        request,
        "cluster/topics.html",
        _("Topics"),
        branches=[
            {
                "branch": branch,
                "open": link(under=branch.filter) if branch.below else "",
                "watch": link(watch=[*watched, f"{branch.filter}/#" if branch.below else branch.filter]),
            }
            for branch in branches
        ],
        most=topic_tree.MAX_COUNTED,
        under=under,
        path=[{"level": level, "url": link(under=filter)} for level, filter in _path(under)],
        root=link(under=None),
        next=link(after=after) if after else "",
        first=link() if request.GET.get("after") else "",
        watched=[
            {"filter": each, "without": link(watch=[w for w in watched if w != each])} for each in watched
        ],
        may_add=len(watched) < live_queries.MAX_FILTERS,
    )


def _watched(request: HttpRequest) -> list[str]:
    """The filters to be watched, each once; what is none is told and left out."""
    found: dict[str, None] = {}
    for filter in request.GET.getlist("watch")[: live_queries.MAX_FILTERS]:
        try:
            mqtt_topics.check_filter(filter)
            found[filter] = None
        except MqttError as error:
            if "rates" not in request.GET:
                messages.error(request, f"{filter[:200]}: {error.text}")
    return list(found)


def _path(under: str | None) -> list[tuple[str, str]]:
    """Each level with the filter that ends there."""
    if under is None:
        return []
    levels = under.split("/")
    return [(level, "/".join(levels[: at + 1])) for at, level in enumerate(levels[:MAX_LEVELS])]


def slow(request: HttpRequest) -> HttpResponse:
    """Clients that do not take what is sent to them as fast as it comes."""
    actor = actor_of(request)
    if not actor.may_somewhere(permissions.VIEW_SESSION):
        actor.require(permissions.VIEW_SESSION)
    context: dict[str, Any] = {}
    try:
        context["rows"], context["missing"] = live_queries.slow(actor)
    except NodeRpcError as error:
        context["trouble"] = str(error)
    return page_of(request, "cluster/slow.html", _("Slow subscribers"), **context)


def kafka(request: HttpRequest) -> HttpResponse:
    """Brokers, topics, consumer groups and how far they are behind."""
    actor = actor_of(request)
    actor.require(permissions.VIEW_NODE)
    context: dict[str, Any] = {}
    try:
        context["found"] = live_queries.kafka(actor)
    except NoBridge as error:
        context["without"] = str(error)
    except Silent as error:
        context["trouble"] = str(error)
    return page_of(request, "cluster/kafka.html", "Kafka", **context)


def urls() -> list[Any]:
    view = admin.site.admin_view
    return [
        path("topics/", view(topics), name="cluster_topics"),
        path("slow/", view(slow), name="cluster_slow"),
        path("kafka/", view(kafka), name="cluster_kafka"),
    ]
