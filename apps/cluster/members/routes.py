"""Which node's clients want which topic, and who of a shared subscription gets a message. No I/O.

Filters that begin with "$" are for the node's own topics, and nobody else's business.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from apps.cluster.filters import FilterTree
from apps.gateway.broker.ports import OUTSIDE_DURABLE, OUTSIDE_LIVE, OUTSIDE_SHARED, Choice

_SHARE: Final = "$share/"
QUEUES: Final = "@sessions"  # in the place of a node: the queues of the cluster's persistent sessions

# A filter as clients write it, and "<members online> <members>"; "": nobody is left.
Change = tuple[str, str]


class _Wanted:
    """A filter of others."""

    __slots__ = ("filter", "nodes")

    def __init__(self, filter: str) -> None:
        self.filter = filter
        self.nodes: set[str] = set()

    @property
    def kinds(self) -> int:
        """Sum of OUTSIDE_LIVE and OUTSIDE_DURABLE."""
        durable = QUEUES in self.nodes
        return (OUTSIDE_DURABLE if durable else 0) | (OUTSIDE_LIVE if len(self.nodes) > durable else 0)


class _Group:
    """A shared subscription, wherever its members are."""

    __slots__ = ("_credit", "_weights", "filter", "key", "members")

    def __init__(self, key: str, filter: str) -> None:
        self.key = key  # "<share name>/<filter>"
        self.filter = filter
        self.members: dict[str, tuple[int, int]] = {}  # by node: online, all
        self._weights: dict[str, int] | None = None
        self._credit: dict[str, int] = {}

    def set(self, node: str, online: int, members: int) -> None:
        if members:
            self.members[node] = online, members
        else:
            self.members.pop(node, None)
        self._weights = None

    @property
    def weights(self) -> dict[str, int]:
        """By node: its members, those that are online where any is."""
        if self._weights is None:
            self._weights = {node: online for node, (online, _) in self.members.items() if online}
            if not self._weights:
                self._weights = {node: members for node, (_, members) in self.members.items()}
            self._credit = dict.fromkeys(self._weights, 0)
        return self._weights

    def choose(self) -> str:
        """The next node, each as often as it has members, and evenly (smooth weighted round robin)."""
        weights = self.weights
        credit = self._credit
        best = ""
        for node, weight in weights.items():
            credit[node] += weight
            if not best or credit[node] > credit[best]:
                best = node
        credit[best] -= sum(weights.values())
        return best

    def elect(self, where: str) -> str:
        """The node for what stands at `where`, the same on all nodes (weighted rendezvous hashing)."""

        def score(node: str) -> float:
            digest = blake2b(f"{where}|{self.key}|{node}".encode(), digest_size=8).digest()
            return -self.weights[node] / math.log((int.from_bytes(digest) + 0.5) / 2**64)

        return max(sorted(self.weights), key=score)


class Routes:
    def __init__(self, own: str) -> None:
        """`own`: this node's name."""
        self._own = own
        self._plain: dict[str, int] = {}  # this node's filters: subscriptions
        self._changed: dict[str, None] = {}  # as clients write them, since `take`
        self._known: dict[str, dict[str, str]] = {}  # by name, others' filters as they stand in Redis
        self._wanted: dict[str, _Wanted] = {}
        self._wanted_tree: FilterTree[_Wanted] = FilterTree()
        self._groups: dict[str, _Group] = {}
        self._group_tree: FilterTree[_Group] = FilterTree()

    # What the node asks -----------------------------------------------------------------------------

    def wants(self, topic: str) -> int:
        found = 0
        for wanted in self._wanted_tree.match(topic):
            found |= wanted.kinds
        for group in self._group_tree.match(topic):
            if self._is_outside(group):
                found |= OUTSIDE_SHARED
        return found

    def nodes(self, topic: str) -> set[str]:
        """Other nodes with subscribers, shared ones aside."""
        return set().union(*(wanted.nodes for wanted in self._wanted_tree.match(topic))) - {QUEUES}

    def choose(self, topic: str, groups: Sequence[str]) -> Choice:
        here: list[str] = []
        there: list[str] = []
        for group in self._group_tree.match(topic):
            node = group.choose()
            if node == self._own:
                here.append(group.key)
            else:
                there.append(f"{node} {group.key}")
        return Choice(frozenset(here), tuple(there))

    def shares(self, topic: str, where: str) -> frozenset[str]:
        return frozenset(
            group.key
            for group in self._group_tree.match(topic)
            if self._own in group.weights and group.elect(where) == self._own
        )

    # What the node's clients do ---------------------------------------------------------------------

    def subscribed(self, filter: str, share: str) -> None:
        if filter.startswith("$"):
            return
        if share:
            self._count(filter, share, 0, 1)
            return
        self._plain[filter] = self._plain.get(filter, 0) + 1
        if self._plain[filter] == 1:
            self._changed[filter] = None

    def unsubscribed(self, filter: str, share: str) -> None:
        if filter.startswith("$"):
            return
        if share:
            self._count(filter, share, 0, -1)
            return
        self._plain[filter] -= 1
        if not self._plain[filter]:
            del self._plain[filter]
            self._changed[filter] = None

    def present(self, filter: str, share: str, here: bool) -> None:
        if not filter.startswith("$"):
            self._count(filter, share, 1 if here else -1, 0)

    def _count(self, filter: str, share: str, online: int, members: int) -> None:
        key = f"{share}/{filter}"
        group = self._groups.get(key)
        before = group.members.get(self._own, (0, 0)) if group is not None else (0, 0)
        self._set_members(self._own, key, filter, before[0] + online, before[1] + members)
        self._changed[_SHARE + key] = None

    # For the other nodes --------------------------------------------------------------------------

    @property
    def has_changed(self) -> bool:
        return bool(self._changed)

    def take(self) -> list[Change]:
        """Changes since the last time."""
        names, self._changed = self._changed, {}
        return [(name, self._value(name)) for name in names]

    def put_back(self, changes: Iterable[Change]) -> None:
        """They were not taken."""
        self._changed.update((name, None) for name, _ in changes)

    def take_all(self) -> list[Change]:
        """Everything there is."""
        self._changed.clear()
        shared = [_SHARE + key for key, group in self._groups.items() if self._own in group.members]
        return [(name, self._value(name)) for name in (*self._plain, *shared)]

    def _value(self, name: str) -> str:
        if not name.startswith(_SHARE):
            return "1 1" if name in self._plain else ""
        group = self._groups.get(name.removeprefix(_SHARE))
        online, members = group.members.get(self._own, (0, 0)) if group is not None else (0, 0)
        return f"{online} {members}" if members else ""

    # From the other nodes -------------------------------------------------------------------------

    def apply(self, node: str, changes: Iterable[Change]) -> set[str]:
        """Another node's changes; the filters for whose topics `wants` may answer something else."""
        known = self._known.setdefault(node, {})
        outdated: set[str] = set()
        for name, value in changes:
            if known.get(name, "") == value:
                continue
            if value:
                known[name] = value
            else:
                del known[name]
            if name.startswith(_SHARE):
                key = name.removeprefix(_SHARE)
                filter = key.partition("/")[2]
                online, members = map(int, value.split(" ")) if value else (0, 0)
                if self._set_members(node, key, filter, online, members):
                    outdated.add(filter)
            elif self._set_wanted(node, name, bool(value)):
                outdated.add(name)
        return outdated

    def replace(self, node: str, filters: dict[str, str]) -> set[str]:
        """All of another node's filters; answers as `apply`."""
        gone = [(name, "") for name in self._known.get(node, {}) if name not in filters]
        return self.apply(node, [*gone, *filters.items()])

    def drop(self, node: str) -> set[str]:
        """The node is gone; answers as `apply`."""
        outdated = self.replace(node, {})
        self._known.pop(node, None)
        return outdated

    def _set_wanted(self, node: str, filter: str, wanted: bool) -> bool:
        known = self._wanted.get(filter)
        if wanted and known is None:
            known = self._wanted[filter] = _Wanted(filter)
            self._wanted_tree.add(filter, known)
        if known is None:
            return False
        before = known.kinds
        (known.nodes.add if wanted else known.nodes.discard)(node)
        if not known.nodes:
            del self._wanted[filter]
            self._wanted_tree.remove(filter, known)
        return known.kinds != before

    def _set_members(self, node: str, key: str, filter: str, online: int, members: int) -> bool:
        group = self._groups.get(key)
        if group is None:
            if not members and not online:
                return False
            group = self._groups[key] = _Group(key, filter)
            self._group_tree.add(filter, group)
        before = self._is_outside(group)
        group.set(node, online, members)
        if not group.members:
            del self._groups[key]
            self._group_tree.remove(filter, group)
        return before != self._is_outside(group)

    def _is_outside(self, group: _Group) -> bool:
        return any(node != self._own for node in group.members)
