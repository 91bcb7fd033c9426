"""What health checks tell operators, and not strangers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.common import node_services
from apps.common.node_services import NodeServices
from apps.common.tls_status import TlsStatus
from apps.console import health, metrics


@pytest.fixture
def services() -> Iterator[NodeServices]:
    before = node_services.current()
    made = NodeServices("test", dict)
    node_services.install(made)
    yield made
    node_services.install(before)


def test_operators_read_what_is_to_be_done(services: NodeServices) -> None:
    services.checks["certificate"] = lambda: {"ok": False, "note": "/etc/gmqtt/cert.pem: 6 days left"}
    services.checks["auth"] = lambda: {"ok": True}
    assert health.for_operators() == {
        "status": "degraded",
        "failing": ["certificate"],
        "notes": ["certificate: /etc/gmqtt/cert.pem: 6 days left"],
    }
    assert health.summary() == {"status": "degraded", "failing": ["certificate"]}


def test_metrics_of_tls(services: NodeServices) -> None:
    ends = [({"listener": "tls", "file": "/c.pem"}, 1_800_000_000.0)]
    services.provide(TlsStatus, TlsStatus(lambda: ends, {("tls", "closed"): 3}))
    expiry, failures = metrics.TlsCollector().collect()
    assert expiry.name == "gmqtt_certificate_expiry_timestamp_seconds"
    assert expiry.samples[0].labels == {"listener": "tls", "file": "/c.pem"}
    assert expiry.samples[0].value == 1_800_000_000.0
    assert failures.samples[0].name == "gmqtt_tls_handshake_failures_total"
    assert failures.samples[0].labels == {"listener": "tls", "reason": "closed"}
