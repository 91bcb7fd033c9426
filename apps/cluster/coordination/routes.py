"""Which node's clients want which topic, and who of a shared subscription gets a message. No I/O.

Filters below $SYS are for the node's own topics, and nobody else's business.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from apps.common.filter_tree import FilterTree
from apps.gateway.broker.ports import BUS_DURABLE, BUS_LIVE, BUS_SHARED, Choice
from apps.gateway.mqtt import topics

_SHARE: Final = "$share/"
QUEUES: Final = "@sessions"  # in the place of a node: the queues of the cluster's persistent sessions

# A filter as clients write it, and `_Members` with blanks between; "": nobody is left.
Change = tuple[str, str]


class _Members(NamedTuple):
    """How many clients of a node are in a shared subscription."""

    online: int
    all: int
    kept: int  # of those that are online: sessions that the cluster queues for

    def __str__(self) -> str:
        return " ".join(map(str, self)) if self.all else ""


_NOBODY: Final = _Members(0, 0, 0)
_QUEUED: Final = _Members(0, 1, 0)  # who of them is online, the nodes say


class _Wanted:
    """A filter of others."""

    __slots__ = ("filter", "nodes")

    def __init__(self, filter: str) -> None:
        self.filter = filter
        self.nodes: set[str] = set()

    @property
    def kinds(self) -> int:
        """Sum of BUS_LIVE and BUS_DURABLE."""
        durable = QUEUES in self.nodes
        return (BUS_DURABLE if durable else 0) | (BUS_LIVE if len(self.nodes) > durable else 0)


class _Turns:
    """Smooth weighted round robin."""

    __slots__ = ("_credit", "weights")

    def __init__(self, weights: dict[str, int]) -> None:
        self.weights = weights
        self._credit = dict.fromkeys(weights, 0)

    def next(self) -> str:
        """Each as often as its weight says, and evenly; "" where there is nobody."""
        credit = self._credit
        best = ""
        for node, weight in self.weights.items():
            credit[node] += weight
            if not best or credit[node] > credit[best]:
                best = node
        if best:
            credit[best] -= sum(self.weights.values())
        return best


class _Group:
    """A shared subscription, wherever its members are."""

    __slots__ = ("_live", "_queued", "filter", "key", "members")

    def __init__(self, key: str, filter: str) -> None:
        self.key = key  # "<share name>/<filter>"
        self.filter = filter
        self.members: dict[str, _Members] = {}  # by node
        self._live: _Turns | None = None
        self._queued: _Turns | None = None

    def set(self, node: str, members: _Members) -> None:
        if members.all:
            self.members[node] = members
        else:
            self.members.pop(node, None)
        self._live = self._queued = None

    def turns(self, qos: int) -> _Turns:
        """Nodes by their members, those that are online where any is.

        At QoS 1 and 2 persistent sessions are the queues' members, not a node's, if the queues have any.
        """
        known = self._queued if qos else self._live
        if known is None:
            known = _Turns(self._weights(bool(qos) and QUEUES in self.members))
            if qos:
                self._queued = known
            else:
                self._live = known
        return known

    def _weights(self, queued: bool) -> dict[str, int]:
        nodes = {node: members for node, members in self.members.items() if node != QUEUES}
        weights = {node: each.online - (each.kept if queued else 0) for node, each in nodes.items()}
        if queued:
            weights[QUEUES] = sum(each.kept for each in nodes.values())
        online = {node: weight for node, weight in weights.items() if weight > 0}
        if online:
            return online
        return {QUEUES: 1} if queued else {node: each.all for node, each in nodes.items()}

    def elect(self, qos: int, where: str) -> str:
        """Who has what a service sent and stands at `where`, the same on all nodes ("": nobody).

        The queues where they have members: bridges know no others. Else by weighted rendezvous hashing.
        """
        if qos and QUEUES in self.members:
            return QUEUES
        weights = self.turns(qos).weights

        def score(node: str) -> float:
            digest = blake2b(f"{where}|{self.key}|{node}".encode(), digest_size=8).digest()
            return -weights[node] / math.log((int.from_bytes(digest) + 0.5) / 2**64)

        return max(sorted(weights), key=score, default="")


FILTER: Final = 1400  # bytes of another node's filter in the tree, and of its text


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

    @property
    def bytes(self) -> int:
        """Of the filters of all nodes, roughly."""
        return FILTER * (len(self._plain) + sum(map(len, self._known.values())))

    # What the node asks -----------------------------------------------------------------------------

    def wants(self, topic: str) -> int:
        found = 0
        for wanted in self._wanted_tree.match(topic):
            found |= wanted.kinds
        for group in self._group_tree.match(topic):
            if self._is_outside(group):
                found |= BUS_SHARED
        return found

    def nodes(self, topic: str) -> set[str]:
        """Other nodes with subscribers, shared ones aside."""
        return set().union(*(wanted.nodes for wanted in self._wanted_tree.match(topic))) - {QUEUES}

    def choose(self, topic: str, groups: Sequence[str], qos: int) -> Choice:
        here: list[str] = []
        there: list[str] = []
        for group in self._group_tree.match(topic):
            node = group.turns(qos).next()
            if node == self._own:
                here.append(group.key)
            elif node:
                there.append(f"{node} {group.key}")
        return Choice(frozenset(here), tuple(there))

    def shares(self, topic: str, qos: int, where: str) -> frozenset[str]:
        return frozenset(
            group.key
            for group in self._group_tree.match(topic)
            if self._own in group.members and group.elect(qos, where) == self._own
        )

    # What the node's clients do ---------------------------------------------------------------------

    def subscribed(self, filter: str, share: str) -> None:
        if topics.is_system(filter):
            return
        if share:
            self._count(filter, share, _Members(0, 1, 0))
            return
        self._plain[filter] = self._plain.get(filter, 0) + 1
        if self._plain[filter] == 1:
            self._changed[filter] = None

    def unsubscribed(self, filter: str, share: str) -> None:
        if topics.is_system(filter):
            return
        if share:
            self._count(filter, share, _Members(0, -1, 0))
            return
        self._plain[filter] -= 1
        if not self._plain[filter]:
            del self._plain[filter]
            self._changed[filter] = None

    def present(self, filter: str, share: str, here: bool, kept: bool) -> None:
        if not topics.is_system(filter):
            step = 1 if here else -1
            self._count(filter, share, _Members(step, 0, step if kept else 0))

    def _count(self, filter: str, share: str, step: _Members) -> None:
        key = f"{share}/{filter}"
        group = self._groups.get(key)
        before = group.members.get(self._own, _NOBODY) if group is not None else _NOBODY
        after = _Members(*(one + more for one, more in zip(before, step, strict=True)))
        self._set_members(self._own, key, filter, after)
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
            return "1" if name in self._plain else ""
        group = self._groups.get(name.removeprefix(_SHARE))
        return str(group.members.get(self._own, _NOBODY)) if group is not None else ""

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
                members = _read(node, value) if value else _NOBODY
                if self._set_members(node, key, filter, members):
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

    def _set_members(self, node: str, key: str, filter: str, members: _Members) -> bool:
        group = self._groups.get(key)
        if group is None:
            if not members.all:
                return False
            group = self._groups[key] = _Group(key, filter)
            self._group_tree.add(filter, group)
        before = self._is_outside(group)
        group.set(node, members)
        if not group.members:
            del self._groups[key]
            self._group_tree.remove(filter, group)
        return before != self._is_outside(group)

    def _is_outside(self, group: _Group) -> bool:
        return any(node != self._own for node in group.members)


def _read(node: str, value: str) -> _Members:
    return _QUEUED if node == QUEUES else _Members(*map(int, value.split(" ")))
