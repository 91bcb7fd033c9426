"""Trie, topic tree and cached routes against their slow twin, after anything that may happen to them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.broker.routing import Route, Router
from apps.gateway.broker.session import Session, Subscription
from apps.gateway.broker.topictree import TopicTree
from apps.gateway.broker.trie import SubscriptionTrie
from apps.gateway.mqtt import topics
from tests.apps.gateway.support.world import World

LEVELS = ("", "a", "b", "$a", "$SYS", "é")
CLIENTS = ("alice", "bob", "charlie")


def _joined(levels: list[str]) -> str:
    return "/".join(levels)


names = st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4).map(_joined).filter(bool)
filters = (
    st.tuples(
        st.lists(st.sampled_from((*LEVELS, "+", "+")), max_size=4),
        st.sampled_from(([], [], ["#"], ["+"], ["a"])),
    )
    .map(lambda parts: _joined(parts[0] + parts[1]))
    .filter(bool)
)
shares = st.sampled_from(("", "", "g", "h"))
keys = st.tuples(st.sampled_from(CLIENTS), shares, filters)
changes = st.lists(st.tuples(st.booleans(), keys), min_size=10, max_size=40)

Key = tuple[str, str, str]


class Twin:
    """The subscriptions as a plain dict, matched one by one."""

    def __init__(self) -> None:
        self.world = World()
        self.sessions = {name: Session(self.world.node, name, 0.0) for name in CLIENTS}
        self.there: dict[Key, Subscription] = {}

    def make(self, key: Key) -> Subscription:
        client, share, filter = key
        return Subscription(self.sessions[client], filter, share, 1)

    def matching(self, topic: str) -> set[Key]:
        return {key for key in self.there if topics.matches(key[2], topic)}


def keys_of(subscriptions: list[Subscription]) -> list[Key]:
    return sorted((each.client_id, each.share, each.filter) for each in subscriptions)


@settings(deadline=None, max_examples=200)
@given(changes, st.lists(names, min_size=1, max_size=12))
def test_the_trie_finds_what_the_twin_finds(steps: list[tuple[bool, Key]], asked: list[str]) -> None:
    """Both directions: nothing is missed, nothing is invented; and an empty trie is empty again."""
    twin, trie = Twin(), SubscriptionTrie()
    for add, key in steps:
        subscription = twin.make(key)
        if add:
            trie.add(subscription)
            twin.there[key] = subscription
        else:
            trie.remove(twin.there.pop(key, subscription))
        assert trie.count == len(twin.there)
        assert trie.shared_count == sum(1 for _, share, _ in twin.there if share)
    for topic in [*asked, *(filter.replace("+", "a").replace("#", "b") for _, (_, _, filter) in steps)]:
        found = trie.match(topic)
        members = [member for group in found.groups for member in group.members]
        everything = [*found.subscriptions, *members]
        assert keys_of(everything) == sorted(twin.matching(topic))
        assert all(each is twin.there[each.client_id, each.share, each.filter] for each in everything)
        assert len({(group.name, group.filter) for group in found.groups}) == len(found.groups)
    for subscription in twin.there.values():
        trie.remove(subscription)
    assert trie._root.idle()
    assert (trie.count, trie.shared_count) == (0, 0)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.booleans(), names), min_size=10, max_size=40),
    st.lists(filters, min_size=1, max_size=8),
)
def test_the_topic_tree_finds_what_the_twin_finds(steps: list[tuple[bool, str]], asked: list[str]) -> None:
    tree: TopicTree[str] = TopicTree()
    there: set[str] = set()
    for add, topic in steps:
        if add:
            tree.set(topic, topic)
            there.add(topic)
        else:
            assert tree.pop(topic) == (topic if topic in there else None)
            there.discard(topic)
        assert len(tree) == len(there)
        assert tree.get(topic) == (topic if add else None)
    for filter in [*asked, "#", "+", "+/#", *there]:
        assert sorted(tree.match(filter)) == sorted(topic for topic in there if topics.matches(filter, topic))
    for topic in there:
        tree.pop(topic)
    assert not tree._root.children
    assert tree.match("#") == []


def test_values_above_and_below_the_one_that_goes() -> None:
    tree: TopicTree[str] = TopicTree()
    for topic in ("a", "a/b", "a/b/c"):
        tree.set(topic, topic)
    assert tree.pop("a/b") == "a/b"
    assert tree.match("#") == ["a", "a/b/c"]
    assert tree.pop("a/b/c") == "a/b/c"
    assert tree.match("#") == ["a"]


def check(route: Route, expected: set[Key], router: Router) -> None:
    """A route says what the twin says, once for each session."""
    assert route.generation == router.generation
    sessions = sorted(target.session.client_id for target in [*route.plain, *route.special])
    assert sessions == sorted({client for client, share, _ in expected if not share})
    members = [member for group in route.groups for member in group.members]
    assert keys_of(members) == sorted(key for key in expected if key[1])
    assert route.empty == (not expected)


@settings(deadline=None, max_examples=200)
@given(changes, st.lists(names, min_size=1, max_size=6, unique=True), st.sampled_from((1, 3, 100)))
def test_routes_never_are_out_of_date(steps: list[tuple[bool, Key]], asked: list[str], capacity: int) -> None:
    """Not when asked for, and not where one is kept while its generation is the router's."""
    twin = Twin()
    router = Router(twin.world.node, capacity)
    kept: dict[str, Route] = {}
    for add, key in steps:
        subscription = twin.make(key)
        if add:
            router.subscribe(subscription)
            twin.there[key] = subscription
        else:
            router.unsubscribe(twin.there.pop(key, subscription))
        for topic, route in kept.items():
            if route.generation == router.generation:
                check(route, twin.matching(topic), router)
        for topic in asked[len(twin.there) % 3 :: 2]:
            kept[topic] = router.route(topic)
            check(kept[topic], twin.matching(topic), router)
        assert len(router._routes) <= capacity
