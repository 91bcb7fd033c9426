"""Work for one client that takes longer than a loop turn has: a part of it in each, so that nobody waits.

Costs are counted in units of about 0.2 us (`Router.work`), as time is not the broker's to read.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from apps.gateway.broker.messages import Delivery
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.retained import Cursor
    from apps.gateway.broker.routing import Charge
    from apps.gateway.broker.session import Session, Subscription

TURN: Final = 10_000  # what all chores together may cost in a loop turn: about 2 ms
SLICE: Final = 2500  # what one may cost before the others have their turn
FEW: Final = 64  # things that are done at once: not worth a chore
CHANGED: Final = 75  # the cost of a subscription that comes or goes
DELIVERED: Final = 25  # of a message that is given to somebody
LOOKED: Final = 1  # of a message that is passed over


class Chore:
    def run(self, most: int) -> int:
        """Do a part of it, at a cost of about `most`; answers the cost, 0: it is done."""
        raise NotImplementedError


class Chores:
    """All of a node's, in turn."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: deque[Chore] = deque()

    def add(self, chore: Chore) -> None:
        if not self._waiting:
            self._node.rouse()
        self._waiting.append(chore)

    @property
    def is_idle(self) -> bool:
        return not self._waiting

    def run(self) -> None:
        """One loop turn's share."""
        budget = TURN
        waiting = self._waiting
        while waiting and budget > 0:
            chore = waiting[0]
            cost = chore.run(min(SLICE, budget))
            waiting.popleft()
            budget -= max(cost, 1)
            if cost:
                waiting.append(chore)


class Unsubscribing(Chore):
    """The subscriptions of a session that has ended leave the trie; it gets nothing by them any more."""

    def __init__(self, node: Node, subscriptions: list[Subscription]) -> None:
        self._node = node
        self._subscriptions = subscriptions

    def run(self, most: int) -> int:
        cost = 0
        while self._subscriptions and cost < most:
            self._node.unsubscribe(self._subscriptions.pop())
            cost += CHANGED
        return cost


class HandingOver(Chore):
    """Messages of a shared subscription whose member is gone go to the other members, in their order."""

    def __init__(self, node: Node, given: list[Delivery]) -> None:
        self._node = node
        self._given = deque(given)

    def run(self, most: int) -> int:
        cost = 0
        while self._given and cost < most:
            delivery = self._given.popleft()
            if delivery.group is not None:
                self._node.router.dispatch_shared(delivery.group, delivery.message)
            cost += DELIVERED
        return cost


class Expiring(Chore):
    """Retained messages whose time is over."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.is_due = False  # it is among the chores

    def run(self, most: int) -> int:
        cost = self._node.retained.expire(self._node.now, max(most // CHANGED, 1)) * CHANGED
        self.is_due = cost > 0
        return cost


class Forgetting(Chore):
    """The routes that a client had cached, when it has gone."""

    def __init__(self, node: Node, charge: Charge) -> None:
        self._node = node
        self._charge = charge

    def run(self, most: int) -> int:
        return self._node.router.forget_some(self._charge, max(most // CHANGED, 1)) * CHANGED


class RetainedForAbsent(Chore):
    """Retained messages that match a new subscription, into the queue that a cluster keeps of a client."""

    def __init__(self, session: Session, subscription: Subscription, cursor: Cursor) -> None:
        self._session = session
        self._subscription = subscription
        self._cursor = cursor

    def run(self, most: int) -> int:
        session, cursor, cost = self._session, self._cursor, 0
        while cost < most and not session.ended and not cursor.is_done:
            message, passed = cursor.look(most - cost)
            cost += passed * LOOKED
            if message is not None:
                session.deliver_retained(self._subscription, message)
                cost += DELIVERED
                cursor.step()
        if not cost:
            cursor.close()
        return cost
