"""What the consumers of one process share; `gmqtt_platform.wiring` builds it."""

from __future__ import annotations

from dataclasses import dataclass

from apps.gateway.broker.node import Node
from apps.gateway.broker.ports import Authenticator
from apps.gateway.net.runner import Runner


@dataclass(frozen=True)
class Runtime:
    node: Node
    runner: Runner
    authenticator: Authenticator

    def now(self) -> float:
        """UNIX seconds."""
        return self.runner.now()
