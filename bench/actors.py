"""Publishers and subscribers. While the clock runs they only count and answer.

Everything received is kept, with the time of each read: `verify` looks at it afterwards.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

from . import wire
from .links import Link
from .verify import DUP, Corrupt, Faults, Numbers, check_acknowledgements, check_exchange

CHUNK: Final = 1 << 16  # bytes per write of a publisher at QoS 0
SLACK: Final = 64  # packets beyond the expected ones for which there is room, to see repetitions

clock = time.perf_counter_ns


class Actor(Protocol):
    """One connection's part in a run, driven by `loop.drive`."""

    link: Link

    def start(self) -> None: ...

    def readable(self) -> bool:
        """Take what has arrived; True once, when this actor has everything it waits for."""

    def writable(self) -> None: ...


class Timeline:
    """When (ns) which byte count was reached, in one direction of one connection."""

    __slots__ = ("times", "totals")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.totals: list[int] = []

    def at(self, totals: Numbers) -> Numbers:
        """When each of the byte counts ``totals`` was reached; all of them must have been."""
        found = np.searchsorted(np.array(self.totals, np.int64), totals)
        return np.array(self.times, np.int64)[found]


class Inbox:
    """Room for the bytes one actor expects, and a little more."""

    __slots__ = ("_view", "data", "expected", "filled", "finished", "timeline")

    def __init__(self, expected: int, slack: int) -> None:
        self.data = bytearray(expected + slack)
        self._view = memoryview(self.data)
        self.expected = expected
        self.filled = 0
        self.finished = False
        self.timeline = Timeline()

    def take(self, data: bytes | bytearray | memoryview, now: int) -> None:
        end = self.filled + len(data)
        if end > len(self.data):
            raise Corrupt(f"{end - self.expected} bytes more than were expected, and still coming")
        self._view[self.filled : end] = data
        self.filled = end
        self.timeline.times.append(now)
        self.timeline.totals.append(end)

    def complete(self) -> bool:
        """True the first time that all is here."""
        if self.finished or self.filled < self.expected:
            return False
        self.finished = True
        return True

    def content(self) -> memoryview:
        return self._view[: self.filled]


class Gate:
    """Holds publishers back while ``limit`` messages are on their way to the slowest subscriber.

    A broker acknowledges to a publisher without waiting for subscribers: nothing else bounds its queue.
    """

    def __init__(self, limit: int, subscribers: Sequence[Subscriber]) -> None:
        self._limit = limit
        self._subscribers = subscribers
        self._sent = 0
        self._delivered = 0
        self._waiting: deque[Publisher] = deque()

    def take(self, publisher: Publisher, wanted: int) -> int:
        """How many messages may leave now; for the rest ``publisher.resume`` is called later, once."""
        granted = max(0, min(wanted, self._limit - self._sent + self._delivered))
        self._sent += granted
        if granted < wanted and not publisher.held:
            publisher.held = True
            self._waiting.append(publisher)
        return granted

    def turn(self) -> None:
        self._delivered = min(subscriber.delivered for subscriber in self._subscribers)
        while self._waiting and self._sent - self._delivered < self._limit:
            publisher = self._waiting.popleft()
            publisher.held = False
            publisher.resume()


class Flood:
    """A QoS 0 publisher: writes whenever the socket takes more, then PINGREQ; done at the PINGRESP.

    A broker answers a PINGREQ after the packets before it, so the answer says they were all processed.
    """

    def __init__(self, link: Link, stream: bytes) -> None:
        self.link = link
        self.sent = Timeline()
        self._stream = memoryview(stream + link.frame(wire.PINGREQ))
        self._position = 0
        self._inbox = Inbox(len(wire.PINGRESP), SLACK)

    def start(self) -> None:
        self.writable()

    def writable(self) -> None:
        at = self._position
        now = clock()
        self._position += self.link.send_some(self._stream[at : at + CHUNK])
        self.sent.times.append(now)
        self.sent.totals.append(self._position)
        self.link.blocked = self._position < len(self._stream)

    def readable(self) -> bool:
        self._inbox.take(self.link.receive(), clock())
        return self._inbox.complete()

    def check(self) -> Faults:
        answer = bytes(self._inbox.content())
        if answer not in (b"", wire.PINGRESP):
            raise Corrupt(f"a QoS 0 publisher got {answer[:32].hex()}")
        return Faults()


class Publisher:
    """A QoS 1 publisher: at most ``window`` messages wait for their PUBACK. ``size``: bytes per message.

    With window 0 nothing is sent but by ``send_next``.
    """

    def __init__(self, link: Link, stream: bytes, size: int, window: int, gate: Gate | None = None) -> None:
        self.link = link
        self.count = len(stream) // size
        self.sent = Timeline()
        self.held = False  # waits at the gate
        self._gate = gate
        self._stream = memoryview(stream)
        self._size = size
        self._window = window
        self._next = 0  # the first message not sent
        self._inbox = self._make_inbox()

    def _make_inbox(self) -> Inbox:
        return Inbox(4 * self.count, 4 * SLACK)

    @property
    def answered(self) -> Timeline:
        """Arrival of the acknowledgements, 4 bytes each."""
        return self._inbox.timeline

    def start(self) -> None:
        self._send_until(self._window)

    def writable(self) -> None:
        self.link.flush()

    def send_next(self) -> None:
        self._send_until(self._next + 1)

    def resume(self) -> None:
        self._send_until(self._inbox.filled // 4 + self._window)

    def _send_until(self, limit: int, prefix: bytes | bytearray = b"") -> None:
        limit = min(limit, self.count)
        if self._gate is not None and limit > self._next:
            limit = self._next + self._gate.take(self, limit - self._next)
        if limit <= self._next:
            if prefix:
                self.link.send(prefix)
            return
        part = self._stream[self._next * self._size : limit * self._size]
        self._next = limit
        self.sent.times.append(clock())
        self.sent.totals.append(limit * self._size)
        self.link.send(b"".join((prefix, part)) if prefix else part)

    def readable(self) -> bool:
        inbox = self._inbox
        inbox.take(self.link.receive(), clock())
        if self._window:
            self.resume()
        return inbox.complete()

    def check(self) -> Faults:
        return check_acknowledgements(self._inbox.content(), wire.PUBACK, self.count)


class ExactPublisher(Publisher):
    """A QoS 2 publisher: answers PUBREC with PUBREL; a message leaves the window with its PUBCOMP."""

    def __init__(self, link: Link, stream: bytes, size: int, window: int, gate: Gate | None = None) -> None:
        super().__init__(link, stream, size, window, gate)
        self._release = wire.AckEncoder(wire.PUBREL, websocket=link.websocket)
        self._examined = 0  # bytes of the inbox
        self._completed = 0  # messages

    def _make_inbox(self) -> Inbox:
        return Inbox(8 * self.count, 8 * SLACK)

    def resume(self) -> None:
        self._send_until(self._completed + self._window)

    def readable(self) -> bool:
        inbox = self._inbox
        inbox.take(self.link.receive(), clock())
        start, end = self._examined, inbox.filled & ~3
        self._examined = end
        kinds = inbox.data[start:end:4]
        received = kinds.count(wire.PUBREC)
        self._completed += len(kinds) - received
        high, low = bytes(inbox.data[start + 2 : end : 4]), bytes(inbox.data[start + 3 : end : 4])
        if 0 < received < len(kinds):
            chosen = np.frombuffer(kinds, np.uint8) == wire.PUBREC
            high = np.frombuffer(high, np.uint8)[chosen].tobytes()
            low = np.frombuffer(low, np.uint8)[chosen].tobytes()
        self._send_until(self._completed + self._window, self._release(high, low) if received else b"")
        return inbox.complete()

    def check(self) -> Faults:
        return check_exchange(self._inbox.content(), self.count)


class Subscriber:
    """Takes ``expected`` PUBLISH packets at QoS 0 or 1; one write of PUBACKs answers each read."""

    def __init__(self, link: Link, layout: wire.Layout, expected: int) -> None:
        self.link = link
        self._layout = layout
        self._size = layout.size
        self._id_at = layout.id_at
        self._inbox = Inbox(expected * layout.size, SLACK * layout.size)
        self._answered = 0  # bytes of the inbox
        self._ack: wire.AckEncoder | None = None
        if layout.qos:
            kind = wire.PUBACK if layout.qos == 1 else wire.PUBREC
            self._ack = wire.AckEncoder(kind, websocket=link.websocket)

    @property
    def arrived(self) -> Timeline:
        return self._inbox.timeline

    @property
    def delivered(self) -> int:
        """Messages that are no longer on their way."""
        return self._inbox.filled // self._size

    def start(self) -> None:
        early, self.link.early = self.link.early, b""
        if early:  # of a session that was kept
            self._take(early)

    def writable(self) -> None:
        self.link.flush()

    def readable(self) -> bool:
        self._take(self.link.receive())
        return self._inbox.complete()

    def _take(self, data: bytes | memoryview) -> None:
        inbox = self._inbox
        inbox.take(data, clock())
        if self._ack is not None:
            size, start = self._size, self._answered
            end = self._answered = inbox.filled // size * size
            if end > start:
                self.link.send(self._acknowledge(start, end))

    def _acknowledge(self, start: int, end: int) -> bytearray:
        assert self._ack is not None
        first, step, data = start + self._id_at, self._size, self._inbox.data
        return self._ack(data[first:end:step], data[first + 1 : end : step])

    def content(self) -> memoryview:
        return self._inbox.content()


class ExactSubscriber(Subscriber):
    """The same at QoS 2: PUBREC for PUBLISH, PUBCOMP for PUBREL, in the order in which they came."""

    def __init__(self, link: Link, layout: wire.Layout, expected: int) -> None:
        super().__init__(link, layout, expected)
        self._complete = wire.AckEncoder(wire.PUBCOMP, websocket=link.websocket)
        self._expected = expected
        self._finished = 0  # messages with their PUBREL
        self._rest = b""
        first = layout.first_byte
        publish = rb"(?:[\x%02x\x%02x].{%d})+" % (first, first | DUP, layout.size - 1)
        self._run = re.compile(rb"(%s)|(?:\x%02x\x02..)+" % (publish, wire.PUBREL), re.DOTALL)
        self._starts = bytes([first, first | DUP, wire.PUBREL])

    @property
    def delivered(self) -> int:
        return self._finished

    def readable(self) -> bool:
        data = self._rest + bytes(self.link.receive())
        now = clock()
        inbox, position = self._inbox, 0
        answers: list[bytearray] = []
        while run := self._run.match(data, position):
            position = run.end()
            if run.group(1):
                start = inbox.filled
                inbox.take(run.group(1), now)
                answers.append(self._acknowledge(start, inbox.filled))
            else:
                part = run.group()
                answers.append(self._complete(part[2::4], part[3::4]))
                self._finished += len(part) // 4
        self._rest = data[position:]
        if self._rest and self._rest[0] not in self._starts:
            raise Corrupt(f"neither PUBLISH nor PUBREL: {self._rest[:32].hex()}")
        if answers:
            self.link.send(b"".join(answers))
        return self._finished >= self._expected and inbox.complete()
