"""What is recorded between two transactions. Rows that come and go within it are never written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from apps.gateway.broker.completion import Completion
from apps.gateway.broker.durable import Durable
from apps.gateway.broker.messages import Delivery, Message

PLACE_BITS: Final = 40  # a row of the queue is known by session key << PLACE_BITS | place
SMALL: Final = 128  # bytes that a reference to a message counts


class Put:
    """A message for one session that is not written yet."""

    __slots__ = ("delivery", "durable", "packet_id", "seq", "state")

    def __init__(self, durable: Durable, seq: int, delivery: Delivery, packet_id: int) -> None:
        self.durable = durable
        self.seq = seq
        self.delivery = delivery
        self.packet_id = packet_id
        self.state = 0


@dataclass(frozen=True, slots=True)
class Load:
    """A page of a queue that is asked for."""

    durable: Durable
    page: int
    after: int
    count: int
    size: int
    newest: int
    known: int  # messages behind `after` that are in memory
    held: int  # bytes of the session that are in memory


@dataclass(slots=True)
class Outcome:
    """What came of a batch."""

    error: str = ""  # nothing of it was written
    # What was found, and how many messages and bytes are behind it, where a cluster keeps the queue.
    loads: list[tuple[Load, list[tuple[int, Delivery]], int, int]] = field(default_factory=list)
    trims: list[tuple[Durable, dict[str, int], int, int]] = field(default_factory=list)  # count, bytes
    purges: list[tuple[Durable, dict[str, int]]] = field(default_factory=list)
    # Of a cluster's:
    lost: list[int] = field(default_factory=list)  # keys of sessions that another node has
    grown: list[int] = field(default_factory=list)  # keys of sessions with something new in the queue
    drops: list[tuple[int, str, str, int]] = field(default_factory=list)  # key, reason, topic, count
    ended: list[tuple[str, int]] = field(default_factory=list)  # client ids, and what was queued
    version: int = 0  # of the subscriptions, 0: they did not change
    nodes: frozenset[str] = frozenset()  # that have to follow it


@dataclass(slots=True)
class Batch:
    puts: dict[int, Put] = field(default_factory=dict)
    assigns: dict[int, tuple[int, int]] = field(default_factory=dict)  # row -> packet id, state
    removes: list[int] = field(default_factory=list)
    saves: dict[int, tuple[Any, ...]] = field(default_factory=dict)  # session key -> its row
    ends: set[int] = field(default_factory=set)
    subscriptions: dict[tuple[int, str], tuple[Any, ...] | None] = field(default_factory=dict)
    incoming: dict[tuple[int, int], bool] = field(default_factory=dict)
    senders: dict[int, Durable] = field(default_factory=dict)  # of `incoming`
    wills: dict[str, tuple[Message, int, float] | None] = field(default_factory=dict)
    retained: dict[str, Message | None] = field(default_factory=dict)
    purges: list[tuple[Durable, int]] = field(default_factory=list)
    trims: list[tuple[Durable, int, int]] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    onces: dict[tuple[int, int], str] = field(default_factory=dict)  # beside `incoming`, in a cluster
    parks: list[tuple[Durable, bool]] = field(default_factory=list)
    told: list[Callable[[], None]] = field(default_factory=list)  # called when it is written
    completions: list[Completion] = field(default_factory=list)
    size: int = 0  # bytes
    barrier: bool = False  # fails with the batch before it
    _last: Message | None = None

    @property
    def is_empty(self) -> bool:
        return not (
            self.puts
            or self.assigns
            or self.removes
            or self.saves
            or self.ends
            or self.subscriptions
            or self.incoming
            or self.wills
            or self.retained
            or self.purges
            or self.trims
            or self.loads
            or self.parks
            or self.told
        )

    def put(self, row: int, put: Put) -> None:
        self.puts[row] = put
        delivery = put.delivery
        self.size += SMALL
        if delivery.message is not self._last:
            self._last = delivery.message
            self.size += delivery.size

    def assign(self, row: int, packet_id: int, state: int) -> None:
        put = self.puts.get(row)
        if put is None:
            self.assigns[row] = (packet_id, state)
        else:
            put.packet_id = packet_id
            put.state = state

    def remove(self, row: int) -> None:
        if self.puts.pop(row, None) is None:
            self.assigns.pop(row, None)
            self.removes.append(row)

    def end(self, key: int) -> None:
        self.saves.pop(key, None)
        self.ends.add(key)

    def refuse(self) -> list[Put]:
        """It could not be written: take out what publishers are refused for; the rest is tried again."""
        refused = list(self.puts.values())
        self.puts = {}
        for (key, packet_id), known in list(self.incoming.items()):
            if known:
                del self.incoming[key, packet_id]
                self.senders[key].session.incoming.discard(packet_id)
        self.completions = []
        self.loads = []
        self.size = 0
        return refused

    def follow(self, earlier: Batch) -> None:
        """Put what is left of an earlier batch before this one."""
        self.assigns = earlier.assigns | self.assigns
        self.removes = earlier.removes + self.removes
        self.ends |= earlier.ends
        self.saves = {key: row for key, row in (earlier.saves | self.saves).items() if key not in self.ends}
        self.subscriptions = earlier.subscriptions | self.subscriptions
        self.incoming = earlier.incoming | self.incoming
        self.senders = earlier.senders | self.senders
        self.wills = earlier.wills | self.wills
        self.retained = earlier.retained | self.retained
        self.purges = earlier.purges + self.purges
        self.trims = earlier.trims + self.trims
        self.onces = earlier.onces | self.onces
        self.parks = earlier.parks + self.parks
        self.told = earlier.told + self.told
