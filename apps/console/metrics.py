"""/metrics for Prometheus. No label ever names a client or a topic: their number has no bound.

Names carry their unit: _total counts, _bytes, _seconds; a gauge of things is named by the things.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from apps.common import node_services
from apps.common.secretfile import secret_file
from apps.common.tls_status import TlsStatus
from apps.console import sources

# Key of the node's counters -> name without gmqtt_ and _total, help.
COUNTERS: Final = {
    "connects": ("connects", "Clients let in."),
    "disconnects": ("disconnects", "Connections that ended."),
    "sessions_expired": ("sessions_expired", "Sessions that ended by their expiry."),
    "packets_in": ("received_packets", "MQTT packets received."),
    "packets_out": ("sent_packets", "MQTT packets sent."),
    "publishes_in": ("received_messages", "PUBLISH packets received."),
    "publishes_out": ("sent_messages", "PUBLISH packets sent."),
    "bytes_in": ("received_bytes", "Bytes received."),
    "bytes_out": ("sent_bytes", "Bytes sent."),
    "publish_bytes_in": ("received_payload_bytes", "Bytes of payload received."),
    "publish_bytes_out": ("sent_payload_bytes", "Bytes of payload sent."),
}
GAUGES: Final = {
    "connections": ("connections", "Clients connected."),
    "sessions": ("sessions", "Sessions, connected or not."),
    "subscriptions": ("subscriptions", "Subscriptions."),
    "shared_subscriptions": ("shared_subscriptions", "Shared subscriptions."),
    "retained": ("retained_messages", "Retained messages."),
    "retained_bytes": ("retained_bytes", "Bytes of retained messages."),
    "queued": ("queued_messages", "Messages in the queues of sessions."),
    "held": ("held_bytes", "Bytes queued, in flight and unsent."),
    "inbound": ("incomplete_bytes", "Bytes of packets that are not complete."),
    "started": ("start_time_seconds", "UNIX time at which the node started."),
}
LABELLED: Final = {
    "drops": ("dropped_messages", "Messages dropped.", "reason"),
    "refused": ("refused_connects", "CONNECTs refused.", "reason_code"),
}
# Of these each node has the same ones: the cluster has as many as the node that has most.
SHARED: Final = frozenset(("retained", "retained_bytes"))
NOT_SUMMED: Final = frozenset(("started",))

Stats = Mapping[str, Any]


def _of_stats(prefix: str, stats: Stats, leave_out: Iterable[str] = ()) -> Iterator[Metric]:
    for key, (name, text) in COUNTERS.items():
        yield CounterMetricFamily(f"{prefix}_{name}", text, value=stats[key])
    for key, (name, text) in GAUGES.items():
        if key not in leave_out:
            yield GaugeMetricFamily(f"{prefix}_{name}", text, value=stats[key])
    for key, (name, text, label) in LABELLED.items():
        yield _labelled(CounterMetricFamily(f"{prefix}_{name}", text, labels=[label]), stats[key])


class NodeCollector(Collector):
    """Reads the node's own counters at each scrape; nothing is counted twice."""

    def collect(self) -> Iterator[Metric]:
        services = node_services.current()
        if services is None:
            return
        yield from _of_stats("gmqtt", services.stats())
        parts = {name: int(bool(check()["ok"])) for name, check in services.checks.items()}
        text = "Whether a part works, by /healthz: 1 or 0."
        yield _labelled(GaugeMetricFamily("gmqtt_part_works", text, labels=["part"]), parts)
        ready = not any(check() for check in services.readiness.values())
        yield GaugeMetricFamily("gmqtt_ready", "Whether /readyz answers 200.", value=int(ready))


class ProcessFigures(Collector):
    """What any process of the platform has put into `sources`."""

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("gmqtt_build", "The version that runs.", value={"version": sources.version})
        for name, (text, read) in sources.gauges.items():
            yield GaugeMetricFamily(f"gmqtt_{name}", text, value=read())
        for name, (text, read) in sources.counters.items():
            yield CounterMetricFamily(f"gmqtt_{name}", text, value=read())
        for name, (text, bounds, histogram) in sources.histograms.items():
            yield _histogram(f"gmqtt_{name}", text, bounds, histogram)


def _histogram(name: str, text: str, bounds: tuple[float, ...], histogram: Any) -> Metric:
    buckets, total = [], 0
    for bound, count in zip((*map(str, bounds), "+Inf"), list(histogram.counts), strict=True):
        total += count
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.sum)


def _labelled(family: Any, counts: Mapping[Any, int]) -> Metric:
    for value, count in counts.items():
        family.add_metric([str(value)], count)
    found: Metric = family
    return found


class TlsCollector(Collector):
    """Of the node's TLS listeners: until when their files are good, and handshakes that failed."""

    def collect(self) -> Iterator[Metric]:
        status = node_services.find(TlsStatus)
        if status is None:
            return
        name = "gmqtt_certificate_expiry_timestamp_seconds"
        text = "UNIX time at which a certificate, client CA or CRL expires."
        expiry = GaugeMetricFamily(name, text, labels=["listener", "file"])
        for labels, end in status.expiry():
            expiry.add_metric([labels["listener"], labels["file"]], end)
        yield expiry
        text = "TLS handshakes that failed."
        failed = CounterMetricFamily("gmqtt_tls_handshake_failures", text, labels=["listener", "reason"])
        for (listener, reason), count in status.failures.items():
            failed.add_metric([listener, reason], count)
        yield failed


def summed(all_stats: Iterable[Stats]) -> dict[str, Any]:
    """The cluster's figures, of what each node says of itself."""
    found: dict[str, Any] = dict.fromkeys((*COUNTERS, *GAUGES), 0)
    for key in LABELLED:
        found[key] = {}
    for stats in all_stats:
        for key in (*COUNTERS, *GAUGES):
            value = stats.get(key, 0)  # a node of another version may not know it
            found[key] = max(found[key], value) if key in SHARED else found[key] + value
        for key in LABELLED:
            for name, count in stats.get(key, {}).items():
                found[key][name] = found[key].get(name, 0) + count
    return found


class ClusterCollector(Collector):
    """Of the nodes that answered, added up."""

    def __init__(self, found: Mapping[str, Stats], missing: Iterable[str]) -> None:
        self._found = found
        self._missing = missing

    def collect(self) -> Iterator[Metric]:
        yield from _of_stats("gmqtt_cluster", summed(self._found.values()), NOT_SUMMED)
        answered = dict.fromkeys(self._found, 1) | dict.fromkeys(self._missing, 0)
        text = "Whether a node of the cluster answered: 1, its figures are in the sums, or 0."
        yield _labelled(GaugeMetricFamily("gmqtt_cluster_node_answers", text, labels=["node"]), answered)
        yield GaugeMetricFamily("gmqtt_cluster_nodes", "Nodes of the cluster.", value=len(answered))


def registry_of(*collectors: Collector) -> CollectorRegistry:
    """With the figures of the process, which every part of the platform has."""
    made = CollectorRegistry(auto_describe=False)
    for collector in (*collectors, ProcessFigures()):
        made.register(collector)
    for standard in (ProcessCollector, PlatformCollector, GCCollector):
        standard(registry=made)
    return made


registry: Final = registry_of(NodeCollector(), TlsCollector())


def answer(request: HttpRequest) -> HttpResponse:
    """For who brings the token, wherever from."""
    return _refusal(request) or _text(generate_latest(registry))


async def cluster_answer(request: HttpRequest) -> HttpResponse:
    """/metrics/cluster: from any node the figures of all."""
    refused = _refusal(request)
    if refused is not None:
        return refused
    found, missing = await sources.cluster_stats()
    made = CollectorRegistry(auto_describe=False)
    made.register(ClusterCollector(found, missing))
    return _text(generate_latest(made))


def _text(body: bytes) -> HttpResponse:
    return HttpResponse(body, content_type=CONTENT_TYPE_LATEST)


def _refusal(request: HttpRequest) -> HttpResponse | None:
    # A request from this machine may be a stranger's: a plain proxy adds nothing that tells.
    given = request.META.get("HTTP_AUTHORIZATION", "")
    if allowed(given):
        return None
    text = "a bearer token is needed: console.metrics_token, or the file metrics_token in node.data_dir\n"
    return HttpResponse(text, status=401, headers={"WWW-Authenticate": "Bearer"})


def allowed(authorization: str) -> bool:
    return hmac.compare_digest(authorization.encode(), f"Bearer {token()}".encode())


def token() -> str:
    """The configured one, else the one that was made for this node, in its data directory."""
    conf = settings.GMQTT
    return conf.console.metrics_token or secret_file(conf.node.data_dir / "metrics_token").strip()
