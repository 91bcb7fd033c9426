"""A record of Kafka, and what those who write and read them can do: Kafka's client and its twin in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from apps.cluster.bridge.export_rules import Export
    from apps.gateway.broker.completion import Completion

Headers: TypeAlias = "list[tuple[str, bytes | None]]"
Positions: TypeAlias = "dict[tuple[str, int], int]"  # (Kafka topic, partition) -> offset of the next record


class Record(NamedTuple):
    """As it was read."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # milliseconds of UNIX time
    key: bytes | None
    value: bytes | None
    headers: Headers


class Producer(Protocol):
    """On the node's loop, without waiting."""

    def send(
        self, topic: str, key: bytes, value: bytes, headers: Headers, completion: Completion | None
    ) -> bool:
        """Take a record; False: there is no room for it. Holds `completion` until the record is safe."""

    def export(
        self, rule: Export, key: bytes, value: bytes, headers: Headers, completion: Completion | None
    ) -> bool:
        """As `send`, for a side effect: what is wrong with the rule's topic alone is counted at the rule, and
        is a success for `completion`. False where there is no room for anything."""

    def status(self) -> Mapping[str, object]:
        """`ok`, and figures for operators."""

    async def close(self, patience: float) -> None:
        """Give what was taken `patience` seconds to get through; refuse the rest."""


class Reader(Protocol):
    """In a thread of its own; every method may wait for the brokers."""

    def read(self, count: int, timeout: float) -> list[Record]:
        """At most `count` records, from the positions on, in the order of each partition.

        Waits at most `timeout` seconds for the first one, and for no other.
        """

    def move(self, positions: Positions) -> None:
        """From now on read these partitions, from these positions, and no others."""

    def partitions(self, topic: str) -> list[int]:
        """None of them while the topic does not exist."""

    def at(self, topic: str, time: int) -> Positions:
        """Where the records since `time` (milliseconds of UNIX time) begin."""

    def ends(self, positions: Positions) -> Positions:
        """The ends of these partitions, as last heard of."""

    def commit(self, positions: Positions) -> None:
        """Let everybody see how far the group has come. Does not wait."""

    def close(self) -> None: ...


class Group(Protocol):
    """A member of a consumer group. In a thread of its own."""

    def join(self, topics: list[str]) -> None: ...

    def want(self, topics: frozenset[str]) -> None:
        """Of those that it joined for, read these only."""

    def read(self, count: int, timeout: float) -> list[Record]:
        """As `Reader.read`, of the partitions that this member has."""

    def idle_ends(self) -> Positions:
        """The ends now of partitions that it has and does not read."""

    def skip(self, positions: Positions) -> None:
        """Go on from here, some time."""

    def pause(self) -> None:
        """Stay a member for a while without reading; call it again and again."""

    def positions(self) -> Positions:
        """Where this member reads."""

    def ends(self, positions: Positions) -> Positions: ...

    def commit(self, positions: Positions) -> None:
        """Who gets these partitions next goes on from here. Does not wait."""

    def close(self) -> None: ...


class Broken(Exception):
    """The client cannot go on; another one can."""


class Unreachable(Exception):
    """The brokers do not answer in time; try again later."""
