"""Acknowledgements that wait until what they promise is durable.

Whoever makes messages durable (a session store, the way to other nodes) holds the receipt of the loop
turn until a commit or a delivery report has come. Acknowledgements made meanwhile queue up behind it, for
each connection in the order of what they answer [MQTT-4.6.0-2] to [MQTT-4.6.0-4]. A node on which nothing
is durable never makes a receipt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.gateway.broker.outbound import Outbound

PUBACK: Final = b"\x40\x02"  # the fixed header of an acknowledgement without a reason code
PUBREC: Final = b"\x50\x02"
PUBREL: Final = b"\x62\x02"
PUBCOMP: Final = b"\x70\x02"


class Waiter:
    """Something that goes on when a receipt is settled."""

    def settled(self) -> None:
        """A receipt that it waits for was settled; called on the loop, while no dispatch is under way."""
        raise NotImplementedError


class Callback(Waiter):
    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def settled(self) -> None:
        self._call()


class Receipt:
    """What the messages of one loop turn wait for. `reason` is not 0 when they cannot be made durable."""

    __slots__ = ("_closed", "_waiters", "_waiting", "reason")

    def __init__(self) -> None:
        self.reason: int = 0
        self._waiting = 0
        self._closed = False
        self._waiters: list[Waiter] = []

    @property
    def is_settled(self) -> bool:
        return self._closed and self._waiting == 0

    def hold(self) -> None:
        """One thing more to wait for."""
        self._waiting += 1

    def done(self, reason: int = 0) -> None:
        """It has come, or `reason` why it never will. Call it on the loop, never from within a dispatch."""
        if reason and not self.reason:
            self.reason = reason
        self._waiting -= 1
        self._settle()

    def close(self) -> None:
        """The loop turn is over: nothing more is held on this receipt."""
        self._closed = True
        self._settle()

    def then(self, waiter: Waiter) -> None:
        """Call `waiter.settled` when all has come."""
        self._waiters.append(waiter)

    def _settle(self) -> None:
        if not self.is_settled:
            return
        waiters = self._waiters
        self._waiters = []
        for waiter in waiters:
            waiter.settled()


class Told(Waiter):
    """Calls somebody outside the broker with the receipt's reason."""

    def __init__(self, receipt: Receipt, call: Callable[[int], None]) -> None:
        self._receipt = receipt
        self._call = call
        receipt.then(self)

    def settled(self) -> None:
        self._call(self._receipt.reason)


class Late(Waiter):
    """The acknowledgements of one connection that wait, oldest first."""

    def __init__(self, connection: Outbound) -> None:
        self._connection = connection
        self._queue: deque[tuple[Receipt, bytes, int, int]] = deque()  # receipt, head, packet id, reason
        self._last: Receipt | None = None

    @property
    def is_empty(self) -> bool:
        return not self._queue

    def add(self, receipt: Receipt | None, head: bytes, packet_id: int, reason: int) -> None:
        """Queue one; `receipt` None: it only has to wait for those before it."""
        last = self._last if receipt is None else receipt
        if last is None:  # nothing waits after all
            self._connection.say(head, packet_id, reason)
            return
        if last is not self._last:
            self._last = last
            last.then(self)
        self._queue.append((last, head, packet_id, reason))
        if len(self._queue) >= self._connection.limits.receive_maximum:
            self._connection.back_up(True)

    def settled(self) -> None:
        connection = self._connection
        queue = self._queue
        while queue and queue[0][0].is_settled:
            receipt, head, packet_id, reason = queue.popleft()
            if receipt.reason == 0:
                connection.say(head, packet_id, reason)
            elif not connection.not_durable(head, packet_id, receipt.reason):
                return
        if not queue:
            self._last = None
        if 2 * len(queue) <= connection.limits.receive_maximum:
            connection.back_up(False)

    def clear(self) -> None:
        """The connection is over: its client will ask again."""
        self._queue.clear()
        self._last = None
