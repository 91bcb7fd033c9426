"""Which nodes want a topic: the trees against the naive matcher, whatever changes in whatever order."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.cluster.coordination.routes import Routes
from apps.gateway.broker.ports import BUS_LIVE, BUS_SHARED
from apps.gateway.mqtt import topics

LEVELS = st.sampled_from(["a", "b", "", "$x"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=3).map("/".join).filter(bool)
FILTERS = st.builds(
    lambda levels, end: "/".join([*levels, end] if end else levels) or "a",
    st.lists(st.sampled_from(["a", "b", "", "+"]), min_size=1, max_size=3),
    st.sampled_from(["", "#"]),
)
SHARES = st.sampled_from(["", "g", "h"])
STEPS = st.lists(st.tuples(st.sampled_from(["b", "c"]), FILTERS, SHARES, st.booleans()), max_size=30)


@settings(deadline=None)
@given(STEPS, TOPICS)
def test_it_is_what_the_naive_matcher_says(steps: list[tuple[str, str, str, bool]], topic: str) -> None:
    """Two nodes announce to a third; every change reaches it at once."""
    others = {name: Routes(name) for name in ("b", "c")}
    routes = Routes("a")
    counts: Counter[tuple[str, str, str]] = Counter()
    before = routes.wants(topic)
    for name, filter, share, more in steps:
        node, key = others[name], (name, filter, share)
        if more:
            node.subscribed(filter, share)
            counts[key] += 1
        elif counts[key]:
            node.unsubscribed(filter, share)
            counts[key] -= 1
        outdated = routes.apply(name, node.take())
        after = routes.wants(topic)
        if after != before:  # who has asked is told to ask again
            assert any(topics.matches(each, topic) for each in outdated)
        before = after
    matching = {key for key, count in counts.items() if count and topics.matches(key[1], topic)}
    live = {name for name, _, share in matching if not share}
    shared = {f"{share}/{filter}" for _, filter, share in matching if share}
    assert routes.nodes(topic) == live
    assert routes.wants(topic) == (BUS_LIVE if live else 0) | (BUS_SHARED if shared else 0)
    choice = routes.choose(topic, [], 1)
    assert choice.here == frozenset()
    assert sorted(each.partition(" ")[2] for each in choice.there) == sorted(shared)
    for name in ("b", "c"):
        routes.drop(name)
    assert routes.wants(topic) == 0 and not routes._wanted and not routes._groups


def spread(counts: dict[str, tuple[int, int]], own: str = "a") -> Routes:
    """Routes of `own` with members of $share/g/t at nodes: online, all."""
    routes = Routes(own)
    for name, (online, members) in counts.items():
        if name == own:
            for number in range(members):
                routes.subscribed("t", "g")
                if number < online:
                    routes.present("t", "g", True, False)
        elif members:
            routes.apply(name, [("$share/g/t", f"{online} {members} 0")])
    return routes


def test_each_node_gets_its_members_part_evenly() -> None:
    routes = spread({"a": (1, 1), "b": (2, 2), "c": (3, 3)})
    chosen = [routes.choose("t", ["g/t"], 1) for _ in range(60)]
    names = ["a" if choice.here else choice.there[0].split(" ")[0] for choice in chosen]
    assert Counter(names) == {"a": 10, "b": 20, "c": 30}
    assert Counter(names[:6]) == {"a": 1, "b": 2, "c": 3}
    assert "ccc" not in "".join(names)


def test_who_is_online_comes_before_who_is_away() -> None:
    routes = spread({"a": (0, 5), "b": (1, 1)})
    assert {routes.choose("t", ["g/t"], 1).there for _ in range(5)} == {("b g/t",)}
    routes.apply("b", [("$share/g/t", "0 1 0")])  # nobody is online: those that are away will queue
    there = [routes.choose("t", ["g/t"], 1).there for _ in range(6)]
    assert there.count(()) == 5


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 4), min_size=1),
    st.text(max_size=8),
)
def test_a_services_message_has_one_member(counts: dict[str, int], where: str) -> None:
    """Every node decides alike, without a word."""
    members = {name: (count, count) for name, count in counts.items()}
    takers = [own for own in "abcd" if spread(members, own).shares("t", 1, where)]
    assert len(takers) == (1 if any(counts.values()) else 0)
    assert all(counts[taker] for taker in takers)


def test_services_messages_are_spread_by_members() -> None:
    routes = spread({"a": (1, 1), "b": (3, 3)})
    mine = sum(bool(routes.shares("t", 1, f"t-0-{offset}")) for offset in range(4000))
    assert 850 < mine < 1150


def chosen(routes: Routes, qos: int, times: int) -> Counter[str]:
    choices = [routes.choose("t", ["g/t"], qos) for _ in range(times)]
    return Counter(there.split(" ")[0] for each in choices for there in (each.there or ("own g/t",)))


def test_persistent_members_are_the_queues() -> None:
    """Of three online members at b two are persistent, and so is the one here."""
    routes = Routes("a")
    routes.subscribed("t", "g")
    routes.present("t", "g", True, True)
    routes.apply("b", [("$share/g/t", "3 3 2")])
    assert chosen(routes, 1, 8) == {"own": 2, "b": 6}  # as long as nobody has heard of the queues
    assert routes.apply("@sessions", [("$share/g/t", "1")]) == set()  # outside it was already
    assert chosen(routes, 1, 8) == {"@sessions": 6, "b": 2}
    assert chosen(routes, 0, 8) == {"own": 2, "b": 6}
    assert not routes.shares("t", 1, "t-0-1")  # what a service sends is the bridges'
    takers = [bool(routes.shares("t", 0, f"t-0-{offset}")) for offset in range(40)]
    assert any(takers) and not all(takers)


def test_when_all_are_away_the_queues_take_it() -> None:
    routes = Routes("a")
    assert routes.apply("@sessions", [("$share/g/t", "3")]) == {"t"}
    assert routes.wants("t") == BUS_SHARED
    assert chosen(routes, 1, 2) == {"@sessions": 2}
    assert routes.choose("t", [], 0).there == ()
    assert routes.apply("@sessions", [("$share/g/t", "")]) == {"t"}
    assert routes.wants("t") == 0 and not routes._groups
