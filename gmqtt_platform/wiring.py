"""The composition root: builds the node from the configuration, the only place that knows every part."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets

from apps.gateway.broker.limits import Limits
from apps.gateway.broker.node import Node
from apps.gateway.broker.ports import PUBLISH_ALL, ConnectRequest, Verdict
from apps.gateway.mqtt import reasons
from apps.gateway.net.runner import Runner
from apps.gateway.observer import LogObserver
from apps.gateway.runtime import Runtime
from gmqtt_platform import __version__
from gmqtt_platform.conf import Conf


def client_identifier() -> str:
    """An identifier for a client that brought none; nobody can guess another client's."""
    return f"gmqtt-{secrets.token_hex(12)}"


def build(conf: Conf, loop: asyncio.AbstractEventLoop) -> Runtime:
    """The node and what its consumers need, not yet listening."""
    runner = Runner(loop)
    node = Node(
        name=conf.node.name,
        version=__version__,
        limits=Limits(**dataclasses.asdict(conf.limits)),
        observer=LogObserver(),
        wake=runner.wake,
        assign=client_identifier,
        now=runner.now(),
        sys_interval=float(conf.node.sys_interval),
    )
    return Runtime(node, runner, _Mock(conf.auth.mock == "success"))


class _Mock:
    """[auth] mock: everybody, or nobody."""

    def __init__(self, success: bool) -> None:
        self._verdict = Verdict(0, acl=_Open()) if success else Verdict(reasons.NOT_AUTHORIZED)

    async def connect(self, request: ConnectRequest) -> Verdict:
        return self._verdict

    def exchange(self, request: ConnectRequest) -> None:
        return None


class _Open:
    def publish(self, topic: str) -> int:
        return PUBLISH_ALL

    def subscribe(self, filter: str, qos: int) -> int:
        return qos

    async def ask_publish(self, topic: str) -> int:
        return PUBLISH_ALL

    async def ask_subscribe(self, filter: str, qos: int) -> int:
        return qos
