"""A bounded cache whose entries age. Time is an argument of the constructor, so tests need not wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Cache(Generic[K, V]):
    """At most `size` entries; the one written longest ago goes first.

    An entry answers `get` for `ttl` seconds and `get_stale` for `keep` seconds (default: as long), which is
    what serves clients while the source of the answers is away. A size of 0 remembers nothing.
    """

    def __init__(
        self, size: int, ttl: float, keep: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._ttl = ttl
        self._keep = max(keep, ttl)
        self._clock = clock
        self._entries: dict[K, tuple[float, V]] = {}

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
            del self._entries[key]
            return None
        return entry[1]

    def put(self, key: K, value: V) -> None:
        entries = self._entries
        entries.pop(key, None)
        if len(entries) >= self._size:
            if self._size == 0:
                return
            del entries[next(iter(entries))]
        entries[key] = (self._clock(), value)

    def discard(self, key: K) -> None:
        self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
