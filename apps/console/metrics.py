"""/metrics for Prometheus. No label ever names a client or a topic: their number has no bound."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from apps.common import node_services
from apps.common.secretfile import secret_file

# Key of the node's counters -> help.
COUNTERS: Final = {
    "connects": "Clients let in.",
    "disconnects": "Connections that ended.",
    "sessions_expired": "Sessions that ended by their expiry.",
    "packets_in": "MQTT packets received.",
    "packets_out": "MQTT packets sent.",
    "publishes_in": "PUBLISH packets received.",
    "publishes_out": "PUBLISH packets sent.",
    "bytes_in": "Bytes received.",
    "bytes_out": "Bytes sent.",
    "publish_bytes_in": "Bytes of payload received.",
    "publish_bytes_out": "Bytes of payload sent.",
}
GAUGES: Final = {
    "connections": "Clients connected.",
    "sessions": "Sessions, connected or not.",
    "subscriptions": "Subscriptions.",
    "shared_subscriptions": "Shared subscriptions.",
    "retained": "Retained messages.",
    "retained_bytes": "Bytes of retained messages.",
    "queued": "Messages in the queues of sessions.",
    "held": "Bytes queued, in flight and unsent.",
    "inbound": "Bytes of packets that are not complete.",
    "started": "UNIX time at which the node started.",
}


class NodeCollector(Collector):
    """Reads the node's own counters at each scrape; nothing is counted twice."""

    def collect(self) -> Iterator[Metric]:
        services = node_services.current()
        if services is None:
            return
        stats = services.stats()
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"gmqtt_{name}", text, value=stats[name])
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"gmqtt_{name}", text, value=stats[name])
        yield _labelled("gmqtt_dropped_messages", "Messages dropped.", "reason", stats["drops"])
        yield _labelled("gmqtt_refused_connects", "CONNECTs refused.", "reason_code", stats["refused"])


def _labelled(name: str, text: str, label: str, counts: dict[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([str(value)], count)
    return family


registry: Final = CollectorRegistry(auto_describe=False)
registry.register(NodeCollector())
for _collector in (ProcessCollector, PlatformCollector, GCCollector):
    _collector(registry=registry)


def answer(request: HttpRequest) -> HttpResponse:
    """For who brings the token, wherever from."""
    if not _allowed(request):
        text = "a bearer token is needed: console.metrics_token, or the file metrics_token in node.data_dir\n"
        return HttpResponse(text, status=401, headers={"WWW-Authenticate": "Bearer"})
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _allowed(request: HttpRequest) -> bool:
    # A request from this machine may be a stranger's: a plain proxy adds nothing that tells.
    given = request.META.get("HTTP_AUTHORIZATION", "")
    return hmac.compare_digest(given.encode(), f"Bearer {token()}".encode())


def token() -> str:
    """The configured one, else the one that was made for this node, in its data directory."""
    conf = settings.GMQTT
    return conf.console.metrics_token or secret_file(conf.node.data_dir / "metrics_token").strip()
