"""Retained messages one by one are those that `match` finds at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apps.gateway.broker.messages import Message
from apps.gateway.broker.retained import RetainedStore

LEVEL = st.sampled_from(["", "a", "b", "$s"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
WILD = st.lists(st.sampled_from(["", "a", "b", "$s", "+"]), min_size=1, max_size=4)
FILTER = st.tuples(WILD, st.sampled_from([[], ["#"]])).map(lambda parts: "/".join(parts[0] + parts[1]))


@given(st.sets(TOPIC, max_size=30), FILTER | st.just("#"))
def test_walk_is_match(topics: set[str], filter: str) -> None:
    store = RetainedStore(1000, 1 << 20)
    for topic in topics:
        store.keep(Message(topic, b"x", retain=True))
    walked = [message.topic for message in store.walk(filter)]
    assert sorted(walked) == sorted(message.topic for message in store.match(filter, 0.0))


def test_the_tree_may_change_meanwhile() -> None:
    store = RetainedStore(1000, 1 << 20)
    for number in range(100):
        store.keep(Message(f"a/{number}/b", b"x", retain=True))
    found = 0
    for message in store.walk("a/#"):
        found += 1
        store.keep(Message(message.topic, b"", retain=True))
        store.keep(Message(f"c/{message.topic}", b"x", retain=True))
    assert found == 100 and len(store) == 100
