"""Retained messages on their way to a subscriber (section 3.3.1.3), at the pace at which it takes them.

Nothing is queued: a cursor stands in the store, and the window (QoS 1 and 2) or the socket (QoS 0) is filled
from it as it empties. Each loop turn has a budget for all sessions together, so that nobody else waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from apps.gateway.broker import stats as st
from apps.gateway.broker.completion import Completion, Waiter
from apps.gateway.broker.messages import OVERHEAD, Delivery, Message, identifier_properties

if TYPE_CHECKING:
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.retained import Cursor
    from apps.gateway.broker.session import Session, Subscription

TURN: Final = 4096  # what one loop turn may cost: messages passed over count 1
SENT: Final = 16  # the same, for a message that is sent, and one more for each 64 bytes of it
SLICE: Final = 512  # what one session may cost before the others have their turn


class Replay(Waiter):
    """All cursors of one session; the first goes to its end before the next begins."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.scheduled = False  # it has a turn to come
        self._cursors: dict[str, Cursor] = {}  # by the subscription's filter
        self._completion: Completion | None = None  # of what a cluster's queue has not got yet

    def add(self, filter: str, cursor: Cursor) -> None:
        """Begin, or begin again."""
        self.remove(filter)
        node = self.session.node
        cursor.size += OVERHEAD
        node.stats.held += cursor.size
        self._cursors[filter] = cursor
        self.wake()

    def remove(self, filter: str) -> None:
        cursor = self._cursors.pop(filter, None)
        if cursor is not None:
            cursor.close()
            self.session.node.stats.held -= cursor.size

    def close(self) -> None:
        for filter in list(self._cursors):
            self.remove(filter)

    @property
    def held(self) -> int:
        """Bytes that are counted against the node's budget."""
        return sum([cursor.size for cursor in self._cursors.values()])

    @property
    def is_done(self) -> bool:
        return not self._cursors

    def wake(self) -> None:
        """Perhaps there is room again."""
        if not self.scheduled and self._cursors and self.session.connection is not None:
            self.scheduled = True
            self.session.node.replays.schedule(self)

    def completed(self) -> None:
        self._completion = None
        self.wake()

    def run(self, most: int) -> int:
        """Send what there is room for, at a cost of about `most`; answers the cost, 0: it has to wait."""
        cost = 0
        session = self.session
        now = session.node.now
        while cost < most and self._cursors:
            filter, cursor = next(iter(self._cursors.items()))
            subscription = session.subscriptions.get(filter)
            if subscription is None or cursor.is_done:
                self.remove(filter)
                continue
            if not self._has_room(subscription.qos):
                break
            message, passed = cursor.look(most - cost)
            cost += passed
            if message is None:
                continue
            own = subscription.no_local and message.origin == session.client_id
            if not own and not (message.expires and message.expires <= now):
                if not self._send(subscription, message):
                    break
                cost += SENT + (message.size >> 6)
            else:
                cost += 1
            cursor.step()
        return cost

    def _has_room(self, qos: int) -> bool:
        session = self.session
        connection = session.connection
        if connection is None or connection.congested:
            return False
        if not qos:
            return True
        durable = session.durable
        if durable is not None and (durable.queued or self._completion is not None):
            return False
        return session.has_room()

    def _send(self, subscription: Subscription, message: Message) -> bool:
        """False: not now."""
        session = self.session
        identifiers = identifier_properties([subscription.identifier] if subscription.identifier else [])
        delivery = Delivery(message, min(subscription.qos, message.qos), True, identifiers)
        durable = session.durable
        if delivery.qos and durable is not None and durable.remote:
            # The long way round: what is appended in one loop turn, then what the client takes of it.
            if durable.store.full:
                return False
            session.deliver(delivery)
            return True
        if delivery.qos and not session.may_send(delivery):
            if session.held:
                return False
            if delivery.size <= session.node.limits.max_queued_bytes:
                return False  # the node's budget is used up: `Replays.retry`
            session.node.dropped(session.client_id, st.DROP_QUEUE, message.topic, 1)
            return True
        session.deliver(delivery)
        return True

    def end_slice(self) -> None:
        """What a cluster's queue gets in a loop turn is to be there before more is appended."""
        durable = self.session.durable
        node = self.session.node
        if (
            durable is not None
            and durable.remote
            and node.open_completion is not None
            and self._completion is None
        ):
            self._completion = node.open_completion
            self._completion.then(self)


class Replays:
    """All of a node's; who has a turn to come."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._all: dict[str, Replay] = {}  # by client id
        self._turns: list[Replay] = []

    def begin(self, session: Session, subscription: Subscription) -> None:
        """Send the retained messages that a new subscription matches."""
        cursor = session.node.retained.cursor(subscription.filter)
        if cursor is None:
            return
        replay = session.replay
        if replay is None:
            replay = Replay(session)
            session.replay = replay
        self._all[session.client_id] = replay
        replay.add(subscription.filter, cursor)

    def end(self, session: Session) -> None:
        replay = session.replay
        if replay is not None:
            session.replay = None
            replay.close()
            if self._all.get(session.client_id) is replay:
                del self._all[session.client_id]

    def schedule(self, replay: Replay) -> None:
        if not self._turns:
            self._node.rouse()
        self._turns.append(replay)

    @property
    def is_idle(self) -> bool:
        return not self._turns

    def run(self) -> None:
        """One loop turn's share."""
        turns = self._turns
        self._turns = []
        budget = TURN
        place = 0
        while place < len(turns) and budget > 0:
            replay = turns[place]
            place += 1
            cost = replay.run(min(SLICE, budget))
            budget -= max(cost, 1)
            if cost and not replay.is_done:
                turns.append(replay)
                continue
            replay.scheduled = False
            if replay.is_done and replay.session.replay is replay:
                self.end(replay.session)
        for replay in turns[:place]:
            replay.end_slice()
        self._turns = turns[place:] + self._turns

    def retry(self) -> None:
        """Now and then: the node's budget may have room again."""
        for replay in list(self._all.values()):
            replay.wake()
