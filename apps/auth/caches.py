"""A bounded cache whose entries age. Time is an argument of the constructor, so tests need not wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

K = TypeVar("K")
V = TypeVar("V")


MAX_BYTES: Final = 134_217_728
_all: Final[WeakSet[Cache[Any, Any]]] = WeakSet()


def total() -> int:
    """Bytes of all caches of this process."""
    return sum(cache.bytes for cache in _all)


class Cache(Generic[K, V]):
    """At most `size` entries and `max_bytes`; the one written longest ago goes first.

    An entry answers `get` for `ttl` seconds and `get_stale` for `keep` seconds (default: as long), which is
    what serves clients while the source of the answers is away. A size of 0 remembers nothing.
    """

    def __init__(
        self,
        size: int,
        ttl: float,
        keep: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        weight: int = 300,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`weight`: bytes that an entry costs beside its key, roughly."""
        _all.add(self)
        self.bytes = 0
        self._weight = weight
        self._max_bytes = max_bytes
        self._size = size
        self._ttl = ttl
        self._keep = max(keep, ttl)
        self._clock = clock
        self._entries: dict[K, tuple[float, V, int]] = {}

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry[0] >= self._ttl:
            return None
        return entry[1]

    def get_stale(self, key: K) -> V | None:
        """As `get`, with an older entry too."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() - entry[0] >= self._keep:
            self.discard(key)
            return None
        return entry[1]

    def put(self, key: K, value: V, more: int = 0) -> None:
        """`more`: bytes of this value beside the usual weight."""
        self.discard(key)
        if self._size == 0:
            return
        entries = self._entries
        size = self._weight + more + (len(key) if isinstance(key, str | bytes) else 0)
        while entries and (len(entries) >= self._size or self.bytes + size > self._max_bytes):
            self.discard(next(iter(entries)))
        entries[key] = (self._clock(), value, size)
        self.bytes += size

    def discard(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry[2]

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)
