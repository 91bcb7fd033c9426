"""What one client may do, asked of every ACL provider in order."""

from __future__ import annotations

from typing import Final

from apps.auth.acl import PASS, Explanation, Rules
from apps.auth.providers.base import AskingLayer, Identity, Layer
from apps.gateway.broker.ports import DENIED, NOTHING, PUBLISH_ALL, UNKNOWN

ANSWER: Final = 20  # units of `ports.Acl.cost`, beside what rules take

# Where no layer decides, by the chain's default: publish, subscribe (None: as wanted).
_DEFAULTS: Final[dict[str, tuple[int, int | None]]] = {
    "deny": (NOTHING, DENIED),
    "allow": (PUBLISH_ALL, None),
    "pass": (PASS, PASS),
}


class ClientAcl:
    """A `ports.Acl`. The first layer that does not pass decides; `default` names what holds where all do."""

    __slots__ = ("__weakref__", "_publish", "_subscribe", "cost", "identity", "layers")

    def __init__(self, identity: Identity, layers: tuple[Layer, ...], default: str) -> None:
        self.identity = identity
        self.layers = layers
        self._publish, self._subscribe = _DEFAULTS[default]
        self.cost = ANSWER + sum(each.cost for each in layers if isinstance(each, Rules))

    def publish(self, topic: str) -> int:
        for layer in self.layers:
            answer = layer.publish(topic)
            if answer != PASS:
                return answer
        return self._publish

    def subscribe(self, filter: str, qos: int) -> int:
        for layer in self.layers:
            answer = layer.subscribe(filter, qos)
            if answer != PASS:
                return answer
        return qos if self._subscribe is None else self._subscribe

    async def ask_publish(self, topic: str) -> int:
        for layer in self.layers:
            answer = layer.publish(topic)
            if answer == UNKNOWN:
                answer = await _asking(layer).ask_publish(topic)
            if answer != PASS:
                return answer
        return self._publish

    async def ask_subscribe(self, filter: str, qos: int) -> int:
        for layer in self.layers:
            answer = layer.subscribe(filter, qos)
            if answer == UNKNOWN:
                answer = await _asking(layer).ask_subscribe(filter, qos)
            if answer != PASS:
                return answer
        return qos if self._subscribe is None else self._subscribe

    def explain(self, action: str, topic: str, qos: int = 0) -> Explanation | None:
        """Which rule decides, where it is a rule that this process knows; None: something else does."""
        for layer in self.layers:
            answer = layer.publish(topic) if action == "publish" else layer.subscribe(topic, qos)
            if answer != PASS:
                return layer.explain(action, topic, qos) if isinstance(layer, Rules) else None
        return None


def _asking(layer: Layer) -> AskingLayer:
    return layer  # type: ignore[return-value]  # only such a layer answers UNKNOWN
