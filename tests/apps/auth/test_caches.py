"""The bounded, ageing cache."""

from __future__ import annotations

from apps.auth.caches import Cache


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_entries_age() -> None:
    clock = Clock()
    cache: Cache[str, int] = Cache(10, ttl=5, keep=60, clock=clock)
    cache.put("a", 1)
    clock.now = 4.9
    assert cache.get("a") == 1
    clock.now = 5
    assert cache.get("a") is None
    assert cache.get_stale("a") == 1
    clock.now = 60
    assert cache.get_stale("a") is None
    assert len(cache) == 0


def test_the_oldest_makes_room() -> None:
    cache: Cache[int, int] = Cache(3, ttl=5)
    for n in (1, 2, 3, 1, 4):
        cache.put(n, n)
    assert [cache.get(n) for n in (1, 2, 3, 4)] == [1, None, 3, 4]
    assert len(cache) == 3


def test_nothing_is_kept_by_a_cache_of_size_0() -> None:
    cache: Cache[int, int] = Cache(0, ttl=5)
    cache.put(1, 1)
    assert cache.get(1) is None


def test_discard_and_clear() -> None:
    cache: Cache[int, int] = Cache(3, ttl=5)
    cache.put(1, 1)
    cache.put(2, 2)
    cache.discard(1)
    cache.discard(7)
    assert (cache.get(1), cache.get(2)) == (None, 2)
    cache.clear()
    assert len(cache) == 0
