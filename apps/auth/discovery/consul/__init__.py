"""Consul: a service of the local agent with a TTL check; only instances whose check passes are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import requests
from consul import Check, Consul, ConsulException

from apps.auth.discovery.base import TIMEOUT, DiscoveryUnavailable, parts

if TYPE_CHECKING:
    from gmqtt_platform.config.auth import DiscoveryConf

T = TypeVar("T")

FORGOTTEN_AFTER = "1m"  # Consul removes an instance that stayed silent so long; it takes no less


class ConsulDirectory:
    def __init__(self, url: str, service: str, ttl: int, token: str = "") -> None:
        scheme, host, port = parts(url, 8500)
        self._consul = Consul(host=host, port=port, scheme=scheme, token=token or None)
        self._consul.http.connections_timeout = TIMEOUT
        self._service = service
        self._ttl = ttl
        self._address = ""

    @property
    def _id(self) -> str:
        return f"{self._service}-{self._address}"

    def instances(self) -> set[str]:
        _, rows = _ask(lambda: self._consul.health.service(self._service, passing=True))
        found = set()
        for row in rows:
            host, port = row["Service"]["Address"] or row["Node"]["Address"], row["Service"]["Port"]
            found.add(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        return found

    def register(self, address: str) -> None:
        self._address = address
        _ask(self._enter)

    def _enter(self) -> None:
        host, _, port = self._address.rpartition(":")
        check = Check.ttl(f"{self._ttl}s") | {"DeregisterCriticalServiceAfter": FORGOTTEN_AFTER}
        self._consul.agent.service.register(
            self._service, service_id=self._id, address=host.strip("[]"), port=int(port), check=check
        )
        self._consul.agent.check.ttl_pass(f"service:{self._id}")

    def renew(self) -> None:
        def stay() -> None:
            try:
                known = self._consul.agent.check.ttl_pass(f"service:{self._id}")
            except ConsulException:  # older agents answer 500 for a check that they do not know
                known = False
            if not known:  # the agent was restarted, or took us for dead
                self._enter()

        _ask(stay)

    def withdraw(self) -> None:
        _ask(lambda: self._consul.agent.service.deregister(self._id))


def _ask(call: Callable[[], T]) -> T:
    try:
        return call()
    except (ConsulException, requests.RequestException, KeyError, ValueError, TypeError) as error:
        raise DiscoveryUnavailable(f"Consul: {error or type(error).__name__}") from error


def build(conf: DiscoveryConf) -> ConsulDirectory:
    return ConsulDirectory(conf.consul, conf.service, conf.ttl, conf.consul_token)
