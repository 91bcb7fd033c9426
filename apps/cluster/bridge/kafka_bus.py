"""The node's way to everybody else: other nodes' subscriptions, export rules, and Kafka that carries both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from apps.cluster.bridge import envelope
from apps.cluster.bridge.export_rules import Export, Exports
from apps.cluster.bridge.proof import MessageProof
from apps.cluster.bridge.records import Headers, Producer
from apps.cluster.bridge.topic_names import TopicNames
from apps.cluster.coordination.routes import QUEUES
from apps.gateway.broker.messages import Message
from apps.gateway.broker.ports import BUS_DURABLE, BUS_LIVE, Choice
from apps.gateway.mqtt import reasons, topics

if TYPE_CHECKING:
    from apps.gateway.broker.completion import Completion

# `wants` answers, beside the sum that the broker knows, which export rules match: their place in a list.
EXPORT_SHIFT: Final = 8
_TO_QUEUES: Final = f"{QUEUES} "


class Interest(Protocol):
    """What other nodes' clients have subscribed to, and this node's for them. On the loop, never waiting."""

    def wants(self, topic: str) -> int:
        """Sum of BUS_LIVE, BUS_DURABLE and BUS_SHARED, as `ports.MessageBus.wants`."""

    def choose(self, topic: str, groups: Sequence[str], qos: int) -> Choice:
        """As `ports.MessageBus.choose`; each of `there` is "<node or QUEUES> <share name>/<filter>"."""

    def subscribed(self, filter: str, share: str) -> None:
        """A client of this node subscribed. `share`: name of the shared subscription, or ""."""

    def unsubscribed(self, filter: str, share: str) -> None: ...

    def present(self, filter: str, share: str, here: bool, kept: bool) -> None:
        """As `ports.MessageBus.present`."""

    def shares(self, topic: str, qos: int, where: str) -> frozenset[str] | None:
        """Of this node's shared subscriptions those that serve a message which nobody chose a member for.

        `where` is the record's place, the same on every node. None: all.
        """

    def has_unapplied(self) -> bool:
        """As `ports.MessageBus.has_unapplied`."""

    async def wait_applied(self) -> bool:
        """As `ports.MessageBus.wait_applied`."""


class RetainedNews(Protocol):
    """Tells the other nodes of retained messages."""

    def retain(self, message: Message, completion: Completion | None) -> int: ...


class Sessions(Protocol):
    """Those that the cluster keeps."""

    @property
    def is_full(self) -> bool:
        """Can nothing more be queued for them?"""

    async def wait_applied(self) -> bool:
        """Wait until what was subscribed for them cannot be missed any more; False: it may be."""


class Subscriptions(Protocol):
    """Hears of this node's subscriptions (`kafka.feed.BridgeClient`)."""

    def subscribed(self, filter: str) -> None: ...

    def unsubscribed(self, filter: str) -> None: ...


class KafkaBus:
    """`ports.Outside`."""

    def __init__(
        self,
        node: str,
        incarnation: str,
        names: TopicNames,
        producer: Producer,
        interest: Interest,
        retained: RetainedNews | None,
        feed: Subscriptions,
        exports: Exports,
        username_of: Callable[[str], str | None],
        now: Callable[[], float],
        proof: MessageProof,
    ) -> None:
        """`incarnation` names this run of the process. `username_of` takes a client id of this node."""
        self._node = node
        self._prefix = f"{node}-{incarnation}-"
        self._names = names
        self._producer = producer
        self._interest = interest
        self._retained = retained
        self._feed = feed
        self._username_of = username_of
        self._now = now
        self._proof = proof
        self._count = 0
        self.sessions: Sessions | None = None
        self.exports = exports
        self._sets: list[tuple[Export, ...]] = [()]  # of export rules, by the place that `wants` answers
        self._places: dict[tuple[Export, ...], int] = {(): 0}

    # ports.MessageBus --------------------------------------------------------------------------------

    def wants(self, topic: str) -> int:
        if topics.is_system(topic):
            return 0
        wants = self._interest.wants(topic)
        home = self._names.of_topic(topic)
        others: list[Export] = []
        for rule in self.exports.match(topic):
            if rule.kafka_topic == home:  # the record that nodes read is the one that services want
                wants |= BUS_LIVE
            else:
                others.append(rule)
        return wants | self._place(tuple(others)) << EXPORT_SHIFT

    def _place(self, rules: tuple[Export, ...]) -> int:
        place = self._places.get(rules)
        if place is None:
            place = self._places[rules] = len(self._sets)
            self._sets.append(rules)
        return place

    def forget_exports(self) -> None:
        """The rules changed, and every route with them."""
        self._sets = [()]
        self._places = {(): 0}

    def choose(self, topic: str, groups: Sequence[str], qos: int) -> Choice:
        return self._interest.choose(topic, groups, qos)

    def publish(
        self, message: Message, wants: int, choice: Choice | None, completion: Completion | None
    ) -> int:
        there = choice.there if choice is not None else ()
        durable = wants & BUS_DURABLE or any(each.startswith(_TO_QUEUES) for each in there)
        if durable and message.qos and self.sessions is not None and self.sessions.is_full:
            return reasons.QUOTA_EXCEEDED
        place = wants >> EXPORT_SHIFT
        username = self._username_of(message.origin) if message.origin else None
        self._count += 1
        name = message.once or f"{self._prefix}{self._count}"
        headers = envelope.headers(message, self._now(), username, self._node, name)
        taken = False
        if wants & BUS_LIVE or there or (durable and message.qos):
            shares: Headers = [(envelope.SHARE, each.encode()) for each in there]
            whole = headers + shares if shares else headers
            if message.once:
                whole = [*whole, (envelope.PROOF, self._proof.make(whole, message.payload))]
            topic = self._names.of_topic(message.topic)
            if not self._producer.send(topic, message.raw_topic[2:], message.payload, whole, completion):
                return reasons.QUOTA_EXCEEDED
            taken = True
        for rule in self._sets[place] if place else ():
            key = rule.key(message.topic, message.origin, username or "")
            if self._producer.export(rule, key, message.payload, headers, completion):
                taken = True
            elif not taken:  # nothing of it is on its way, and the publisher may come again
                return reasons.QUOTA_EXCEEDED
        return 0

    def retain(self, message: Message, completion: Completion | None) -> int:
        return self._retained.retain(message, completion) if self._retained is not None else 0

    def subscribed(self, filter: str, share: str) -> None:
        self._interest.subscribed(filter, share)
        self._feed.subscribed(filter)

    def unsubscribed(self, filter: str, share: str) -> None:
        self._interest.unsubscribed(filter, share)
        self._feed.unsubscribed(filter)

    def present(self, filter: str, share: str, here: bool, kept: bool) -> None:
        self._interest.present(filter, share, here, kept)

    def has_unapplied(self) -> bool:
        return self._interest.has_unapplied()

    async def wait_applied(self) -> bool:
        if self.sessions is None:
            return await self._interest.wait_applied()
        return all(await asyncio.gather(self._interest.wait_applied(), self.sessions.wait_applied()))

    # A service's message ---------------------------------------------------------------------------

    def shares(self, topic: str, qos: int, where: str) -> frozenset[str] | None:
        """The shared subscriptions of this node that serve a message which every node got alike."""
        return self._interest.shares(topic, qos, where)
