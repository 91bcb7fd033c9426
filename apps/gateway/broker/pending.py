"""What a connection waits for. Whoever decides answers by the function of `control` named with each."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from apps.gateway.broker.ports import ConnectRequest
    from apps.gateway.broker.session import Subscription
    from apps.gateway.mqtt.packets import Filter, Subscribe, Unsubscribe


class PendingConnect:
    """A CONNECT: `control.decided`, or `control.challenge` where an exchange goes on."""

    def __init__(self, request: ConnectRequest) -> None:
        self.request = request


class PendingAuth:
    """An AUTH of an enhanced authentication, at CONNECT or later: as PendingConnect."""

    def __init__(self, data: bytes | None) -> None:
        self.data = data


class PendingPublish:
    """A PUBLISH to a topic on which the ACL has to be asked: `control.publish_allowed`."""

    def __init__(self, topic: str) -> None:
        self.topic = topic


class PendingSubscribe:
    """A SUBSCRIBE with a filter on which the ACL has to be asked, or with many: `subscribing.Subscribing`."""

    def __init__(self, packet: Subscribe) -> None:
        self.packet = packet


class PendingSuback:
    """A SUBACK that waits until the other nodes know of the subscriptions: `subscribing.announced`."""

    def __init__(self, suback: bytes, fresh: list[tuple[Subscription, Filter, bool]]) -> None:
        self.suback = suback
        self.fresh = fresh  # each new subscription, as it was asked for, and whether it replaced one


class PendingUnsubscribe:
    """An UNSUBSCRIBE of many filters, some of them in a loop turn: `subscribing.unsubscribe_some`."""

    def __init__(self, packet: Unsubscribe) -> None:
        self.packet = packet
        self.answer: list[int] = []


class PendingTurn:
    """Nobody is asked: the client has had its share of this loop turn, and goes on in the next."""


Pending: TypeAlias = (
    "PendingConnect | PendingAuth | PendingPublish | PendingSubscribe | PendingSuback | PendingUnsubscribe"
    " | PendingTurn"
)
