"""The tree finds what the naive matcher finds, after any adding and removing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apps.common.filter_tree import FilterTree
from apps.gateway.mqtt import topics

LEVELS = st.sampled_from(["a", "b", "", "$x"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
WILD = st.sampled_from(["a", "b", "", "+", "$x"])
FILTERS = st.builds(
    lambda levels, below: "/".join([*levels, "#"] if below else levels),
    st.lists(WILD, min_size=0, max_size=4),
    st.booleans(),
).filter(bool)


@given(st.lists(FILTERS, max_size=12), st.data(), TOPICS)
def test_as_the_naive_matcher(filters: list[str], data: st.DataObject, topic: str) -> None:
    tree: FilterTree[str] = FilterTree()
    for filter in filters:
        tree.add(filter, filter)
    gone = (
        data.draw(st.lists(st.sampled_from(filters), max_size=len(filters), unique=True)) if filters else []
    )
    left = list(filters)
    for filter in gone:
        tree.remove(filter, filter)
        left.remove(filter)
    assert len(tree) == len(left)
    assert sorted(tree.match(topic)) == sorted(each for each in left if topics.matches(each, topic))


def test_what_is_taken_out_leaves_nothing_behind() -> None:
    tree: FilterTree[int] = FilterTree()
    for filter in ("a/b/c", "a/+/#", "#"):
        tree.add(filter, 1)
        tree.remove(filter, 1)
    assert not tree._root.children
