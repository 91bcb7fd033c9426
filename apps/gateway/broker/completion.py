"""Acknowledgements that wait until what they promise is durable.

Whoever makes messages durable (a session store, the way to other nodes) holds the completion of the loop
turn until a commit or a delivery report has come. Acknowledgements made meanwhile queue up behind it, for
each connection in the order of what they answer [MQTT-4.6.0-2] to [MQTT-4.6.0-4]. A node on which nothing
is durable never makes a completion.
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
    """Something that goes on when a completion is complete."""

    def completed(self) -> None:
        """A completion that it waits for is complete; called on the loop, while no dispatch is under way."""
        raise NotImplementedError


class Callback(Waiter):
    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def completed(self) -> None:
        self._call()


class Completion:
    """What the messages of one loop turn wait for. `reason` is not 0 when they cannot be made durable."""

    __slots__ = ("_closed", "_waiters", "_waiting", "reason")

    def __init__(self) -> None:
        self.reason: int = 0
        self._waiting = 0
        self._closed = False
        self._waiters: list[Waiter] = []

    @property
    def is_complete(self) -> bool:
        return self._closed and self._waiting == 0

    def expect(self) -> None:
        """One thing more to wait for."""
        self._waiting += 1

    def done(self, reason: int = 0) -> None:
        """It has come, or `reason` why it never will. Call it on the loop, never from within a dispatch."""
        if reason and not self.reason:
            self.reason = reason
        self._waiting -= 1
        self._complete()

    def close(self) -> None:
        """The loop turn is over: nothing more is held on this completion."""
        self._closed = True
        self._complete()

    def then(self, waiter: Waiter) -> None:
        """Call `waiter.completed` when all has come."""
        self._waiters.append(waiter)

    def _complete(self) -> None:
        if not self.is_complete:
            return
        waiters = self._waiters
        self._waiters = []
        for waiter in waiters:
            waiter.completed()


class ReasonCallback(Waiter):
    """Calls somebody outside the broker with the completion's reason."""

    def __init__(self, completion: Completion, call: Callable[[int], None]) -> None:
        self._completion = completion
        self._call = call
        completion.then(self)

    def completed(self) -> None:
        self._call(self._completion.reason)


class AckQueue(Waiter):
    """The acknowledgements of one connection that wait, oldest first."""

    def __init__(self, connection: Outbound) -> None:
        self._connection = connection
        self._queue: deque[tuple[Completion, bytes, int, int]] = (
            deque()
        )  # completion, head, packet id, reason
        self._last: Completion | None = None

    @property
    def is_empty(self) -> bool:
        return not self._queue

    def add(self, completion: Completion | None, head: bytes, packet_id: int, reason: int) -> None:
        """Queue one; `completion` None: it only has to wait for those before it."""
        last = self._last if completion is None else completion
        if last is None:  # nothing waits after all
            self._connection.say(head, packet_id, reason)
            return
        if last is not self._last:
            self._last = last
            last.then(self)
        self._queue.append((last, head, packet_id, reason))
        if len(self._queue) >= self._connection.limits.receive_maximum:
            self._connection.back_up(True)

    def completed(self) -> None:
        connection = self._connection
        queue = self._queue
        while queue and queue[0][0].is_complete:
            completion, head, packet_id, reason = queue.popleft()
            if completion.reason == 0:
                connection.say(head, packet_id, reason)
            elif not connection.not_durable(head, packet_id, completion.reason):
                return
        if not queue:
            self._last = None
        if 2 * len(queue) <= connection.limits.receive_maximum:
            connection.back_up(False)

    def clear(self) -> None:
        """The connection is over: its client will ask again."""
        self._queue.clear()
        self._last = None
