"""Who is alive: the observer judges by its own clock alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apps.cluster.coordination.failure_detector import FailureDetector, Heartbeat

HEARTBEAT = 1.0
DEAD_AFTER = 5.0
BLINK = 2.5

pauses = st.lists(st.floats(0.01, 30.0), min_size=1, max_size=60)


def membership() -> FailureDetector:
    return FailureDetector("me", DEAD_AFTER, BLINK)


def beats_until(last: float) -> Heartbeat:
    """Of a node that heartbeats every second until `last`."""
    return Heartbeat("incarnation", int(last / HEARTBEAT))


@given(pauses, st.floats(0.0, 1e9))
def test_who_beats_is_never_taken_for_dead_however_rarely_one_looks(
    pauses: list[float], start: float
) -> None:
    observer = membership()
    now = start
    for pause in pauses:
        now += pause
        assert observer.look(now, {"me": beats_until(now), "other": beats_until(now - start)}) == {}


@given(st.floats(0.05, HEARTBEAT), st.floats(0.0, 30.0))
def test_who_is_silent_is_dead_within_the_time_and_two_looks(step: float, last: float) -> None:
    observer = membership()
    now, dead_at = 0.0, None
    while now < last + 2 * DEAD_AFTER and dead_at is None:
        if "other" in observer.look(now, {"other": beats_until(min(now, last))}):
            dead_at = now
        now += step
    assert dead_at is not None
    assert dead_at <= last + DEAD_AFTER + 2 * step + 1e-6
    assert dead_at >= last - HEARTBEAT + DEAD_AFTER - 1e-6  # from its last heartbeat, not sooner


@given(st.lists(st.floats(BLINK + 0.01, 100.0), max_size=20))
def test_an_observer_that_was_away_blames_nobody(gaps: list[float]) -> None:
    observer = membership()
    now = 0.0
    for gap in gaps:
        now += gap
        assert observer.look(now, {"other": Heartbeat("incarnation", 1)}) == {}


def test_a_new_life_begins_anew() -> None:
    observer = membership()
    for now in range(5):
        observer.look(float(now), {"other": Heartbeat("first", 7)})
    assert observer.look(5.0, {"other": Heartbeat("second", 7)}) == {}
    for now in (6.0, 8.0, 9.9):
        assert observer.look(now, {"other": Heartbeat("second", 7)}) == {}
    assert observer.look(10.0, {"other": Heartbeat("second", 7)}) == {"other": Heartbeat("second", 7)}


def test_a_node_does_not_take_itself_for_dead() -> None:
    observer = membership()
    for now in range(20):
        assert observer.look(float(now), {"me": Heartbeat("incarnation", 1)}) == {}


def test_who_left_is_forgotten() -> None:
    observer = membership()
    observer.look(0.0, {"other": Heartbeat("incarnation", 1)})
    observer.look(2.0, {})
    for now in (4.0, 6.0, 8.0):
        assert observer.look(now, {"other": Heartbeat("incarnation", 1)}) == {}
