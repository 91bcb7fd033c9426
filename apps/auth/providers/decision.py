"""What one client may do, asked of every ACL provider in order."""

from __future__ import annotations

from typing import Final

from apps.auth.acl import PASS, Explanation, Rules
from apps.auth.providers.base import AskingLayer, Identity, Layer
from apps.gateway.broker.ports import DENIED, NOTHING, PUBLISH_ALL, UNKNOWN

_DENY: Final = "deny"


class ClientAcl:
    """A `ports.Acl`. The first layer that does not pass decides; `default` is deny or allow, where all do."""

    __slots__ = ("__weakref__", "_default", "identity", "layers")

    def __init__(self, identity: Identity, layers: tuple[Layer, ...], default: str) -> None:
        self.identity = identity
        self.layers = layers
        self._default = default

    def publish(self, topic: str) -> int:
        for layer in self.layers:
            answer = layer.publish(topic)
            if answer != PASS:
                return answer
        return NOTHING if self._default == _DENY else PUBLISH_ALL

    def subscribe(self, filter: str, qos: int) -> int:
        for layer in self.layers:
            answer = layer.subscribe(filter, qos)
            if answer != PASS:
                return answer
        return DENIED if self._default == _DENY else qos

    async def ask_publish(self, topic: str) -> int:
        for layer in self.layers:
            answer = layer.publish(topic)
            if answer == UNKNOWN:
                answer = await _asking(layer).ask_publish(topic)
            if answer != PASS:
                return answer
        return NOTHING if self._default == _DENY else PUBLISH_ALL

    async def ask_subscribe(self, filter: str, qos: int) -> int:
        for layer in self.layers:
            answer = layer.subscribe(filter, qos)
            if answer == UNKNOWN:
                answer = await _asking(layer).ask_subscribe(filter, qos)
            if answer != PASS:
                return answer
        return DENIED if self._default == _DENY else qos

    def explain(self, action: str, topic: str, qos: int = 0) -> Explanation | None:
        """Which rule decides, where it is a rule that this process knows; None: something else does."""
        for layer in self.layers:
            answer = layer.publish(topic) if action == "publish" else layer.subscribe(topic, qos)
            if answer != PASS:
                return layer.explain(action, topic, qos) if isinstance(layer, Rules) else None
        return None


def _asking(layer: Layer) -> AskingLayer:
    return layer  # type: ignore[return-value]  # only such a layer answers UNKNOWN
