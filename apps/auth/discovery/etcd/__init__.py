"""etcd (v3 API over its JSON gateway): one key per instance, /SERVICE/HOST:PORT, under a lease."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import requests
from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import Etcd3Exception
from etcd3gw.lease import Lease

from apps.auth.discovery.base import TIMEOUT, DiscoveryUnavailable, parts

if TYPE_CHECKING:
    from gmqtt_platform.config.auth import DiscoveryConf

T = TypeVar("T")


class EtcdDirectory:
    def __init__(self, url: str, service: str, ttl: int) -> None:
        scheme, host, port = parts(url, 2379)
        self._client = Etcd3Client(host=host, port=port, protocol=scheme, timeout=TIMEOUT)
        self._prefix = f"/{service}/"
        self._ttl = ttl
        self._address = ""
        self._lease: Lease | None = None

    def instances(self) -> set[str]:
        rows = _ask(lambda: self._client.get_prefix(self._prefix))
        return {value.decode() for value, _ in rows}

    def register(self, address: str) -> None:
        self._address = address
        _ask(self._enter)

    def _enter(self) -> None:
        lease = self._client.lease(self._ttl)
        self._client.put(self._prefix + self._address, self._address, lease=lease)
        self._lease = lease

    def renew(self) -> None:
        def stay() -> None:
            if self._lease is None or self._lease.refresh() <= 0:
                self._enter()

        _ask(stay)

    def withdraw(self) -> None:
        _ask(lambda: self._client.delete(self._prefix + self._address))
        if self._lease is not None:
            _ask(self._lease.revoke)


def _ask(call: Callable[[], T]) -> T:
    try:
        return call()
    except (Etcd3Exception, requests.RequestException, KeyError, ValueError) as error:
        raise DiscoveryUnavailable(f"etcd: {error or type(error).__name__}") from error


def build(conf: DiscoveryConf) -> EtcdDirectory:
    return EtcdDirectory(conf.etcd, conf.service, conf.ttl)
