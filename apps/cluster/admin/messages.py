"""Pages that are no model's: publish a message, retained messages, traces."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from apps.cluster import maintenance, permissions, services
from apps.cluster.admin.base import actor_of
from apps.cluster.node_rpc import NodeRpcError
from apps.common.errors import Gone
from apps.common.lists import csv_file
from apps.gateway.mqtt import topics
from apps.gateway.mqtt.errors import MqttError

ERRORS: Final = (NodeRpcError, Gone, ValidationError)
PAGE: Final = 50
MAX_EXPORTED: Final = 10_000
COLUMNS: Final = ("topic", "qos", "size", "publisher", "expires_in")


class PublishForm(forms.Form):
    topic = forms.CharField(label=_("Topic"), max_length=65535, strip=False)
    encoding = forms.ChoiceField(
        label=_("Payload is"), choices=(("text", _("text")), ("hex", "hex"), ("base64", "base64"))
    )
    payload = forms.CharField(label=_("Payload"), widget=forms.Textarea, required=False, strip=False)
    qos = forms.TypedChoiceField(label="QoS", choices=[(n, str(n)) for n in range(3)], coerce=int, initial=1)
    retain = forms.BooleanField(label=_("Retain"), required=False)

    def clean_topic(self) -> str:
        topic: str = self.cleaned_data["topic"]
        try:
            topics.check_name(topic)
        except MqttError as error:
            raise ValidationError(error.text, code="invalid_topic") from None
        return topic

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        text = cleaned.get("payload", "")
        try:
            kind = cleaned.get("encoding")
            if kind == "hex":
                cleaned["bytes"] = bytes.fromhex(text)
            elif kind == "base64":
                cleaned["bytes"] = base64.b64decode(text, validate=True)
            else:
                cleaned["bytes"] = text.encode()
        except (ValueError, binascii.Error):
            raise ValidationError(_("The payload is not what you say it is."), code="bad_payload") from None
        return cleaned


class TraceForm(forms.Form):
    kind = forms.ChoiceField(
        label=_("Of"),
        choices=(("client", _("a client id")), ("topic", _("a topic filter")), ("address", _("an address"))),
    )
    value = forms.CharField(label=_("Which"), max_length=1024, strip=False)
    seconds = forms.IntegerField(
        label=_("Seconds"), min_value=1, max_value=maintenance.MAX_SECONDS, initial=300
    )
    payloads = forms.BooleanField(label=_("With payloads"), required=False)


def page_of(request: HttpRequest, template: str, title: Any, **context: Any) -> TemplateResponse:
    return TemplateResponse(
        request, template, {**admin.site.each_context(request), "title": title, **context}
    )


def publish(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(permissions.PUBLISH_MESSAGE)
    form = PublishForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            answer = services.publish(actor, data["topic"], data["bytes"], data["qos"], data["retain"])
        except ERRORS as error:
            messages.error(request, str(error))
        else:
            said = _("Published.") if answer.get("subscribed") else _("Published; nobody is subscribed.")
            messages.success(request, said)
    return page_of(request, "cluster/publish.html", _("Publish a message"), form=form)


def retained(request: HttpRequest) -> HttpResponse:
    """The retained messages that a filter matches, a page at a time; one of them in full; delete."""
    actor = actor_of(request)
    actor.require(permissions.VIEW_RETAINED)
    chosen = request.GET.get("topic")
    filter = request.GET.get("filter") or "#"
    context: dict[str, Any] = {"filter": filter, "may_delete": actor.may(permissions.DELETE_RETAINED)}
    try:
        if request.method == "POST":
            for topic in request.POST.getlist("topic")[:PAGE]:
                services.delete_retained(actor, topic)
            messages.success(request, _("Deleted."))
            return HttpResponseRedirect(request.get_full_path())
        if chosen is not None:
            message = services.retained_message(actor, chosen)
            context |= {"message": message, "views": _views(message.get("payload"))}
        else:
            topics.check_filter(filter)
            context |= services.retained(actor, filter, request.GET.get("after", ""), PAGE, payloads=False)
    except MqttError as error:
        context["trouble"] = error.text
    except ERRORS as error:
        context["trouble"] = str(error)
    context["messages_found"] = context.pop("messages", [])
    return page_of(request, "cluster/retained.html", _("Retained messages"), **context)


def retained_csv(request: HttpRequest) -> HttpResponseBase:
    """The retained messages that `?filter=` matches, without payloads, at most MAX_EXPORTED of them."""
    actor = actor_of(request)
    actor.require(permissions.VIEW_RETAINED)
    filter = request.GET.get("filter") or "#"
    found: list[dict[str, Any]] = []
    after: str | None = ""
    try:
        topics.check_filter(filter)
        while after is not None and len(found) < MAX_EXPORTED:
            page = services.retained(actor, filter, after, 2 * PAGE, payloads=False)
            found += page["messages"]
            after = page["next"]
    except (MqttError, *ERRORS) as error:
        messages.error(request, error.text if isinstance(error, MqttError) else str(error))
        return HttpResponseRedirect(reverse("admin:cluster_retained"))
    rows = ([message[name] for name in COLUMNS] for message in found)
    return csv_file("retained.csv", COLUMNS, rows)


def _views(payload: str | None) -> dict[str, str]:
    """A payload as text, as JSON and in hexadecimal, as far as it is that."""
    if payload is None:
        return {}
    raw = base64.b64decode(payload)
    found = {"hex": raw.hex(" ")}
    try:
        found = {"text": raw.decode(), **found}
        found = {"JSON": json.dumps(json.loads(raw), indent=2, ensure_ascii=False), **found}
    except (ValueError, RecursionError):
        pass
    return found


def traces(request: HttpRequest) -> HttpResponse:
    """Those that run and ran, and a form for another."""
    actor = actor_of(request)
    actor.require(permissions.TRACE)
    form = TraceForm(
        request.POST if request.POST.get("verb") == "start" else None, initial=request.GET.dict()
    )
    try:
        if request.method == "POST" and request.POST.get("verb") in ("stop", "forget"):
            maintenance.stop_trace(actor, request.POST.get("id", ""), request.POST["verb"] == "forget")
            return HttpResponseRedirect(request.path)
        if request.method == "POST" and form.is_valid():
            trace_id = maintenance.start_trace(actor, **form.cleaned_data)
            return HttpResponseRedirect(reverse("admin:cluster_trace", args=[trace_id]))
    except ERRORS as error:
        messages.error(request, str(error))
    found = maintenance.traces(actor)
    return page_of(request, "cluster/traces.html", _("Traces"), form=form, traces=found)


def trace(request: HttpRequest, trace_id: str) -> HttpResponse:
    """One trace, live; `?after={"node": n}` answers what came since as JSON, `?download` all of it."""
    actor = actor_of(request)
    actor.require(permissions.TRACE)
    if "download" in request.GET:
        lines = (json.dumps(entry) for entry in maintenance.read_trace(actor, trace_id)["entries"])
        headers = {"Content-Disposition": f'attachment; filename="trace-{trace_id}.jsonl"'}
        return HttpResponse("\n".join(lines) + "\n", content_type="application/jsonl", headers=headers)
    if "after" in request.GET:
        try:
            after = json.loads(request.GET["after"] or "{}")
            after = {str(node): int(count) for node, count in after.items()}
        except (ValueError, AttributeError, TypeError, RecursionError):
            return JsonResponse({"code": "bad_cursor"}, status=400)
        return JsonResponse(maintenance.read_trace(actor, trace_id, after))
    return page_of(request, "cluster/trace.html", _("Trace"), trace_id=trace_id)


def urls() -> list[Any]:
    view = admin.site.admin_view
    return [
        path("publish/", view(publish), name="cluster_publish"),
        path("retained/", view(retained), name="cluster_retained"),
        path("retained/export/", view(retained_csv), name="cluster_retained_export"),
        path("traces/", view(traces), name="cluster_traces"),
        path("traces/<slug:trace_id>/", view(trace), name="cluster_trace"),
    ]
