"""The [metrics] table: where the processes that serve no HTTP of their own answer /metrics."""

from __future__ import annotations

from dataclasses import dataclass

from gmqtt_platform.config.values import Address, bare_address, text

_ADDRESS = '"" or host:port; IPv6 as [::1]:port; port 0 to 65535'


@dataclass(frozen=True, slots=True)
class MetricsConf:
    auth_service: Address | None = text("", bare_address("http"), _ADDRESS)
    bridge: Address | None = text("", bare_address("http"), _ADDRESS)
    worker: Address | None = text("", bare_address("http"), _ADDRESS)
