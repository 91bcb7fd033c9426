"""Subscriptions by filter, found by topic. `mqtt.topics.matches` is the slow twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.gateway.broker.shared import SharedGroup

if TYPE_CHECKING:
    from apps.gateway.broker.session import Subscription


class _Node:
    """One level of the filters. `here`: filters that end here; `below`: those that end in "/#" here."""

    __slots__ = ("below", "below_groups", "children", "here", "here_groups", "plus")

    def __init__(self) -> None:
        self.children: dict[str, _Node] | None = None
        self.plus: _Node | None = None
        self.here: dict[str, Subscription] | None = None  # by client id
        self.below: dict[str, Subscription] | None = None
        self.here_groups: dict[str, SharedGroup] | None = None  # by share name
        self.below_groups: dict[str, SharedGroup] | None = None

    def idle(self) -> bool:
        return not (
            self.children
            or self.plus is not None
            or self.here
            or self.below
            or self.here_groups
            or self.below_groups
        )


class Matches:
    """What `SubscriptionTrie.match` found."""

    __slots__ = ("groups", "subscriptions", "visited")

    def __init__(self) -> None:
        self.subscriptions: list[Subscription] = []
        self.groups: list[SharedGroup] = []
        self.visited = 0  # nodes of the trie that it took

    def take(
        self, subscriptions: dict[str, Subscription] | None, groups: dict[str, SharedGroup] | None
    ) -> None:
        if subscriptions:
            self.subscriptions.extend(subscriptions.values())
        if groups:
            self.groups.extend(groups.values())


class SubscriptionTrie:
    def __init__(self) -> None:
        self._root = _Node()
        self.count = 0  # subscriptions, shared ones included
        self.shared_count = 0

    def add(self, subscription: Subscription) -> Subscription | None:
        """Insert, or replace the same client's subscription to the same filter: what is replaced."""
        node = self._root
        levels = subscription.filter.split("/")
        below = levels[-1] == "#"
        if below:
            levels.pop()
        for level in levels:
            if level == "+":
                if node.plus is None:
                    node.plus = _Node()
                node = node.plus
            else:
                if node.children is None:
                    node.children = {}
                child = node.children.get(level)
                if child is None:
                    child = _Node()
                    node.children[level] = child
                node = child
        if subscription.share:
            return self._add_member(node, below, subscription)
        if below:
            if node.below is None:
                node.below = {}
            subscriptions = node.below
        else:
            if node.here is None:
                node.here = {}
            subscriptions = node.here
        before = subscriptions.get(subscription.client_id)
        if before is None:
            self.count += 1
        subscriptions[subscription.client_id] = subscription
        return before

    def _add_member(self, node: _Node, below: bool, subscription: Subscription) -> Subscription | None:
        if below:
            if node.below_groups is None:
                node.below_groups = {}
            groups = node.below_groups
        else:
            if node.here_groups is None:
                node.here_groups = {}
            groups = node.here_groups
        group = groups.get(subscription.share)
        if group is None:
            group = SharedGroup(subscription.share, subscription.filter)
            groups[subscription.share] = group
        before = group.add(subscription)
        if before is None:
            self.count += 1
            self.shared_count += 1
        return before

    def remove(self, subscription: Subscription) -> None:
        """Take out what `add` put in, and the nodes that nothing else needs."""
        node = self._root
        levels = subscription.filter.split("/")
        below = levels[-1] == "#"
        if below:
            levels.pop()
        path: list[_Node] = []
        for level in levels:
            path.append(node)
            child = node.plus if level == "+" else (node.children or {}).get(level)
            if child is None:
                return
            node = child
        if subscription.share:
            groups = node.below_groups if below else node.here_groups
            group = groups.get(subscription.share) if groups else None
            if groups is None or group is None or not group.remove(subscription):
                return
            self.shared_count -= 1
            if not group.members:
                del groups[subscription.share]
        else:
            subscriptions = node.below if below else node.here
            if subscriptions is None or subscriptions.get(subscription.client_id) is not subscription:
                return  # the client has it anew, by its next session
            del subscriptions[subscription.client_id]
        self.count -= 1
        while path and node.idle():
            node = path.pop()
            level = levels[len(path)]
            if level == "+":
                node.plus = None
            elif node.children is not None:
                del node.children[level]

    def match(self, topic: str) -> Matches:
        """The subscriptions and shared groups whose filter matches the topic name `topic`."""
        found = Matches()
        levels = topic.split("/")
        nodes: list[_Node] = [self._root]
        dollar = topic.startswith("$")  # not matched by a leading wildcard [MQTT-4.7.2-1]
        for level in levels:
            after: list[_Node] = []
            for node in nodes:
                if not dollar:
                    if node.below is not None or node.below_groups is not None:
                        found.take(node.below, node.below_groups)
                    if node.plus is not None:
                        after.append(node.plus)
                if node.children is not None:
                    child = node.children.get(level)
                    if child is not None:
                        after.append(child)
            if not after:
                return found
            found.visited += len(after)
            nodes = after
            dollar = False
        for node in nodes:
            found.take(node.here, node.here_groups)
            found.take(node.below, node.below_groups)  # "sport/#" matches "sport" too
        return found
