"""What the processes show in /metrics, and a small HTTP server for those that have none of their own."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from apps.common import database
from apps.console import metrics, sources
from apps.gateway import process_memory
from apps.gateway.broker.histogram import BUCKETS, Histogram
from gmqtt_platform import __version__
from gmqtt_platform.config.loader import Conf
from gmqtt_platform.config.values import Address

logger = logging.getLogger(__name__)

TIMEOUT: Final = 10.0  # seconds that a scraper may be silent


def histogram(name: str, text: str) -> Histogram:
    made = Histogram()
    sources.histograms[name] = (text, BUCKETS, made)
    return made


def of_any_process() -> None:
    sources.version = __version__
    database.observe = histogram(
        "database_seconds", "A batch of questions or writes in the database."
    ).observe


class _Handler(BaseHTTPRequestHandler):
    """GET /metrics with the token, and nothing else."""

    timeout = TIMEOUT
    server: _Server

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self._say(404, b"only /metrics is here\n")
        elif not metrics.allowed(self.headers.get("Authorization", "")):
            self._say(
                401, b"a bearer token is needed: console.metrics_token\n", ("WWW-Authenticate", "Bearer")
            )
        else:
            self._say(200, generate_latest(self.server.registry), ("Content-Type", CONTENT_TYPE_LATEST))

    def _say(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """A scrape is not news."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    registry: CollectorRegistry


def serve(conf: Conf, key: str, *collectors: Collector) -> ThreadingHTTPServer | None:
    """Answer /metrics at [metrics]'s `key`, in a thread; None: no address is configured. ConfError."""
    of_any_process()
    address: Address | None = getattr(conf.metrics, key)
    if address is None:
        return None
    try:
        server = _Server((address.host, address.port), _Handler)
    except OSError as error:
        allowed = "an address of this machine with a free port"
        raise conf.error(f"metrics.{key}", f"{address.netloc} ({error.strerror})", allowed) from None
    server.registry = metrics.registry_of(*collectors)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    logger.info("metrics: http://%s:%d/metrics", address.host, server.server_address[1])
    return server


def observe_calls() -> Callable[[str, float], None]:
    """For the auth service: what counts a call of a method, and how long it took."""
    known: dict[str, Histogram] = {}

    def observe(method: str, seconds: float) -> None:
        if method not in known:
            known[method] = histogram(f"auth_{method.lower()}_seconds", f"Calls of {method}.")
        known[method].observe(seconds)

    return observe


class MemoryCollector(Collector):
    """Where the memory is of a process that is no node: `parts`, program, what the C library has free."""

    def __init__(self, **parts: Callable[[], int]) -> None:
        """`parts`: bytes, by name."""
        self._parts = parts
        self._program = process_memory.rss()

    def collect(self) -> Iterator[Metric]:
        text = "Bytes of memory by what they hold."
        family = GaugeMetricFamily("gmqtt_memory_bytes", text, labels=["part"])
        family.add_metric(["program"], self._program)
        family.add_metric(["unused"], process_memory.free())
        for part, size in self._parts.items():
            family.add_metric([part], size())
        yield family


class BridgeCollector(Collector):
    def __init__(self, status: Callable[[], dict[str, dict[str, Any]]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        labels = ["node"]
        lag = GaugeMetricFamily("gmqtt_bridge_lag_records", "Records not read yet.", labels=labels)
        running = GaugeMetricFamily("gmqtt_bridge_running", "1: it reads; 0: paused or down.", labels=labels)
        counters = {
            name: CounterMetricFamily(f"gmqtt_bridge_{name}_records", text, labels=labels)
            for name, text in (
                ("read", "Records read."),
                ("handed", "Records handed to the node."),
                ("skipped", "Records that the node does not want."),
                ("dead", "Records that became dead letters."),
            )
        }
        for node, status in self._status().items():
            lag.add_metric([node], status.get("lag") or 0)
            running.add_metric([node], int(status.get("state") not in ("paused", "down")))
            for name, family in counters.items():
                if name in status:
                    family.add_metric([node], status[name])
        yield from (lag, running, *counters.values())


class TaskCollector(Collector):
    """Tasks of a Celery worker, by name and how they ended."""

    def __init__(self) -> None:
        self.ended: Counter[tuple[str, str]] = Counter()

    def collect(self) -> Iterator[Metric]:
        text = "Tasks that ended, by how."
        family = CounterMetricFamily("gmqtt_worker_tasks", text, labels=["task", "state"])
        for (task, state), count in list(self.ended.items()):
            family.add_metric([task, state], count)
        yield family
