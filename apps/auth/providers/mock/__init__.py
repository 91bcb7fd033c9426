"""Everybody, or nobody: for first steps, tests and benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.auth.providers.base import Identity, Layer, Outcome, Rejection, identity
from apps.gateway.broker.ports import DENIED, NOTHING, PUBLISH_ALL, ConnectRequest
from apps.gateway.mqtt import reasons

if TYPE_CHECKING:
    from apps.auth.providers.parts import Parts

_NOBODY = Rejection(reasons.NOT_AUTHORIZED, "mock refuses everybody")


class MockClients:
    name = "mock"

    needs_database = False
    registered = False

    def __init__(self, success: bool) -> None:
        self.open = True  # nobody to guard, whatever it answers
        self._success = success

    async def connect(self, request: ConnectRequest) -> Outcome:
        return identity(request, self.name, request.username or "") if self._success else _NOBODY

    def exchange(self, request: ConnectRequest) -> None:
        return None

    async def judge(self, identity: Identity) -> Rejection | None:
        return None


class MockAcl:
    name = "mock"

    needs_database = False
    asks = False
    brought = False

    def __init__(self, success: bool) -> None:
        self.open = True
        self._layer = _Open() if success else _Closed()

    async def layer(self, identity: Identity) -> Layer | None:
        return self._layer


class _Open:
    def publish(self, topic: str) -> int:
        return PUBLISH_ALL

    def subscribe(self, filter: str, qos: int) -> int:
        return qos


class _Closed:
    def publish(self, topic: str) -> int:
        return NOTHING

    def subscribe(self, filter: str, qos: int) -> int:
        return DENIED


def build_clients(parts: Parts) -> MockClients:
    return MockClients(parts.conf.mock == "success")


def build_acl(parts: Parts) -> MockAcl:
    return MockAcl(parts.conf.mock == "success")
