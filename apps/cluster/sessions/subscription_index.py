"""The persistent subscriptions of the whole cluster, and which sessions' queues a message goes to. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

from apps.cluster.sessions.packing import unpack_options
from apps.common.filter_tree import FilterTree
from apps.gateway.broker.messages import identifier_properties
from apps.gateway.mqtt import topics

REMEMBERED: Final = 1_000_000  # sessions in the answers that are kept, all topics together
TOPIC_COST: Final = 4  # what an answer counts beside its sessions
SHARE: Final = "$share/"


class Change(NamedTuple):
    client_id: str
    filter: str  # as the client wrote it
    options: bytes  # as they stand in Redis; b"": unsubscribed


class Options(NamedTuple):
    qos: int
    no_local: bool
    as_published: bool
    identifier: int  # 0: none


class Target(NamedTuple):
    """A session that gets a message, once, however many of its subscriptions match [MQTT-3.3.4-2]."""

    client_id: str
    qos: int  # the highest that was granted, never 0
    as_published: bool
    identifiers: bytes  # encoded properties
    via: str = ""  # the shared subscription that it was chosen of, as clients write it


class Wanted:
    """A filter of somebody's, or a shared subscription."""

    __slots__ = ("_members", "_turn", "by_client", "filter", "name")

    def __init__(self, name: str) -> None:
        self.name = name  # as clients write it
        self.filter = topics.split_share(name)[1]
        self.by_client: dict[str, Options] = {}
        self._members: list[str] = []
        self._turn = 0

    @property
    def members(self) -> list[str]:
        """Clients that get messages at QoS 1 or 2."""
        if not self._members:
            self._members = [client_id for client_id, each in self.by_client.items() if each.qos]
        return self._members

    def changed(self) -> None:
        self._members = []

    def choose(self, online: Collection[str]) -> Target | None:
        """The next member, one that is online where any is; None: there is none at all."""
        members = self.members
        if not members:
            return None
        count = len(members)
        turns = ((self._turn + step) % count for step in range(count))
        turn = next((each for each in turns if members[each] in online), self._turn % count)
        self._turn = turn + 1
        client_id = members[turn]
        return _merged(client_id, [self.by_client[client_id]], self.name)


class Index:
    def __init__(self) -> None:
        self.version = -1  # nothing was read yet
        self._wanted: dict[str, Wanted] = {}
        self.levels: Counter[str] = Counter()  # first levels of filters that want records
        self._tree: FilterTree[Wanted] = FilterTree()
        self._shared: FilterTree[Wanted] = FilterTree()
        self._answers: dict[str, tuple[Target, ...]] = {}
        self._local: dict[str, bool] = {}  # by topic: does somebody want no message of his own
        self._kept = 0

    def __len__(self) -> int:
        """Filters."""
        return len(self._wanted)

    def clear(self) -> None:
        self.version = -1
        self._wanted.clear()
        self.levels.clear()
        self._tree = FilterTree()
        self._shared = FilterTree()
        self._forget()

    def apply(self, changes: Iterable[Change]) -> None:
        for client_id, name, options in changes:
            if options:
                self._set(client_id, name, read_options(options))
            else:
                self._unset(client_id, name)
        self._forget()

    def _forget(self) -> None:
        self._answers.clear()
        self._local.clear()
        self._kept = 0

    def _set(self, client_id: str, name: str, options: Options) -> None:
        wanted = self._wanted.get(name)
        if wanted is None:
            wanted = self._wanted[name] = Wanted(name)
            self._tree_of(name).add(wanted.filter, wanted)
        self._count(wanted, wanted.by_client.get(client_id), -1)
        wanted.by_client[client_id] = options
        self._count(wanted, options, 1)

    def _unset(self, client_id: str, name: str) -> None:
        wanted = self._wanted.get(name)
        options = wanted.by_client.pop(client_id, None) if wanted is not None else None
        if wanted is None or options is None:
            return
        self._count(wanted, options, -1)
        if wanted.by_client:
            return
        del self._wanted[name]
        self._tree_of(name).remove(wanted.filter, wanted)

    def _tree_of(self, name: str) -> FilterTree[Wanted]:
        return self._shared if name.startswith(SHARE) else self._tree

    def _count(self, wanted: Wanted, options: Options | None, step: int) -> None:
        wanted.changed()
        if options is None or not options.qos:
            return
        level = wanted.filter.partition("/")[0]
        self.levels[level] += step
        if not self.levels[level]:
            del self.levels[level]

    def shared(self, key: str) -> Wanted | None:
        """A shared subscription by "<share name>/<filter>"."""
        return self._wanted.get(SHARE + key)

    def match_shared(self, topic: str) -> list[Wanted]:
        return self._shared.match(topic)

    def match(self, topic: str, origin: str) -> tuple[Target, ...]:
        """Who gets a message of the client `origin` ("": a service's) on `topic` with QoS 1 or 2."""
        known = self._answers.get(topic)
        if known is not None and not (origin and self._local[topic]):
            return known
        by_client: dict[str, list[Options]] = {}
        local = False
        for wanted in self._tree.match(topic):
            for client_id, options in wanted.by_client.items():
                local = local or options.no_local
                if not (options.no_local and client_id == origin):  # [MQTT-3.8.3-3]
                    by_client.setdefault(client_id, []).append(options)
        targets = (_merged(client_id, options) for client_id, options in by_client.items())
        found = tuple(target for target in targets if target.qos)
        if not (origin and local):
            self._keep(topic, found, local)
        return found

    def _keep(self, topic: str, found: tuple[Target, ...], local: bool) -> None:
        if self._kept > REMEMBERED:
            self._forget()
        self._kept += len(found) + TOPIC_COST
        self._answers[topic] = found
        self._local[topic] = local


def _merged(client_id: str, matching: list[Options], via: str = "") -> Target:
    return Target(
        client_id,
        max(options.qos for options in matching),
        any(options.as_published for options in matching),
        identifier_properties([options.identifier for options in matching if options.identifier]),
        via,
    )


def read_options(packed: bytes) -> Options:
    return Options(*unpack_options(packed))


def change(entry: dict[bytes, Any]) -> Change:
    """Of an entry in the log of changes."""
    return Change(entry[b"c"].decode(), entry[b"f"].decode(), entry[b"o"])
